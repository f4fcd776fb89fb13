"""The chapter's stages, one after the other in one process, on generated pictures with training that takes seconds."""

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml

from smallset.datasets.dataset import Dataset
from smallset.models import precision
from smallset.pipeline import stage

pytestmark = pytest.mark.slow

SIDE = 28  # px, of a digit
SPLITS = {"train": 200, "test": 50}

ROOT = Path(__file__).parents[1]
MODELS = ["convnet", "convnet_augmented", "classifier", "augmented", "fine_tune"]
TRAINING = {"batch_size": 8, "epochs": 2, "calibrate": False}
HEAD = {**TRAINING, "dense_units": 8}
PARAMS: dict[str, Any] = {
    "image_size": 78,
    "backbone": {"name": "VGG16", "weights": None, "last_frozen_layer": "auto"},
    "download": {"source": "synthetic", "synthetic": {"photos_per_class": 20, "image_size": 80}},
    "subset": {"by": "count", "train": 8, "validation": 4, "test": 6, "exclude": []},
    "convnet": TRAINING,
    "convnet_augmented": TRAINING | {"ema_momentum": 0.5},
    "activations": {"views": 2},
    "classifier": HEAD,
    "augmented": HEAD,
    "fine_tune": TRAINING | {"patience": None},
    "seeds": {"classifier": 2, "augmented": 1, "fine_tune": 2},
}
STAGES = [
    *["download", "subset", "augmentation", "convnet convnet", "convnet_augmented", "backbone", "activations"],
    *["features", "classifier", "augmented", "fine_tune", *[f"seeds {model}" for model in MODELS[2:]]],
    *[*[f"evaluate {model}" for model in MODELS], f"compare {' '.join(MODELS)}", "report"],
]


def write_pipeline(folder: Path) -> None:
    """A copy of the chapter's pipeline, with params that make its run short."""
    for file in ("dvc.yaml", "corrections.csv"):
        shutil.copy(ROOT / file, folder)
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, values in PARAMS.items():
        document[key] = document[key] | values if isinstance(values, dict) and "by" not in values else values
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def run(folder: Path, commands: list[str]) -> Path:
    """Run stages in a folder, in this process; a command is the script with its arguments, perhaps after STAGE=."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(stage, "run", lambda main: main())
        patch.setattr(precision, "_settings", {})
        for command in commands:
            script, *arguments = command.rpartition("=")[2].split()
            name = command.partition("=")[0].split()[0]
            patch.setattr("sys.argv", [str(ROOT / f"stages/{script}.py"), *arguments])
            patch.setenv("DVC_STAGE", f"{name}@{arguments[0]}" if name in ("seeds", "evaluate") else name)
            keras.utils.clear_session()  # the names of layers begin anew in each process
            runpy.run_path(str(ROOT / f"stages/{script}.py"))
    tf.config.optimizer.set_experimental_options({precision.BFLOAT16: False})  # for other tests in this process
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chapter")
    write_pipeline(folder)
    return run(folder, STAGES)


def count_photos(dataset: Dataset) -> list[int]:
    return [len(dataset.split(split)) for split in ("train", "validation", "test")]


def test_each_stage_writes_what_the_graph_declares(finished: Path) -> None:
    for name, declared in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        for entry in [out for kind in ("outs", "metrics", "plots") for out in declared.get(kind, [])]:
            path = entry if isinstance(entry, str) else next(iter(entry))
            for model in declared.get("matrix", {"model": [""]})["model"]:
                assert (finished / path.replace("${item.model}", model)).exists(), (name, path)


def test_every_model_is_evaluated_on_the_same_test_photos(finished: Path) -> None:
    dataset = Dataset.read(finished / "metrics/photos.csv", finished)
    assert (dataset.classes, count_photos(dataset)) == (("cat", "dog"), [16, 8, 12])
    assert all(path.is_file() for path in dataset.paths)
    for model in MODELS:
        metrics = json.loads((finished / f"metrics/{model}.json").read_text())
        assert metrics["n"] == 12
        assert 0 <= metrics["accuracy"] <= 1
        assert len(pd.read_csv(finished / f"metrics/{model}/history.csv")) == 2
    assert pd.read_csv(finished / "metrics/compare.csv")["model"].tolist() == MODELS
    assert len(pd.read_csv(finished / "metrics/model_pairs.csv")) == 10
    seeds = [np.load(finished / f"data/seeds/{model}.npy").shape for model in ("classifier", "augmented")]
    assert seeds == [(1, 12, 2), (0, 12, 2)]
    page = (finished / "plots/report.html").read_text()
    assert "fine_tune" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_same_seed_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    again = run(tmp_path, STAGES[: STAGES.index("fine_tune") + 1])
    for pattern in ("models/**/*.keras", "data/**/*.npy", "metrics/*/history.csv"):
        for path in finished.glob(pattern):
            if "seeds" not in path.parts:
                assert (again / path.relative_to(finished)).read_bytes() == path.read_bytes(), path


def squares(path: Path) -> Path:
    """An mnist.npz whose digit d is a bright square of d + 3 px near a corner: a few steps learn it."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in SPLITS.items():
        labels = np.arange(count, dtype=np.uint8) % 10
        pictures = np.zeros((count, SIDE, SIDE), np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            row, column = random.integers(0, 3, 2)
            picture[row : row + label + 3, column : column + label + 3] = random.integers(
                200, 256, (label + 3, label + 3)
            )
        arrays |= {f"x_{part}": pictures, f"y_{part}": labels}
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_mnist_takes_shared_params_from_the_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = shutil.ignore_patterns("data", "models", "plots", "metrics")
    shutil.copytree(ROOT / "mnist", tmp_path / "mnist", ignore=ignored)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    params = yaml.safe_load((tmp_path / "mnist/params.yaml").read_text())
    params["convnet"] |= {"epochs": 8, "batch_size": 4}
    params["convnet_unpooled"] |= {"epochs": 1, "batch_size": 4}
    (tmp_path / "mnist/params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    monkeypatch.setenv("SMALLSET_MNIST", str(squares(tmp_path / "mnist.npz")))
    models = ["convnet", "convnet_unpooled"]
    stages = ["download", "subset", "convnet convnet", "convnet_unpooled=convnet convnet_unpooled"]
    stages += [*[f"evaluate {model}" for model in models], f"compare {' '.join(models)}", "report"]
    results = run(tmp_path / "mnist", stages) / "metrics"
    assert json.loads((results / "convnet.json").read_text())["accuracy"] > 0.3  # of ten classes
    assert pd.read_csv(results / "compare.csv")["model"].tolist() == models
    assert pd.read_csv(results / "convnet/per_class.csv", dtype=str)["class"].tolist() == [*"0123456789"]
    assert count_photos(Dataset.read(results / "photos.csv")) == [180, 20, 50]
