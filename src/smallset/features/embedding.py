"""Embed a dataset: run a frozen backbone once over every photo, at the image size that validation photos prefer."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from smallset.backbones import registry, weights
from smallset.datasets.dataset import Dataset
from smallset.features import store
from smallset.features.store import Array16, Features
from smallset.images import decoding
from smallset.models import engine, model_file, precision
from smallset.pipeline import cluster, dvc_lock, files, params, progress, provenance, stage
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

SEARCHED = 800  # training photos, and validation photos, by which the image size is selected
SHARD = 128  # photos whose features are written at once; a killed run continues after the last shard
REDUCED = 128  # px, of the square that a photo is reduced to before it becomes a thumbnail
COLUMNS = ["image_size", "C", "val_loss", "val_accuracy"]
AXES = {"horizontal": (2,), "vertical": (1,), "horizontal_and_vertical": (1, 2)}  # reversed by a flip; of (n, h, w, 3)

Score = Callable[[Features], Mapping[Any, float]]  # returns val_loss, and perhaps C and val_accuracy


class Embedded(NamedTuple):
    """The features, the network that computed them, and the search: one row per image size."""

    features: Features
    network: keras.Model
    search: pd.DataFrame


def embed(
    dataset: Dataset,
    backbone: str = "EfficientNetLite0",
    weights: str | None = "imagenet",
    image_sizes: Sequence[int] = (224,),
    flip: str = "horizontal",
    score: Score | None = None,
) -> Features:
    """Compute the features of all photos, and of the mirror images of the training photos.

    Args:
        dataset: The photos.
        backbone: A name from `backbones.registry`, or hub: with the name of a keras-hub preset.
        weights: "imagenet", the path of a file of weights, or None for random ones.
        image_sizes: The sides in px of the squares that the network may see; `score` selects one of several.
        flip: "none", "horizontal", "vertical" or "horizontal_and_vertical".
        score: Returns a mapping with `val_loss` for the features of some training and validation photos.

    Examples:
        >>> features = smallset.embed(photos, weights=None, image_sizes=[64])  # without `weights=None`: from ImageNet
        params.yaml: weights: null: EfficientNetLite0 has random weights, which have not learned anything.
    """
    p = params.FeatureExtraction(backbone=backbone, weights=weights, image_sizes=list(image_sizes))
    with tempfile.TemporaryDirectory() as folder:
        embedded = search_and_embed(dataset, p, flip, score, Path(folder))
    return replace(embedded.features, network=embedded.network)


def search_and_embed(
    dataset: Dataset,
    p: params.FeatureExtraction,
    flip: str,
    score: Score | None,
    drafts: Path,
    earlier: Path | None = None,
) -> Embedded:
    """Select the image size on a sample of the photos, then embed the others at that size. Each photo is decoded once.

    Args:
        dataset: All photos.
        p: The backbone, its weights, and the image sizes.
        flip: See `embed`.
        score: See `embed`.
        drafts: A folder for intermediate results, which a run with the same inputs uses after a kill. All nodes of a
            cluster must see it. The caller removes it.
        earlier: A features file, whose rows are used again if the same network computed them.
    """
    tensors, name = weights.fetch(p.backbone, p.weights), registry.get(p.backbone).name
    networks = _build_networks(p, tensors)
    inputs = name, weights.digest(name, tensors), flip, precision.in_bfloat16(), store.THUMBNAIL
    fingerprint = hashlib.sha256(repr(inputs).encode()).hexdigest()
    embedder = _Embedder(dataset, networks, {"backbone": name, "flip": flip, "fingerprint": fingerprint}, drafts)
    if earlier:
        embedder.reuse(earlier)
    search = _search(dataset, embedder, score)
    size = int(search["image_size"][search["selected"]].iloc[0])
    embedder.compute(dataset, [size])
    return Embedded(embedder.collect(dataset, size), networks[size], search)


def find_earlier(path: Path = store.FILE) -> Path | None:
    """The output of the stage's last run, in DVC's cache, if this process would compute the same rows.

    None also where the stage depends on smallset's own code, as in smallset's repository: it may have changed.
    """
    locked = dvc_lock.read().get(stage.stage_name(), dvc_lock.NONE)
    facts = provenance.read(stage.RECORD).get(stage.stage_name(), {})
    md5 = locked.outs.get(path.as_posix())
    depends_on_code = any("src/smallset" in dependency for dependency in locked.deps)
    if not md5 or depends_on_code or not provenance.facts().items() <= facts.items():
        return None
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    folder = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    cached = Path(folder, "files/md5", md5[:2], md5[2:])
    return cached if cached.is_file() else None


def _build_networks(p: params.FeatureExtraction, tensors: registry.Tensors) -> dict[int, keras.Model]:
    """A network for each image size that the backbone takes; enlarged photos often give better features."""
    networks, refusals = {}, []
    for size in sorted(set(p.image_sizes)):
        try:
            networks[size] = registry.feature_network(p.backbone, tensors, size)
        except SmallsetError as error:
            refusals.append(error)
            print(f"{size} px is left out: {error}")
    if not networks:
        raise refusals[0]
    return networks


def _search(dataset: Dataset, embedder: "_Embedder", score: Score | None) -> pd.DataFrame:
    """A row for each image size; with several, the one with the lowest validation loss is selected."""
    table = pd.DataFrame({"image_size": [*embedder.networks]}).reindex(columns=COLUMNS)
    if len(table) == 1:
        return table.assign(selected=True)
    if score is None:
        raise ValueError("Expected `score`, which selects one of several image sizes; found None.")
    splits = (np.flatnonzero(dataset.table["split"] == split) for split in ("train", "validation"))
    sample = dataset.take(np.concatenate([rows[store.sample(dataset.labels[rows], SEARCHED)] for rows in splits]))
    embedder.compute(sample, table["image_size"].tolist())
    for row, size in enumerate(table["image_size"]):
        scores = score(embedder.collect(sample, size))
        table.loc[row, COLUMNS[1:]] = [scores.get(column, np.nan) for column in COLUMNS[1:]]
    return table.assign(selected=table.index == table["val_loss"].argmin())


@dataclass(frozen=True)
class _Shard:
    """Photos whose features are computed together."""

    photos: Dataset
    image_sizes: tuple[int, ...]
    flip: str  # "none": without mirror images
    checkpoint: Checkpoint  # with arrays (n, views, d) by image size, and `thumbnails` (n, 64, 64)


class _Embedder:
    """The rows that are known, (views, d) for each digest and image size; it computes those that are missing."""

    def __init__(
        self, dataset: Dataset, networks: Mapping[int, keras.Model], metadata: dict[str, str], drafts: Path
    ) -> None:
        self.networks, self.metadata, self.drafts = networks, metadata, drafts
        self.views = dict.fromkeys(dataset.sha256, 1)
        self.views |= dict.fromkeys(dataset.train.sha256, 2 if metadata["flip"] in AXES else 1)
        self.rows: dict[tuple[str, int], Array16] = {}
        self.thumbnails: dict[str, NDArray[np.uint8]] = {}

    def reuse(self, path: Path) -> None:
        """Take the rows of a features file that has the same fingerprint."""
        try:
            arrays = files.read_arrays(path)
        except SmallsetError:
            return
        metadata = json.loads(str(arrays["metadata"]))
        if metadata["fingerprint"] != self.metadata["fingerprint"]:
            return
        flipped = dict(zip(arrays["flipped_sha256"].tolist(), arrays["flipped"], strict=True))
        for row, digest in enumerate(arrays["sha256"].tolist()):
            views = [arrays["values"][row], *([flipped[digest]] if digest in flipped else [])]
            self.rows[digest.decode(), metadata["image_size"]] = np.stack(views)
            self.thumbnails[digest.decode()] = arrays["thumbnails"][row]

    def compute(self, photos: Dataset, sizes: Sequence[int]) -> None:
        """Compute the missing rows of some photos, in this process or on a cluster."""
        shards = [*self._divide(photos, sizes)]
        with progress.bar(total=sum(len(shard.photos) for shard in shards), what="features", unit=" photos") as bar:
            for shard, _ in zip(shards, self._start(shards), strict=True):
                arrays = shard.checkpoint.read()
                for row, digest in enumerate(shard.photos.sha256):
                    self.thumbnails[digest] = arrays["thumbnails"][row]
                    self.rows |= {(digest, size): arrays[str(size)][row] for size in shard.image_sizes}
                bar.update(len(shard.photos))

    def _start(self, shards: Sequence[_Shard]) -> Iterable[None]:
        """Compute one shard after the other while the caller iterates."""
        if not cluster.address():
            compile_size = cache(lambda size: engine.compile_network(self.networks[size]))
            return map(partial(_compute_shard, compile_size), shards)
        for size in {size for shard in shards for size in shard.image_sizes}:
            model_file.save(self.networks[size], self.drafts / f"{size}.keras")
        return cluster.results(partial(_start_worker, precision.again(), self.drafts), shards, "shard")

    def collect(self, photos: Dataset, size: int) -> Features:
        """The features of photos whose rows are known."""

        def stack(part: Dataset, view: int) -> Array16:
            rows = [self.rows[digest, size][view] for digest in part.sha256]
            return np.array(rows, np.float16).reshape(-1, self.networks[size].output_shape[1])

        thumbnails = np.stack([self.thumbnails[digest] for digest in photos.sha256])
        flipped = stack(photos.train, 1) if self.metadata["flip"] in AXES else None
        return Features(photos, stack(photos, 0), flipped, thumbnails, self.metadata | {"image_size": size})

    def _divide(self, photos: Dataset, sizes: Sequence[int]) -> Iterator[_Shard]:
        """Shards of the photos of which rows are missing; of equal files only one."""
        groups: dict[tuple[tuple[int, ...], int], dict[str, int]] = {}
        for row, digest in enumerate(photos.sha256):
            views = self.views[digest]
            missing = tuple(size for size in sizes if len(self.rows.get((digest, size), ())) < views)
            if missing:
                groups.setdefault((missing, views), {})[digest] = row
        for (missing, views), rows in groups.items():
            for start in range(0, len(rows), SHARD):
                part = photos.take([*rows.values()][start : start + SHARD])
                inputs = self.metadata["fingerprint"], provenance.facts(), missing, views, part.sha256
                key = hashlib.sha256(repr(inputs).encode()).hexdigest()
                flip = self.metadata["flip"] if views == 2 else "none"
                yield _Shard(part, missing, flip, Checkpoint(self.drafts / f"{key}.npz", key))


def _start_worker(prepare: Callable[[], None], folder: Path) -> Callable[[_Shard], None]:
    """In a process of a cluster: the function that computes a shard with the networks in a folder."""
    prepare()
    compile_size = cache(lambda size: engine.compile_network(model_file.open_network(folder / f"{size}.keras")))
    return partial(_compute_shard, compile_size)


def _compute_shard(compile_size: Callable[[int], engine.Step], shard: _Shard) -> None:
    """Write the arrays of a shard, unless they are there."""
    if shard.checkpoint.read():
        return
    parts: dict[str, list[NDArray[np.generic]]] = {}
    with ThreadPoolExecutor(provenance.threads()) as pool:
        for start in range(0, len(shard.photos), engine.BATCH):
            paths = shard.photos.paths[start : start + engine.BATCH]
            thumbnails, *pixels = zip(*pool.map(partial(_read_photo, sizes=shard.image_sizes), paths), strict=True)
            parts.setdefault("thumbnails", []).append(np.stack(thumbnails))
            for size, batch in zip(shard.image_sizes, map(np.stack, pixels), strict=True):
                views = [batch, np.flip(batch, AXES[shard.flip])] if shard.flip in AXES else [batch]
                values = [store.to_float16(compile_size(size)(view)) for view in views]
                parts.setdefault(str(size), []).append(np.stack(values, axis=1))
    shard.checkpoint.write({name: np.concatenate(arrays) for name, arrays in parts.items()})


def _read_photo(path: Path, sizes: Sequence[int]) -> tuple[NDArray[np.generic], ...]:
    """The thumbnail of a photo, uint8, and for each size its pixels (s, s, 3), float32, as in `images.batches`."""
    pixels = decoding.decode(path)
    side = min(REDUCED, *pixels.shape[:2])
    reduced = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    thumbnail = reduced.convert("L").resize((store.THUMBNAIL, store.THUMBNAIL), Image.Resampling.LANCZOS)
    return np.asarray(thumbnail), *(tf.image.resize(pixels, (size, size)).numpy() for size in sizes)
