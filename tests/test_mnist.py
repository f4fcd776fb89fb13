"""The pipeline of the digits under DVC, on squares that are quick to learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pipelines import Pipeline

pytestmark = pytest.mark.slow

TINY: dict[str, object] = {"epochs": 2, "batch": 4}
SIDE = 28
SPLITS = {"train": 200, "test": 50}


def squares(path: Path) -> Path:
    """An mnist.npz whose digit d is a white square of d + 3 px near a corner: a few steps learn it."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in SPLITS.items():
        labels = np.arange(count, dtype=np.uint8) % 10
        pictures = np.zeros((count, SIDE, SIDE), np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            row, column = random.integers(0, 3, 2)
            picture[row : row + label + 3, column : column + label + 3] = 255
        arrays |= {f"x_{part}": pictures, f"y_{part}": labels}
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_mnist_shows_pooling_beside_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clone").mkdir()
    pipeline = Pipeline(tmp_path / "clone")
    pipeline.add("mnist", convnet=TINY | {"epochs": 8}, convnet_unpooled=TINY)
    monkeypatch.setenv("SMALLSET_MNIST", str(squares(tmp_path / "mnist.npz")))
    models = ["convnet", "convnet_unpooled"]
    evaluated = {f"evaluate@{model}" for model in models}
    assert pipeline.repro(folder="mnist") == {"download", "subset", *models, *evaluated, "compare", "report"}
    results = pipeline.folder / "mnist/metrics"
    subset = json.loads((results / "subset.json").read_text())["photos"]
    assert {split: sum(counts.values()) for split, counts in subset.items()} == {
        "train": 180,
        "validation": 20,
        "test": 50,
    }
    assert json.loads((results / "convnet.json").read_text())["accuracy"] > 0.3  # of ten classes
    assert pd.read_csv(results / "compare.csv").model.tolist() == models
    assert pd.read_csv(results / "convnet/classes.csv", dtype=str)["class"].tolist() == [*"0123456789"]
    pipeline.set("convnet_unpooled", "learning_rate", 1e-2, "mnist")
    assert pipeline.repro(folder="mnist") == {"convnet_unpooled", "evaluate@convnet_unpooled", "compare", "report"}
    assert "mnist/metrics/convnet.json" in pipeline.run("dvc", "metrics", "show", "--json")
