"""Properties of photos, all computed in one decoding pass."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter1d

from smallset.datasets.dataset import Dataset
from smallset.images import decoding
from smallset.pipeline import files, progress, provenance
from smallset.pipeline.errors import SmallsetError

PROPERTIES = ("sha256", "pixels", "width", "height", "brightness", "sharpness", "saturation")
THUMBNAIL = 128  # px: the side of the square that brightness, sharpness and saturation are measured on
WINDOW = 9  # px: of the mean filter that sharpness compares the thumbnail with

LeftOut = dict[str, str]  # file -> why it is not in the dataset


def measure(dataset: Dataset) -> tuple[Dataset, LeftOut]:
    """Decode each photo once and add its PROPERTIES; return the photos that decode, and for others the reason."""
    with ThreadPoolExecutor(provenance.threads()) as pool:
        results = [*progress.bar(pool.map(_measure_photo, dataset.paths), total=len(dataset), what="decoding")]
    rows = [(file, result) for file, result in zip(dataset.table["file"], results, strict=True)]
    left_out = {file: reason for file, reason in rows if isinstance(reason, str)}
    columns = pd.DataFrame([row for _, row in rows if not isinstance(row, str)], columns=[*PROPERTIES])
    rest = dataset.take(~dataset.table["file"].isin(left_out).to_numpy()).table.drop(
        columns=[*PROPERTIES], errors="ignore"
    )
    table = pd.concat([rest, columns.astype({"sha256": object, "pixels": object})], axis=1)
    return replace(dataset, table=table), left_out


def measure_first(dataset: Dataset, count: int) -> tuple[Dataset, LeftOut]:
    """Measure only the first `count` photos of each class that decode, or all photos of a class that has fewer."""
    waiting, tables, left_out = dataset, [], LeftOut()
    needed = pd.Series(count, dataset.classes)
    while (batch := waiting.table.groupby("label").cumcount() < waiting.table["label"].map(needed)).any():
        measured, broken = measure(waiting.take(batch.to_numpy()))
        tables.append(measured.table)
        left_out |= broken
        needed = needed.sub(measured.table["label"].value_counts(), fill_value=0)
        waiting = waiting.take(~batch.to_numpy())
    row_of = {file: row for row, file in enumerate(dataset.table["file"])}
    table = pd.concat(tables).sort_values("file", key=lambda column: column.map(row_of), ignore_index=True)
    return replace(dataset, table=table), left_out


def _measure_photo(path: Path) -> tuple[object, ...] | str:
    """The PROPERTIES of one photo, or why it does not decode."""
    try:
        pixels, (width, height) = decoding.decode_with_size(path)
    except SmallsetError as error:
        return str(error).removeprefix(f"{path}: ")
    size = min(THUMBNAIL, *pixels.shape[:2])  # enlarging a smaller photo would blur it
    thumbnail = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    gray = np.asarray(thumbnail.convert("L"), np.float64)
    saturation = np.ptp(np.ascontiguousarray(np.moveaxis(np.asarray(thumbnail), 2, 0)), axis=0)  # else 15 times slower
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return files.sha256(path), digest, width, height, gray.mean() / 255, _sharpness(gray), saturation.mean() / 255


def _sharpness(gray: NDArray[np.float64]) -> float:
    """1 - blur, 0..1, of levels (h, w): the share of the edges that a mean filter removes, in the blurrier direction.

    Crete et al. 2007, The blur effect: perception and estimation with a new no-reference perceptual blur metric, SPIE.
    Unlike the variance of the Laplacian, it does not depend on contrast or on the size of the photo.
    """
    removed = []
    for axis in (0, 1):
        edges, blurred = (np.abs(np.diff(values, axis=axis)) for values in (gray, uniform_filter1d(gray, WINDOW, axis)))
        removed.append(np.maximum(0, edges - blurred).sum() / max(edges.sum(), 1e-9))
    return float(min(removed))
