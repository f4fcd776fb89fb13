"""Caches, and what is trained on them: rows that match their photos, and one model from pixels to probability."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from smallset.backbones import registry
from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.images import augmentation, batches
from smallset.models import heads
from smallset.pipeline import files, params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting, transfer

SIZE = 78
VIEWS = 2
P = params.Training(
    batch=4, epochs=2, learning_rate=1e-4, epsilon=1e-7, ema_momentum=None, class_weights=None, calibrate=True
)


@pytest.fixture
def parts(vgg16: Callable[[int], keras.Model]) -> tuple[keras.Model, keras.Model, keras.Model]:
    trunk, top = registry.split(vgg16(SIZE), "VGG16", None)
    return trunk, top, heads.book(top.output_shape[1:], 2, 8, 0.5)


@pytest.fixture
def augment(document: Any) -> params.Augmentation:
    return params.parse(document).augmentation


def drawn_views(augment: params.Augmentation) -> list[augmentation.View]:
    return [augmentation.view(augment, SIZE, 0, number) for number in range(VIEWS)]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint.npz", "")


@pytest.fixture
def cached(
    tmp_path: Path, drawn: lists.Photos, parts: tuple[keras.Model, ...], augment: params.Augmentation
) -> tuple[caches.Cache, caches.Cache]:
    """Activations of the drawn pictures, and of two views of each."""
    plain, bank = tmp_path / "photos/train.npy", tmp_path / "views/train.npy"
    checkpoint = Checkpoint(tmp_path / "extracted.npz", "")
    extraction.from_photos(parts[0], drawn, {plain: extraction.PLAIN, bank: drawn_views(augment)}, checkpoint)
    return caches.read(plain, drawn), caches.read(bank, drawn)


def data(plain: caches.Cache, views: caches.Cache) -> caches.Data:
    """What a stage reads: training on the views, validation and the check on the photos as they are."""
    return caches.Data(views, plain, batches.pixels(plain.photos, SIZE))


def test_rows_are_what_the_trunk_gives_for_the_photos(
    cached: tuple[caches.Cache, ...], parts: tuple[keras.Model, ...], drawn: lists.Photos
) -> None:
    plain, bank = cached
    assert (plain.values.shape, bank.values.shape) == ((10, 4, 4, 512), (VIEWS, 10, 4, 4, 512))
    assert plain.values.dtype == np.float16
    expected = parts[0].predict(batches.pixels(drawn, SIZE), verbose=0)
    np.testing.assert_allclose(plain.values, expected, rtol=1e-2, atol=1e-2 * expected.max())


def test_views_that_were_interrupted_go_on_to_the_bit(
    tmp_path: Path,
    parts: tuple[keras.Model, ...],
    augment: params.Augmentation,
    drawn: lists.Photos,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction, "BATCH", 4)

    def bank(name: str) -> list[str]:
        paths = [tmp_path / name / f"{kind}.npy" for kind in ("train", "views")]
        wanted = {paths[0]: extraction.PLAIN, paths[1]: drawn_views(augment)}
        extraction.from_photos(parts[0], drawn, wanted, checkpoint)
        return [files.sha256(path) for path in paths]

    expected = bank("whole")
    checkpoint.remove()
    write = Checkpoint.write
    written: list[int] = []

    def kill(checkpoint: Checkpoint, arrays: dict[str, Any]) -> None:
        written.append(int(arrays["train"]))
        write(checkpoint, arrays)
        if written == [4]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", kill)
    with pytest.raises(KeyboardInterrupt):
        bank("killed")
    assert list(checkpoint.read()) == ["train"]  # how far it came, and no state of anything that draws
    assert bank("killed") == expected
    assert written == [4, 8, 10]
    assert bank("killed") == expected
    assert written == [4, 8, 10]


def test_the_views_of_a_photo_are_the_same_whoever_makes_them_in_whatever_order(
    tmp_path: Path, parts: tuple[keras.Model, ...], augment: params.Augmentation, drawn: lists.Photos
) -> None:
    def bank(name: str, rows: list[int]) -> caches.Array:
        path, found = tmp_path / name / "train.npy", drawn.at(np.array(rows))
        own = Checkpoint(tmp_path / f"{name}.npz", "")
        extraction.from_photos(parts[0], found, {path: drawn_views(augment)}, own)
        return caches.read(path, found).views

    whole = bank("whole", list(range(10)))
    shards = [bank(f"shard{start}", [start + 1, start]) for start in (8, 2)]  # each its own batch, the last one first
    for shard, start in zip(shards, (8, 2), strict=True):
        np.testing.assert_allclose(shard[:, ::-1], whole[:, start : start + 2], rtol=1e-2, atol=1e-2)
        for view in range(VIEWS):  # to the bit: what the trunk sees
            views = drawn_views(augment)
            alone, together = drawn.at(np.array([start])), drawn
            one = np.asarray(views[view](batches.pixels(alone, SIZE), alone))[0]
            np.testing.assert_array_equal(one, np.asarray(views[view](batches.pixels(together, SIZE), together))[start])


def test_every_view_is_another(cached: tuple[caches.Cache, ...]) -> None:
    plain, bank = cached
    for one, other in ((plain.values, bank.views[0]), (bank.views[0], bank.views[1])):
        assert all(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_features_are_the_top_of_every_view_in_the_same_order(
    tmp_path: Path, cached: tuple[caches.Cache, ...], parts: tuple[keras.Model, ...], drawn: lists.Photos
) -> None:
    extraction.from_cache(parts[1], cached[1], tmp_path / "features.npy")
    features = caches.read(tmp_path / "features.npy", drawn)
    for view, source in zip(features.views, cached[1].views, strict=True):
        expected = parts[1].predict(source.astype(np.float32), verbose=0)
        np.testing.assert_allclose(view, expected, rtol=1e-2, atol=1e-2 * expected.max())


def test_rows_of_other_photos_are_refused(
    tmp_path: Path, cached: tuple[caches.Cache, ...], drawn: lists.Photos
) -> None:
    path = tmp_path / "photos/train.npy"
    assert cached[0].photos is drawn
    index = pd.read_csv(path.with_suffix(".csv"))
    index.iloc[::-1].to_csv(path.with_suffix(".csv"), index=False)
    with pytest.raises(
        SmallsetError,
        match=r"train.npy: expected a row for each of the 10 photos .* Run: smallset check --fix, then: dvc repro",
    ):
        caches.read(path, drawn)


def test_too_few_rows_are_refused(tmp_path: Path, cached: tuple[caches.Cache, ...], drawn: lists.Photos) -> None:
    path = tmp_path / "photos/train.npy"
    np.save(path, np.array(cached[0].values[:9]))
    with pytest.raises(SmallsetError, match="found 9 rows for 10 photos"):
        caches.read(path, drawn)


def test_batches_draw_views_and_orders_by_the_seed(cached: tuple[caches.Cache, ...]) -> None:
    bank = cached[1]

    def epochs(seed: int | None) -> list[np.ndarray]:
        return [np.concatenate([values for values, _ in caches.load(bank, 4, seed, start).take(3)]) for start in (0, 3)]

    first, second = epochs(1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(epochs(1), [first, second])
    np.testing.assert_array_equal(epochs(None)[1], bank.views[0])


def test_the_model_on_pixels_gives_what_the_trained_part_gives_on_the_cache(
    tmp_path: Path,
    cached: tuple[caches.Cache, ...],
    parts: tuple[keras.Model, ...],
    drawn: lists.Photos,
    checkpoint: Checkpoint,
) -> None:
    trunk, top, head = parts
    before = [weight.copy() for weight in trunk.get_weights()]
    history = tmp_path / "history.csv"
    whole, _ = transfer.fit([trunk], [top, head], data(*cached), P, fitting.Run(0, checkpoint, history))
    assert len(pd.read_csv(history)) == P.epochs
    assert len(whole.trainable_weights) == 6 + 4  # block5's and the head's: kernels and biases
    assert all(np.array_equal(a, b) for a, b in zip(before, trunk.get_weights(), strict=True))
    on_cache = head.predict(top.predict(cached[0].values.astype(np.float32), verbose=0), verbose=0)
    np.testing.assert_allclose(whole.predict(batches.pixels(drawn, SIZE), verbose=0), on_cache, atol=0.02)


def test_a_cache_of_another_network_is_refused(
    cached: tuple[caches.Cache, ...], parts: tuple[keras.Model, ...], checkpoint: Checkpoint
) -> None:
    keras.utils.set_random_seed(1)
    other = registry.build("VGG16", registry.plain("VGG16").get_weights(), SIZE)
    trunk, top = registry.split(other, "VGG16", None)
    with pytest.raises(
        SmallsetError, match="before training, features: the model on pixels and on the cached rows should agree"
    ):
        transfer.fit([trunk], [top, parts[2]], data(*cached), P, fitting.Run(0, checkpoint))


def test_without_views_the_book_s_way_trains_end_to_end(
    tmp_path: Path,
    cached: tuple[caches.Cache, ...],
    parts: tuple[keras.Model, ...],
    augment: params.Augmentation,
    drawn: lists.Photos,
    checkpoint: Checkpoint,
) -> None:
    extracted = Checkpoint(tmp_path / "extracted.npz", "no views")
    extraction.from_photos(
        parts[0], drawn, {tmp_path / "p/t.npy": extraction.PLAIN, tmp_path / "v/t.npy": []}, extracted
    )
    none = caches.read(tmp_path / "v/t.npy", drawn)
    before = parts[2].get_weights()
    run = fitting.Run(0, checkpoint, tmp_path / "history.csv")
    whole, _ = transfer.fit_views([parts[0], parts[1]], [parts[2]], data(cached[0], none), P, run, augment)
    assert len(pd.read_csv(tmp_path / "history.csv")) == P.epochs
    assert len(whole.trainable_weights) == 4
    assert whole.input_shape == (None, SIZE, SIZE, 3)
    assert not np.array_equal(before[0], parts[2].get_weights()[0])


# Untrained, MobileNet's activations fade to nothing; a smaller variance to divide by keeps them in float16's range.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variance"),
    [("MobileNetV3Small", 0.1), ("ConvNeXtTiny", 1.0), ("EfficientNetLite0", 1.0)],
)
def test_another_base_in_three_classes_keeps_imagenet_s_statistics_and_agrees_with_its_cache(
    tmp_path: Path, drawn: lists.Photos, name: str, variance: float, checkpoint: Checkpoint
) -> None:
    plain = registry.plain(name)
    for layer in plain.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * variance)
    trunk, top = registry.split(registry.build(name, plain.get_weights(), SIZE), name, None)
    head = heads.book(top.output_shape[1:], 3, 4, 0.5)
    found = replace(drawn, classes=("a", "b", "c"), labels=np.arange(10) % 3)
    path, extracted = tmp_path / "photos/train.npy", Checkpoint(tmp_path / "extracted.npz", "")
    extraction.from_photos(trunk, found, {path: extraction.PLAIN}, extracted)
    cache = caches.read(path, found)
    normalised = [layer for layer in top.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [weight.copy() for layer in normalised for weight in layer.get_weights()]
    p = P.model_copy(update={"epochs": 1})
    whole, _ = transfer.fit([trunk], [top, head], data(cache, cache), p, fitting.Run(0, checkpoint))
    after = [weight for layer in normalised for weight in layer.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert whole.output_shape == (None, 3)
