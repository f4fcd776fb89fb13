"""What several tests need: generated photos, VGG16 with random weights, the repository's own params.

TensorFlow is imported where it is used: pytest's first process, which hands the tests out, needs none of it.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import settings

from smallset.datasets import folders, synthetic
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parents[1]
LONGEST = ["test_chapter.py", "test_project.py"]

settings.register_profile("smallset", derandomize=True, deadline=None, max_examples=60)  # the same in every run
settings.load_profile("smallset")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process works alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def with_digests(photos: Dataset) -> Dataset:
    """The same photos with the sha256 of their bytes."""
    return replace(photos, table=photos.table.assign(sha256=[files.sha256(path) for path in photos.paths]))


@pytest.fixture(scope="session", autouse=True)
def network_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of networks for the tests of this process and for the commands that they start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMALLSET_CACHE", str(folder))
        yield folder / "networks"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test begins with the same seed and in float32, whatever stages have run in this process before."""
    if "keras" in sys.modules:  # tests without a network do without its import
        sys.modules["keras"].utils.set_random_seed(0)
    if precision := sys.modules.get("smallset.models.precision"):
        precision._settings.clear()
    if precision and "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({precision.BFLOAT16: False})


@pytest.fixture
def document() -> Any:
    """params.yaml as it is committed."""
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def drawn(tmp_path: Path) -> Dataset:
    """Five generated pictures of each class, 80 px."""
    synthetic.draw(tmp_path / "drawn", 5, 80, seed=0)
    return with_digests(folders.read_folder(tmp_path / "drawn")[0])


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of four photos, and no waiting before a new attempt."""
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
    registry.get("VGG16").create().save_weights(path)
    return path


@pytest.fixture(scope="session")
def vgg16(random_weights: Path) -> "Callable[[int], keras.Model]":
    """VGG16's base with those weights, for photos of a given size."""
    from smallset.backbones import registry, weights

    tensors = weights.read("VGG16", random_weights)
    return lambda size: registry.build_backbone("VGG16", tensors, size)
