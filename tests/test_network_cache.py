"""From a model file's second use on, predictions are the same and need no TensorFlow; a broken cache is no error."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import convnet, save_classifier

from smallset.datasets.dataset import Dataset
from smallset.models import engine, model_file, network_cache
from smallset.models.classifier import Classifier
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

COMMAND = """
import sys
from smallset.cli.main import app
app(standalone_mode=False)
sys.exit("tensorflow" in sys.modules)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMALLSET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/networks"


@pytest.fixture
def model(tmp_path: Path, drawn: Dataset) -> Path:
    return save_classifier(tmp_path / "model.keras", drawn)


def predict(model: Path, photo: Path) -> tuple[bytes, float]:
    prediction = Classifier.load(model).predict(photo)
    return prediction.probabilities.tobytes(), prediction.ood_score


def no_network(path: Path) -> None:
    raise AssertionError(path)


def test_commands_need_no_tensorflow_when_the_cache_has_the_model(cache: Path, model: Path, drawn: Dataset) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    folder = drawn.paths[0].parents[1]
    first, second = (run("predict", model, folder, "--format", "csv") for _ in range(2))
    assert (first.returncode, second.returncode) == (1, 0), first.stderr + second.stderr
    assert second.stdout == first.stdout != ""
    assert first.stderr == second.stderr == ""
    for command in (("evaluate", model, folder), ("suggest", model, folder)):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    assert len([*cache.iterdir()]) == 1


def flip_a_bit(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 64
    entry.write_bytes(content)


def replace_by_a_folder(entry: Path) -> None:
    entry.unlink()
    entry.mkdir()


def replace_the_cache_by_a_file(entry: Path) -> None:
    shutil.rmtree(entry.parent)
    entry.parent.write_text("")


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda entry: entry.write_bytes(entry.read_bytes()[:-1000]),
        lambda entry: files.write_arrays(entry, {"facts": np.array(["a", "b"])}),
        replace_by_a_folder,
        replace_the_cache_by_a_file,
    ],
)
def test_a_damaged_cache_changes_no_prediction(
    damage: Callable[[Path], object], cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predict(model, drawn.paths[0])
    (entry,) = cache.iterdir()
    damage(entry)
    assert predict(model, drawn.paths[0]) == expected
    if entry.is_file():  # it has been written again
        monkeypatch.setattr(model_file, "open_network", no_network)
        assert predict(model, drawn.paths[0]) == expected


def test_an_entry_that_cannot_be_compiled_or_written_is_no_error(
    cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr(openvino, "save_model", fail)
        expected = predict(model, drawn.paths[0])
        assert not cache.exists()
    assert predict(model, drawn.paths[0]) == expected
    classifier = Classifier.load(model)
    monkeypatch.setattr(openvino, "Tensor", fail)
    assert classifier.predict(drawn.paths[0]).ood_score == expected[1]


def test_the_network_of_a_cached_model_is_opened_on_demand(
    cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, pixels = predict(model, drawn.paths[0]), np.ones((1, 32, 32, 3), np.float32)
    assert cache.is_dir()
    loaded, other = Classifier.load(model), Classifier.load(model)
    assert (loaded.image_size, loaded.predict(drawn.paths[0]).ood_score) == (32, expected[1])
    loaded.save(model.with_name("copy.keras"))
    assert predict(model.with_name("copy.keras"), drawn.paths[0]) == expected
    monkeypatch.chdir("/")
    other.network.set_weights([weight * 0 for weight in other.network.get_weights()])
    assert other.features_and_probabilities(pixels)[1].tolist() == [[0.5, 0.5]]
    assert predict(model, drawn.paths[0]) == expected
    changed = Classifier.load(model)
    Classifier(convnet(78, 2), ("cat", "dog")).save(model)
    with pytest.raises(SmallsetError, match=r"model.keras: the file has changed since it was loaded. Load it again."):
        _ = changed.network
    assert Classifier.load(model).image_size == 78


def test_a_model_that_is_replaced_while_it_is_opened_is_not_written(
    cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_model = model_file.open_model
    Classifier(convnet(78, 2), ("cat", "dog")).save(model.with_name("new.keras"))

    def replace_and_open(path: Path) -> object:
        model.with_name("new.keras").replace(model)
        return open_model(path)

    monkeypatch.setattr(model_file, "open_model", replace_and_open)
    predict(model, drawn.paths[0])
    assert not cache.exists()


def test_the_entries_that_were_not_used_for_the_longest_time_are_deleted(
    cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(model, drawn.paths[0])
    (used,) = cache.iterdir()
    for name, seconds in {"newer": 2000, "older": 1000}.items():
        (cache / name).write_bytes(bytes(100_000))
        os.utime(cache / name, (seconds, seconds))
    os.utime(used, (0, 0))
    predict(model, drawn.paths[0])
    monkeypatch.setattr(network_cache, "LIMIT", 190_000)
    predict(save_classifier(model.with_name("other.keras"), drawn, reference=False), drawn.paths[0])
    names = {entry.name for entry in cache.iterdir()}
    assert len(names) == 3
    assert names > {used.name, "newer"}


def test_a_network_that_openvino_cannot_run_is_not_written(
    cache: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "open_core", no_network)
    assert np.isfinite(predict(model, drawn.paths[0])[1])
    assert "TensorFlow runs this network, because OpenVINO failed" in capsys.readouterr().err
    assert not cache.exists()
