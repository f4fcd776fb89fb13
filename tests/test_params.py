"""params.yaml: the committed files are right, and each mistake is one line that names the key and the cure."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", [".", "sample", "first-edition", "mnist"])
def test_the_committed_files_are_valid(path: str) -> None:
    assert params.read(ROOT / path / "params.yaml").seed == 1337


def test_a_small_rate_is_a_number_however_it_is_written(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    for written in ("5e-06", "0.000005", "5.0e-6"):  # the first is how dvc exp run -S writes it
        (tmp_path / "params.yaml").write_text(text.replace("1.0e-5", written))
        assert params.read(tmp_path / "params.yaml").fine_tune.learning_rate == 5e-6


def test_the_defaults_are_the_books_but_for_some_epochs(document: Any) -> None:
    p = params.parse(document)
    assert (p.image.side, p.subset.train, p.subset.validation, p.subset.test) == (180, 1000, 500, 1000)
    assert [
        p.convnet.epochs,
        p.convnet_augmented.epochs,
        p.classifier.epochs,
        p.augmented.epochs,
        p.fine_tune.epochs,
    ] == [
        12,  # the book: 30, without averaged weights
        50,  # the book: 100, without them
        20,
        50,
        10,  # the book: 30, from a head without a temperature
    ]
    assert (p.classifier.units, p.classifier.dropout, p.fine_tune.learning_rate) == (256, 0.5, 1e-5)
    assert {p.convnet.batch, p.convnet_augmented.batch, p.classifier.batch, p.augmented.batch, p.fine_tune.batch} == {
        32
    }


def test_linear_and_pooled_have_values_of_their_own(document: Any) -> None:
    p = params.parse(document)
    assert (p.larger.side, p.larger.mirror, p.linear.C) == (256, True, None)
    assert (p.pooled.epochs, p.pooled.learning_rate, p.pooled.ema_momentum) == (4, 1e-5, 0.98)
    stages = (p.convnet, p.convnet_augmented, p.classifier, p.augmented, p.fine_tune, p.pooled)
    assert [stage.patience for stage in stages] == [None, None, None, None, 3, None]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("convnet.epoch", 3, "convnet: unknown key 'epoch'. Expected: batch, epochs, .* Did you mean 'epochs'"),
        ("convnt", {}, "unknown key 'convnt'. .* Did you mean 'convnet'"),
        ("convnet", {"batch": 32}, "convnet: missing key 'epochs'"),
        ("image.side", "180", "image: side: expected a valid integer, found '180'"),
        ("image.side", 20, "image: side: expected 78 or more for convnet, found 20"),
        ("download", {"source": "sample"}, "download: expected the key 'sample' for source: sample"),
        ("fine_tune.learning_rate", "1e-5", "fine_tune: learning_rate: .* as 1.0e-5"),
        ("fine_tune.learning_rate", float("nan"), "fine_tune: learning_rate: expected a finite number, found nan"),
        ("subset.train", -3, "subset: train: expected a number of photos .* for by: count, found -3"),
        ("subset.train", 0.6, "subset: train: expected a number of photos .* for by: count, found 0.6"),
        ("subset.by", "fraction", "subset: train: expected a share of each class, .* found 1000"),
        ("subset.by", "given", "subset: train: expected null for by: given, .* found 1000"),
        ("subset.exclude", "cat/cat.12.jpg", "subset: exclude: expected a valid list, found 'cat/cat.12.jpg'"),
        (
            "base.name",
            "VGG61",
            "base: name: expected hub:preset or .*VGG16.*; found 'VGG61'. Did you mean 'VGG1",
        ),
        ("base.name", "efficientnetlite0", "base: name: .* Did you mean 'EfficientNetLite0'[?]$"),
        ("base.name", "hub:", "base: name: expected a preset .*, as hub:dinov2_small or hub:./folder; found 'hub:'"),
        ("base.name", "dinosaur", "base: name: .*; found 'dinosaur'[.]$"),
        ("linear.C", 0, "linear: C: expected greater than 0, found 0"),
        ("pooled.C", 0.01, "pooled: unknown key 'C'. Expected: batch, .*, patience"),
        ("pooled.patience", 0, "pooled: patience: expected greater than 0, found 0"),
        ("subset.exclude", [12], "subset: exclude: 0: expected a valid string, found 12"),
        ("audit.leakage", "fail", "audit: leakage: expected 'error' or 'warning', found 'fail'"),
        ("audit.near", 17, "audit: near: expected less than or equal to 16, found 17"),
        ("seed", True, "seed: expected a valid integer, found True"),
        ("augmentation", None, "augmentation: expected the keys flip, rotation, shift, .*; found None"),
        (
            "download.source",
            "cats",
            "download: source: expected 'dogs-vs-cats', 'folder', 'sample' or 'mnist', found 'cats'",
        ),
        ("download.mirrors", [{"url": "x", "sha": None}], "download: mirrors: 0: unknown key 'sha'. .* 'sha256'"),
    ],
)
def test_a_mistake_is_named_with_its_cure(document: Any, key: str, value: object, message: str) -> None:
    *parents, last = key.split(".")
    target = document
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(SmallsetError, match=f"params.yaml: {message}"):
        params.parse(document)


@pytest.mark.parametrize(("text", "message"), [("", "expected the keys seed"), ("a: [", "is not YAML")])
def test_a_file_without_params_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SmallsetError, match=message):
        params.read(tmp_path / "params.yaml")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"params.yaml is missing. Run from a pipeline folder"):
        params.read(tmp_path / "params.yaml")


def test_a_stage_cannot_read_what_it_does_not_declare(document: Any) -> None:
    p = params.parse(document).only(["seed"])
    assert p.seed == 1337
    with pytest.raises(AttributeError, match="convnet"):
        _ = p.convnet


def test_the_first_edition_s_params_are_the_book_s() -> None:
    p = params.read(ROOT / "first-edition/params.yaml")
    assert (p.image.side, p.subset.train, p.subset.validation, p.subset.test) == (150, 1000, 500, 500)
    for model, batch, epochs, dropout in ((p.convnet, 20, 30, 0), (p.convnet_augmented, 32, 100, 0.5)):
        assert (model.batch, model.steps, model.epochs, model.dropout) == (batch, 100, epochs, dropout)
        assert (model.filters, model.units, model.learning_rate) == ([32, 64, 128, 128], 512, 1e-4)
        assert model.ema_momentum is None
        assert model.epsilon == 1e-14  # below the root, where Keras has it now


def test_a_pipeline_without_a_stage_needs_no_params_for_it() -> None:
    p = params.read(ROOT / "mnist/params.yaml")
    assert p.only(["seed", "convnet_unpooled"]).convnet_unpooled.pooled == 0
    with pytest.raises(SmallsetError, match=r"params.yaml: missing key 'fine_tune'. Add it"):
        p.only(["fine_tune"])


@pytest.mark.parametrize("path", [".", "sample", "first-edition", "mnist"])
def test_no_key_has_a_name_that_dvc_s_run_cache_ignores(path: str) -> None:
    # DVC 3.67, stage/cache.py: two runs that differ in a param called size or nfiles alone are one to it.
    document = yaml.safe_load((ROOT / path / "params.yaml").read_text())
    assert not re.findall(r"'(size|nfiles)':", repr(document))
