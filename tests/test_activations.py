"""The caches of the chapter: rows of the right photos, also after a kill, and the batches that are read from them."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.features.activations import PLAIN, Cache
from smallset.images import augmentation, batches
from smallset.models import engine
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError


@pytest.fixture
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    return keras.Model(pixels, keras.layers.Conv2D(4, 5, strides=3)(pixels / 255), name="frozen")


@pytest.fixture
def photos(drawn: Dataset) -> Dataset:
    return tiny.assign(drawn)


def write(network: keras.Model, photos: Dataset, folder: Path, count: int = 2) -> dict[str, bytes]:
    """Write photos and two views of them; return the bytes of the caches."""
    views = [augmentation.view(tiny.AUGMENTATION, tiny.SIZE, 0, number) for number in range(count)]
    outputs = {folder / "photos/train.npy": PLAIN, folder / "views/train.npy": views}
    checkpoint = Checkpoint(folder / "checkpoint.npz", "0")
    activations.from_photos(network, photos, outputs, checkpoint)
    checkpoint.remove()
    return {path.parent.name: path.read_bytes() for path in outputs}


def test_rows_are_the_outputs_for_photos_and_views(network: keras.Model, photos: Dataset, tmp_path: Path) -> None:
    write(network, photos, tmp_path)
    plain, views = (activations.read(tmp_path / kind / "train.npy", photos) for kind in ("photos", "views"))
    pixels = batches.pixels(photos, tiny.SIZE)
    np.testing.assert_allclose(plain.values, network(pixels), atol=1e-3)
    assert (plain.views.shape, views.views.shape) == ((1, 10, 4, 4, 4), (2, 10, 4, 4, 4))
    for number, values in enumerate(views.views):
        view = augmentation.view(tiny.AUGMENTATION, tiny.SIZE, 0, number)
        np.testing.assert_allclose(values, network(view(tf.constant(pixels), photos)), atol=1e-3)
    write(network, photos, tmp_path, count=0)
    assert activations.read(tmp_path / "views/train.npy", photos).views.shape == (0, 10, 4, 4, 4)


def test_a_killed_run_continues_with_the_same_bytes(
    network: keras.Model, photos: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "BATCH", 4)
    expected, compile_network = write(network, photos, tmp_path / "complete"), engine.compile_network
    calls = itertools.count()

    def step(pixels: engine.Array) -> engine.Array:
        if next(calls) >= 5:  # in the second batch, after photos and a view
            raise KeyboardInterrupt
        return compile_network(network)(pixels)

    monkeypatch.setattr(engine, "compile_network", lambda _: step)
    with pytest.raises(KeyboardInterrupt):
        write(network, photos, tmp_path)
    assert int(Checkpoint(tmp_path / "checkpoint.npz", "0").read()["train"]) == 4
    monkeypatch.setattr(engine, "compile_network", compile_network)
    assert write(network, photos, tmp_path) == expected
    assert int(next(calls)) == 6


def test_the_last_block_runs_over_the_rows_of_all_views(
    network: keras.Model, photos: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "BATCH", 4)
    write(network, photos, tmp_path)
    inputs = keras.Input(network.output_shape[1:])
    last_block = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    for kind in ("photos", "views"):
        cache = activations.read(tmp_path / kind / "train.npy", photos)
        activations.from_cache(last_block, cache, tmp_path / "features" / kind / "train.npy")
        features = activations.read(tmp_path / "features" / kind / "train.npy", photos)
        for values, rows in zip(features.views, cache.views, strict=True):
            np.testing.assert_allclose(values, last_block(rows.astype(np.float32)), atol=2e-3)


def test_data_has_training_and_validation_rows_and_some_pixels(
    network: keras.Model, photos: Dataset, tmp_path: Path
) -> None:
    folder, checkpoint = tmp_path / "photos", Checkpoint(tmp_path / "checkpoint.npz", "0")
    for split in ("train", "validation"):
        activations.from_photos(network, photos.split(split), {folder / f"{split}.npy": PLAIN}, checkpoint)
    activations.keep_pixels(folder, photos.validation, tiny.SIZE)
    data = activations.data(folder, folder, photos)
    rows, pixels = data.checked
    assert (len(data.train.dataset), rows.tolist()) == (6, [0, 1])
    np.testing.assert_allclose(network(pixels), data.validation.values[rows], atol=1e-3)


def test_a_cache_of_other_photos_and_a_damaged_one_are_errors(
    network: keras.Model, photos: Dataset, tmp_path: Path
) -> None:
    write(network, photos, tmp_path)
    path = tmp_path / "photos/train.npy"
    for other in (photos.take(range(9)), photos.take([*range(1, 10), 0])):
        with pytest.raises(SmallsetError, match="expected rows of .* photos in the order of the table, found 10 rows"):
            activations.read(path, other)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SmallsetError, match="not a complete cache .*check --fix"):
        activations.read(path, photos)


def test_batches_have_every_row_once_in_each_pass_and_do_not_depend_on_the_start(photos: Dataset) -> None:
    values = np.arange(2 * 10, dtype=np.float16).reshape(2, 10, 1, 1, 1)
    cache = Cache(values, photos)
    rows = [rows.numpy().ravel() for rows, _ in activations.load(cache, 4)]
    assert np.concatenate(rows).tolist() == list(range(10))
    passes = [*activations.load(cache, 4, seed=0).take(6)]
    for batch in (passes[:3], passes[3:]):
        numbers = np.concatenate([rows.numpy().ravel() for rows, _ in batch])
        assert sorted(numbers % 10) == list(range(10))
        assert 0 < (numbers >= 10).sum() < 10  # of both views
        labels = np.concatenate([labels.numpy().ravel() for _, labels in batch])
        assert np.array_equal(labels, photos.labels[(numbers % 10).astype(int)])
    later = [*activations.load(cache, 4, seed=0, start=4).take(2)]
    for (rows_, _), (expected, _) in zip(later, passes[4:], strict=True):
        assert np.array_equal(rows_, expected)
