"""params.yaml: the committed files are valid, and each mistake is one line that names the key and the fix."""

import re
from pathlib import Path
from typing import Any

import pytest

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]
FOLDERS = [".", "sample", "first-edition", "mnist"]  # all but the first list only what differs from the first


@pytest.fixture
def document() -> Any:
    return params.load(ROOT / "params.yaml")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_committed_files_are_valid_and_use_no_name_that_dvc_s_run_cache_ignores(folder: str) -> None:
    # DVC 3.67, stage/cache.py: two runs that differ only in a param called size or nfiles are the same to it.
    assert not re.findall(
        r"'(size|nfiles)':", repr(params.read(ROOT / folder / "params.yaml").model_dump(exclude_unset=True))
    )


@pytest.mark.parametrize("text", ["5e-06", "0.000005", "5.0e-6"])  # the first is how dvc exp run -S writes it
def test_a_small_rate_is_a_number_in_every_notation(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("1.0e-5", text))
    assert params.read(tmp_path / "params.yaml").fine_tune.learning_rate == 5e-6


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("convnet.epoch", 3, "convnet: unknown key 'epoch'. Expected: batch_size, epochs, .* Did you mean 'epochs'"),
        ("convnt", {}, "unknown key 'convnt'. .* Did you mean 'convnet'"),
        ("convnet", {"batch_size": 32}, "convnet: missing key 'epochs'. Add it"),
        ("image_size", "180", "image_size: expected a valid integer, found '180'"),
        ("image_size", 20, "image_size: expected 78 or more for convnet, found 20."),
        ("download", {"source": "synthetic"}, "download: expected the key 'synthetic' for source: synthetic."),
        ("fine_tune.learning_rate", "1e-5", "fine_tune: learning_rate: .* as 1.0e-5"),
        ("fine_tune.learning_rate", float("nan"), "fine_tune: learning_rate: expected a finite number, found nan"),
        ("subset.train", -3, "subset: train: expected a number of photos .* for by: count, found -3"),
        ("subset.train", True, "subset: train: expected a number of photos .* for by: count, found True"),
        ("subset.by", "fraction", "subset: train: expected a fraction of the photos, .* found 1000"),
        ("subset.by", "given", "subset: train: expected null for by: given, .* found 1000"),
        ("subset.exclude", [12], "subset: exclude: 0: expected a valid string, found 12"),
        ("linear_probe", {"C": [0], "class_weight": None, "calibrate": True}, "linear_probe: C: 0: expected greater"),
        ("features", {"backbone": "a", "weights": None, "image_sizes": []}, "features: image_sizes: .* at least 1"),
        ("issues", {"leakage": "fail"}, "issues: leakage: expected 'error' or 'warning'"),
        ("augmentation", None, "augmentation: expected the keys flip, rotation, zoom, fill; found None"),
        ("download.mirrors", [{"url": "x", "sha": None}], "download: mirrors: 0: unknown key 'sha'. .* 'sha256'"),
    ],
)
def test_a_mistake_is_named_with_its_fix(document: Any, key: str, value: object, message: str) -> None:
    *parents, last = key.split(".")
    target = document
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(SmallsetError, match=f"params.yaml: {message}"):
        params.parse(document)


def test_fractions_have_a_sum_of_at_most_1(document: Any) -> None:
    split = {"by": "fraction", "train": 0.7, "validation": 0.2, "test": 0.1, "exclude": []}
    assert params.parse(document | {"split": split}).split.train == 0.7
    with pytest.raises(SmallsetError, match="split: expected fractions with a sum of at most 1"):
        params.parse(document | {"split": split | {"test": 0.2}})


def test_a_missing_file_and_one_without_params_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"params.yaml is missing. Run the command in the folder of a project"):
        params.read(tmp_path / "params.yaml")
    messages = {b"": "expected keys with values"} | dict.fromkeys((b"a: [", b"\xff", b"[" * 9999), "is not YAML")
    for content, message in messages.items():
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(SmallsetError, match=message):
            params.read(tmp_path / "params.yaml")


def test_a_stage_cannot_read_what_it_does_not_declare(document: Any) -> None:
    p = params.parse(document).only(["seed", "augmentation.flip", "seeds.classifier", "seeds.augmented"])
    assert (p.seed, p.augmentation.flip, p.seeds.augmented) == (1337, "horizontal", 5)
    for read_undeclared in (lambda: p.convnet, lambda: p.augmentation.zoom, lambda: p.seeds.fine_tune):
        with pytest.raises(AttributeError):
            read_undeclared()
    with pytest.raises(SmallsetError, match=r"params.yaml: missing key 'split'. Add it"):
        p.only(["seed", "split"])
    p = params.parse(document)  # two stages that declare other keys have other fingerprints
    changed = params.parse(document | {"augmentation": document["augmentation"] | {"zoom": 0.3}})
    assert repr(p.only(["seed", "augmentation.flip"])) == repr(changed.only(["seed", "augmentation.flip"]))
    assert repr(p.only(["seed", "augmentation"])) != repr(changed.only(["seed", "augmentation"]))


def test_no_key_has_a_value_in_code() -> None:
    models = [model for model in vars(params).values() if isinstance(model, type) and issubclass(model, params.Strict)]
    defaults = {field.default for model in models for field in model.model_fields.values() if not field.is_required()}
    assert defaults == {None}
