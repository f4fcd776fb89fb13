"""What several tests need: drawn photos, VGG16 with random weights, the repository's own params.

TensorFlow is imported where it is used: pytest's first process, which hands the tests out, needs none of it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings
from numpy.typing import NDArray

from smallset.datasets import lists, synthetic
from smallset.pipeline import bulk

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parents[1]
LONGEST = ["test_pipeline.py", "test_project.py"]

settings.register_profile("smallset", derandomize=True, deadline=None, max_examples=60)  # the same in every run
settings.load_profile("smallset")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process works alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def seeded() -> None:
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def document() -> Any:
    """params.yaml as it is committed."""
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def drawn(tmp_path: Path) -> lists.Photos:
    """Five drawn pictures of each class, 80 px."""
    synthetic.draw(tmp_path / "drawn", 5, 80, seed=0)
    return lists.digested(lists.find(tmp_path / "drawn"))


@pytest.fixture
def in_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[NDArray[Any]], bulk.Rows]:
    """Puts rows into a file, as those that memory does not hold; 64 of 12 numbers are read at once."""
    monkeypatch.setattr(bulk, "FOLDER", str(tmp_path))
    monkeypatch.setattr(bulk, "PIECE", 64 * 12 + 1)

    def put(values: NDArray[Any]) -> bulk.Rows:
        with monkeypatch.context() as patch:
            patch.setattr(bulk, "HELD", 0)
            return bulk.gathered(iter(np.array_split(values, 7)), len(values))

    return put


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of four photos, and no waiting before a place is tried again."""
    from smallset.cli import remote_files, shards

    monkeypatch.setattr(shards, "LENGTH", 4)
    monkeypatch.setattr(shards, "BATCH", 2)
    monkeypatch.setattr(remote_files, "WAITS", ())


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .weights.h5 of VGG16 that was never trained: the right shapes, offline."""
    import keras

    from smallset.backbones import registry

    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    registry.plain("VGG16").save_weights(path)
    return path


@pytest.fixture(scope="session")
def vgg16(random_weights: Path) -> "Callable[[int], keras.Model]":
    """VGG16's base with those weights, for photos of a given size."""
    from smallset.backbones import registry, weights

    tensors = weights.from_file("VGG16", random_weights)
    return lambda size: registry.build("VGG16", tensors, size)


@pytest.fixture
def history() -> pd.DataFrame:
    """Three epochs, of which the second was kept."""
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "accuracy": [0.5, 0.7, 0.9],
            "loss": [0.7, 0.5, 0.2],
            "val_accuracy": [0.5, 0.8, 0.75],
            "val_loss": [0.7, 0.4, 0.6],
        }
    )
