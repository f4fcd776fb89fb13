"""How long the first run of a project will take: constants, scaled by measurements of a second or two."""

import time
import timeit
from collections.abc import Mapping, Sequence

import numpy as np

from smallset.datasets.dataset import Dataset
from smallset.images import decoding
from smallset.pipeline import params, provenance
from smallset.pipeline.errors import SmallsetError

# Measured with EfficientNetLite0 on 2 cores of an AMD EPYC (AVX2), where `measure_speed` returns SPEED.
SPEED = 90.0  # GFLOP/s
START = 75.0  # s: the stages of a project with few photos, most of it imports of TensorFlow
INFERENCE = 0.009  # s per photo of 224 px
TRAINING = 0.055  # s per photo of 224 px and epoch
MARGIN = 1.3  # the factor by which the measurements vary
DECODINGS = 3  # how often a run decodes each photo
MATRIX, REPEATS, SECONDS = 1024, 5, 2.0  # of the measurements


def decode(dataset: Dataset) -> tuple[float, list[int], dict[str, str]]:
    """Decode photos for up to SECONDS; return s per photo, the shorter sides in px, and the errors by file."""
    started, sides, errors = time.perf_counter(), list[int](), dict[str, str]()
    for file, path in zip(dataset.table["file"], dataset.paths, strict=True):
        try:
            sides.append(min(decoding.decode(path).shape[:2]))
        except SmallsetError as error:
            errors[file] = str(error).removeprefix(f"{path}: ")
        if time.perf_counter() - started > SECONDS:
            break
    return (time.perf_counter() - started) / (len(sides) + len(errors)), sides, errors


def estimate(decode_seconds: float, sides: Sequence[int], counts: Mapping[str, int], p: params.Params) -> str:
    """A range in words, as "2 to 4 minutes": its ends are for the smallest and the largest of the possible image sizes.

    decode_seconds: per photo. sides: of some photos, in px. counts: the number of photos in each split.
    """
    sizes = [size for size in p.features.image_sizes if size <= np.median(sides)] or [min(p.features.image_sizes)]
    photos, areas = sum(counts.values()), [(size / 224) ** 2 for size in sizes]
    views = photos + (0 if p.augmentation.flip == "none" else counts["train"])
    inference, training = (views + photos) * INFERENCE, p.fine_tune.epochs * counts["train"] * TRAINING
    other = DECODINGS * decode_seconds * photos / provenance.threads()
    scale, limit = SPEED / measure_speed(), 60 * (p.fine_tune.minutes or np.inf)
    low, high = (
        (START + area * inference) * scale + min(area * training * scale, limit) + other
        for area in (min(areas), max(areas))
    )
    return describe(low / MARGIN, high * MARGIN)


def measure_speed() -> float:
    """The speed of matrix products on this machine, in GFLOP/s."""
    values = np.ones((MATRIX, MATRIX), np.float32)
    return 2 * MATRIX**3 / min(timeit.repeat(lambda: values @ values, number=1, repeat=REPEATS)) / 1e9


def describe(low: float, high: float) -> str:
    """Two durations in s as words, rounded as far as an estimate deserves."""
    unit, name = (60, "minute") if high < 90 * 60 else (3600, "hour")
    first, last = (max(1, round(seconds / unit)) for seconds in (low, high))
    return f"{f'{first} to' if first < last else 'about'} {last} {name}{'s' if last > 1 else ''}"
