"""Model files: the same bytes for the same model, and no code when they are read."""

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from networks import convnet

from smallset.backbones import registry
from smallset.models import convnets, heads, model_file
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError


def test_a_model_built_and_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model_file.save(convnet(78, 2), tmp_path / f"{name}.keras")
    assert files.sha256(tmp_path / "a.keras") == files.sha256(tmp_path / "b.keras")


def test_a_saved_model_gives_the_same_probabilities_in_a_process_without_smallset(
    tmp_path: Path, vgg16: Callable[[int], keras.Model]
) -> None:
    trunk, top = registry.split(vgg16(78), "VGG16", None)
    whole = convnets.chain([trunk, top, heads.book(top.output_shape[1:], 3, 4, 0.5)], "smallset")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    model_file.save(whole, tmp_path / "model.keras")
    script = (
        "import sys, keras, numpy as np; model = keras.saving.load_model('model.keras');"
        "np.save('probability.npy', model.predict(np.load('pixels.npy'), verbose=0));"
        "assert 'smallset' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "probability.npy"), whole.predict(pixels, verbose=0), rtol=1e-5)


def test_a_truncated_file_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "convnet.keras"
    (tmp_path / "models/base").mkdir(parents=True)
    model_file.save(convnet(78, 2), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SmallsetError, match=r"convnet.keras: not a whole model file: .*\n?.*Get the file again"):
        model_file.load(path)
    path.rename(tmp_path / "models/base/trunk.keras")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(SmallsetError, match=r"Run: smallset check --fix$"):
        model_file.load(Path("models/base/trunk.keras"))


def repacked(path: Path, change: Callable[[str, bytes], bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    """The same file with other parts, or compressed ones."""
    with zipfile.ZipFile(path) as old:
        parts = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", kind) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return path


def test_a_model_file_takes_no_more_memory_than_its_size(tmp_path: Path) -> None:
    def blown(name: str, content: bytes) -> bytes:
        return content + bytes(10**8) if name == "config.json" else content

    def hollow(name: str, content: bytes) -> bytes:
        if not name.endswith(".h5"):
            return content
        with h5py.File(io.BytesIO(content), "a") as weights:
            weights.create_dataset("more", (10**8,), "f4", compression="gzip")
            weights.flush()
            return weights.id.get_file_image()

    model_file.save(convnet(78, 2), tmp_path / "a.keras", ("cat", "dog"))
    model_file.save(convnet(78, 2), tmp_path / "b.keras", ("cat", "dog"))
    repacked(tmp_path / "a.keras", blown, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "a.keras").stat().st_size < 10**7
    for path, found in ((tmp_path / "a.keras", "found 1[0-9,]*"), (repacked(tmp_path / "b.keras", hollow), "found 0")):
        with pytest.raises(SmallsetError, match=rf"not a whole model file: .*expected .* bytes.* {found}"):
            model_file.load(path)
        with pytest.raises(SmallsetError, match="not a model file"):
            model_file.classes(path)


def test_a_model_file_that_carries_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs)).save(tmp_path / "code.keras")
    with pytest.raises(SmallsetError, match=r"code.keras: not a whole model file: .*Lambda"):
        model_file.load(tmp_path / "code.keras")


def test_a_model_with_layers_of_keras_hub_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as where it is not installed
    model_file.save(convnet(78, 2), tmp_path / "plain.keras")
    with zipfile.ZipFile(tmp_path / "plain.keras") as plain, zipfile.ZipFile(tmp_path / "hub.keras", "w") as file:
        for name in plain.namelist():
            content = plain.read(name).replace(b'"module": "keras.layers"', b'"module": "keras_hub.src.models.vit"')
            file.writestr(name, content)
    with pytest.raises(SmallsetError, match=r'hub.keras: has layers of keras-hub.* pip install "smallset\[hub\]"$'):
        model_file.load(tmp_path / "hub.keras")


def test_nothing_in_the_file_holds_a_date(tmp_path: Path) -> None:
    model_file.save(convnet(78, 2), tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as archive:
        assert {info.date_time for info in archive.infolist()} == {model_file.EPOCH}
        assert b"1980-01-01" in archive.read("metadata.json")


def test_the_file_knows_its_photos_in_whatever_order_they_come(tmp_path: Path) -> None:
    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(4)]
    for name, order in {"a": digests[:3], "b": digests[2::-1]}.items():
        keras.utils.set_random_seed(0)
        model_file.save(convnet(78, 2), tmp_path / f"{name}.keras", ["a", "b"], digests=order)
    assert model_file.seen(tmp_path / "a.keras", digests) == [True, True, True, False]
    metadata = [zipfile.ZipFile(tmp_path / f"{name}.keras").read("metadata.json") for name in ("a", "b")]
    assert metadata[0] == metadata[1]


def test_the_classes_are_in_the_file_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    model_file.save(convnet(78, 3), path, ["가", "b c", "a"], 2.5)
    assert model_file.classes(path) == ("가", "b c", "a")
    assert model_file.temperature(path) == 2.5
    assert model_file.seen(path, ["0" * 64]) == [False]
    convnet(78, 3).save(path)
    with pytest.raises(SmallsetError, match=r"x.keras: not a model file with the names of its classes"):
        model_file.classes(path)


def written(path: Path, outputs: Callable[[keras.KerasTensor], object], side: tuple[int, ...] = (16, 16, 3)) -> Path:
    """A model of two classes, whatever it takes and gives."""
    inputs = keras.Input(side)
    model_file.save(keras.Model(inputs, outputs(inputs)), path, ["cat", "dog"])
    return path


def test_a_model_that_is_no_classifier_of_photos_is_one_error(tmp_path: Path) -> None:
    layers = keras.layers
    pooled = layers.GlobalAveragePooling2D()
    bad = {
        "expected one input of the shape": written(tmp_path / "a.keras", lambda x: pooled(x), (16, 20, 3)),
        "expected a probability for each of 2 classes": written(tmp_path / "b.keras", lambda x: pooled(x)),
        "found .* .None, 1., .None, 1.": written(
            tmp_path / "c.keras", lambda x: [layers.Dense(1)(pooled(x)), layers.Dense(1)(pooled(x))]
        ),
        "the weights .*bias are not finite": written(
            tmp_path / "d.keras",
            lambda x: layers.Dense(1, bias_initializer=keras.initializers.Constant(np.nan))(pooled(x)),
        ),
        "expected at most .* values of one photo": written(
            tmp_path / "e.keras", lambda x: pooled(layers.UpSampling2D(500)(x))
        ),
    }
    for message, path in bad.items():
        with pytest.raises(SmallsetError, match=f"{path.name}: not a whole model file: .*{message}"):
            model_file.classifier(path)


@pytest.mark.parametrize(
    ("member", "before", "after", "message"),
    [
        ("config.json", b'"units": 1', b'"units": 1000000000', "more weights than the 4 in the file"),
        ("config.json", b'"units": 1', b'"units": "many"', "not a whole model file"),
        ("config.json", b'"class_name": "Dense"', b'"class_name": "Nothing"', "not a whole model file"),
        ("config.json", b'"config"', b'"confit"', "not a whole model file"),
        ("metadata.json", b'["cat", "dog"]', b'["cat", "cat"]', "not a model file with the names"),
        ("metadata.json", b'["cat", "dog"]', b'{"cat": 1}', "not a model file with the names"),
        ("metadata.json", b'["cat", "dog"]', b'["a", "b", "c"]', "for each of 3 classes"),
        ("metadata.json", b'"temperature": 1.0', b'"temperature": "hot"', "not a model file with the names"),
    ],
)
def test_a_file_that_claims_something_else_is_one_error(
    tmp_path: Path, member: str, before: bytes, after: bytes, message: str
) -> None:
    path = written(tmp_path / "x.keras", lambda x: keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    repacked(path, lambda name, content: content.replace(before, after) if name == member else content)
    with pytest.raises(SmallsetError, match=message):
        model_file.classifier(path)
