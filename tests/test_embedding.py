"""Features: each photo is decoded once, and search, reuse, resumption and clusters do not change a byte."""

import itertools
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from numpy.typing import NDArray
from PIL import Image

from smallset.backbones import registry, weights
from smallset.datasets.dataset import Dataset
from smallset.features import embedding
from smallset.features.embedding import Embedded, embed, search_and_embed
from smallset.features.store import Features
from smallset.images import batches, decoding
from smallset.pipeline import cluster, files, params, provenance
from smallset.pipeline.errors import SmallsetError

USEFUL = 40  # px: at other sizes the small network sees nothing


@pytest.fixture
def photos(drawn: Dataset) -> Dataset:
    return tiny.assign(drawn)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network in place of the registry's, which does not take 36 px."""

    def build(_: str, __: registry.Tensors, size: int) -> keras.Model:
        if size == 36:
            raise SmallsetError("expected a multiple of 8 px")
        keras.utils.set_random_seed(0)
        inputs = keras.Input((size, size, 3))
        maps = keras.layers.Conv2D(4, 5, activation="relu")(inputs / 255)
        mean = keras.layers.GlobalAveragePooling2D()(maps)
        return keras.Model(inputs, mean if size == USEFUL else mean * 0, name="backbone")

    monkeypatch.setattr(registry, "feature_network", build)
    monkeypatch.setattr(weights, "fetch", lambda *_: [])
    monkeypatch.setattr(weights, "digest", lambda *_: "the digest")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that are decoded."""
    names: list[str] = []
    decode = decoding.decode

    def record(path: str | Path) -> NDArray[np.uint8]:
        names.append(Path(path).name)
        return decode(path)

    monkeypatch.setattr(decoding, "decode", record)
    return names


def score(features: Features) -> dict[str, float]:
    search = tiny.fit_probe(features).search_
    return {str(name): float(value) for name, value in search.iloc[0].items()}


def run(
    photos: Dataset,
    folder: Path,
    sizes: Sequence[int] = (USEFUL,),
    flip: str = "horizontal",
    earlier: Path | None = None,
) -> Embedded:
    p = params.FeatureExtraction(backbone="EfficientNetLite0", weights=None, image_sizes=list(sizes))
    return search_and_embed(photos, p, flip, score, folder / "shards", earlier)


def content(features: Features, folder: Path) -> bytes:
    features.write(folder / "features.npz")
    return (folder / "features.npz").read_bytes()


def test_features_are_the_outputs_for_photos_and_mirror_images_with_grey_thumbnails(photos: Dataset) -> None:
    features = embed(photos, "efficientnet_lite0", weights=None, image_sizes=[32])
    keras.utils.set_random_seed(0)
    network = registry.feature_network("EfficientNetLite0", weights.fetch("EfficientNetLite0", None), 32)
    pixels = batches.pixels(photos, 32)
    assert features.values.shape == (10, 4048)
    np.testing.assert_allclose(features.values, network(pixels), rtol=0.01, atol=0.01)
    mirrored = network(batches.pixels(photos.train, 32)[:, :, ::-1])
    assert features.flipped is not None
    np.testing.assert_allclose(features.flipped, mirrored, rtol=0.01, atol=0.01)
    assert (features.image_size, features.metadata["backbone"]) == (32, "EfficientNetLite0")
    reduced = Image.open(photos.paths[3]).resize((80, 80), Image.Resampling.BILINEAR).convert("L")
    assert features.thumbnails.shape == (10, 64, 64)
    assert np.array_equal(features.thumbnails[3], np.asarray(reduced.resize((64, 64), Image.Resampling.LANCZOS)))


@pytest.mark.usefixtures("small")
def test_flips(photos: Dataset, tmp_path: Path) -> None:
    pixels = batches.pixels(photos.train, USEFUL)
    flips = {"vertical": pixels[:, ::-1], "horizontal_and_vertical": pixels[:, ::-1, ::-1]}
    for flip, flipped in flips.items():
        embedded = run(photos, tmp_path, flip=flip)
        assert embedded.features.flipped is not None
        np.testing.assert_allclose(embedded.features.flipped, embedded.network(flipped), atol=1e-3)
    assert run(photos, tmp_path, flip="none").features.flipped is None


@pytest.mark.usefixtures("small")
def test_the_size_with_the_lowest_validation_loss_is_selected_and_each_photo_decoded_once(
    photos: Dataset, decoded: list[str], tmp_path: Path
) -> None:
    embedded = run(photos, tmp_path, sizes=(48, USEFUL, 36))
    search = embedded.search
    assert list(search.columns) == ["image_size", "C", "val_loss", "val_accuracy", "selected"]
    assert search["image_size"].tolist() == [USEFUL, 48]
    assert search["selected"].tolist() == [True, False]
    assert search["val_loss"][0] < search["val_loss"][1]
    assert embedded.features.image_size == embedded.network.input_shape[1] == USEFUL
    assert sorted(decoded) == sorted(Path(file).name for file in photos.table["file"])
    alone = run(photos, tmp_path / "alone")
    assert alone.search.isna().sum().sum() == 3
    assert content(alone.features, tmp_path) == content(embedded.features, tmp_path)


@pytest.mark.usefixtures("small")
def test_a_search_needs_sizes_that_the_backbone_takes_and_a_score(photos: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match="expected a multiple of 8 px"):
        run(photos, tmp_path, sizes=(36,))
    with pytest.raises(ValueError, match="Expected `score`"):
        embed(photos, image_sizes=[USEFUL, 48])


@pytest.mark.usefixtures("small")
def test_the_search_uses_a_sample_with_all_classes(
    photos: Dataset, decoded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedding, "SEARCHED", 2)
    p = params.FeatureExtraction(backbone="EfficientNetLite0", weights=None, image_sizes=[USEFUL, 48])
    measure = mock.Mock(wraps=score)
    embedded = search_and_embed(photos, p, "none", measure, tmp_path)
    for call in measure.mock_calls:
        table = call.args[0].dataset.table
        assert {*zip(table["split"], table["label"], strict=True)} == {
            *itertools.product(("train", "validation"), ("cat", "dog"))
        }
        assert len(table) == 5
    assert len(decoded) == 10
    alone = run(photos, tmp_path / "alone", flip="none")
    assert content(alone.features, tmp_path) == content(embedded.features, tmp_path)


@pytest.mark.usefixtures("small")
def test_rows_of_an_earlier_file_are_used_again(
    photos: Dataset, decoded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, expected = tmp_path / "earlier.npz", content(run(photos, tmp_path).features, tmp_path)
    run(photos.take(range(8)), tmp_path / "first").features.write(earlier)
    decoded.clear()
    assert content(run(photos, tmp_path / "second", earlier=earlier).features, tmp_path) == expected
    assert sorted(decoded) == sorted(path.name for path in photos.paths[8:])
    decoded.clear()
    moved = replace(photos, table=photos.table.assign(split="train"))  # their mirror images are new
    assert len(run(moved, tmp_path / "third", earlier=earlier).features.training()[1]) == 20
    assert len(decoded) == 4
    monkeypatch.setattr(weights, "digest", lambda *_: "of other weights")
    decoded.clear()
    run(photos, tmp_path / "fourth", earlier=earlier)
    assert len(decoded) == 10
    earlier.write_bytes(earlier.read_bytes()[:-200])
    assert len(run(photos, tmp_path / "fifth", earlier=earlier).features.values) == 10


@pytest.mark.usefixtures("small")
def test_a_killed_run_continues_after_its_last_shard(
    photos: Dataset, decoded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = content(run(photos, tmp_path / "whole").features, tmp_path)
    monkeypatch.setattr(embedding, "SHARD", 3)
    calls = itertools.count()

    def die(path: Path, sizes: Sequence[int]) -> Any:
        if next(calls) == 4:  # in the second shard
            raise KeyboardInterrupt
        return read_photo(path, sizes)

    read_photo = embedding._read_photo
    monkeypatch.setattr(embedding, "_read_photo", die)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path)
    monkeypatch.setattr(embedding, "_read_photo", read_photo)
    decoded.clear()
    assert content(run(photos, tmp_path).features, tmp_path) == expected
    assert len(decoded) == 7


@pytest.mark.usefixtures("small")
def test_equal_files_in_two_splits_are_computed_once(photos: Dataset, decoded: list[str], tmp_path: Path) -> None:
    test = photos.table.iloc[[0]].assign(split="test")
    doubled = replace(photos, table=pd.concat([test, photos.table], ignore_index=True))
    features = run(doubled, tmp_path).features
    assert len(decoded) == 10
    assert np.array_equal(features.values[0], features.values[1])
    assert len(features.training()[1]) == 12


@pytest.mark.usefixtures("small")
def test_a_cluster_gives_the_same_bytes(photos: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = content(run(photos, tmp_path / "alone").features, tmp_path)

    def results(setup: cluster.Setup, items: Sequence[Any], *_: str) -> Iterator[Any]:
        yield from map(setup(), pickle.loads(pickle.dumps(items)))  # noqa: S301

    monkeypatch.setattr(cluster, "address", lambda: "here")
    monkeypatch.setattr(cluster, "results", results)
    monkeypatch.setattr(embedding, "SHARD", 4)
    assert content(run(photos, tmp_path / "cluster").features, tmp_path) == expected


def test_the_earlier_file_is_the_one_of_dvc_lock_if_code_and_machine_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "features")
    cached = tmp_path / ".dvc/cache/files/md5/ab" / ("c" * 30)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"features")
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = True\n")

    def find(code: str = "photos", md5: str = "ab" + "c" * 30, **facts: str) -> Path | None:
        lock = {"outs": [{"path": "data/features.npz", "md5": md5}], "deps": [{"path": code, "md5": md5}]}
        files.write_json(Path("dvc.lock"), {"schema": "2.0", "stages": {"features": lock}})
        files.write_json(Path("metrics/provenance.json"), {"features": provenance.facts() | facts})
        return embedding.find_earlier()

    assert embedding.find_earlier() is None
    assert find(ray="2 x node") == cached
    assert find(md5="0" * 32) is None
    assert find(code="../src/smallset/features") is None
    assert find(numpy="1.0") is None
    Path("dvc.lock").write_text("stages: {features: {outs: [")
    assert embedding.find_earlier() is None
