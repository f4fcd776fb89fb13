"""Whether more photos would help: how often `linear` errs on the validation photos with fewer, and how that goes on.

Errors of n training photos follow a * n**-b + c, c being what no number of photos of this kind takes away (Viering and
Loog 2021, The shape of learning curves: a review). How far this one can be read is told by drawing validation photos
and draws again: the range for twice the photos is that of the gain, added to what there is now, and wider by the luck
of the photos drawn, now and then.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.datasets.lists import Photos
from smallset.evaluation import samples
from smallset.pipeline import bulk, params, progress
from smallset.training import linear_probe

STEPS = (10, 20, 50)  # photos a class, in the mean; then 10 times as many, and so on
SHARE = 0.75  # of the training photos: a larger draw is hardly one
DRAWS = 5  # of each size; each draw holds the smaller ones
SLOPES = np.arange(0.1, 1.01, 0.05)  # that are tried for b
LEAST = 4  # sizes; fewer fit any curve
RESAMPLED = 1000  # times
CONFIDENCE = 0.95
MORE = 2  # times the photos
JUDGED = 10_000  # validation photos; of more, evenly spaced ones
COLUMNS = ["photos", "a_class", "draws", "error", "sd", "fitted", "low", "high"]

Array = NDArray[np.float64]
Wrong = Mapping[int, NDArray[np.bool_]]  # training photos to which of n validation photos are wrong, (draws, n)


def measure(
    train: linear_probe.Rows, found: Photos, validation: linear_probe.Rows, strength: float, p: params.Linear, seed: int
) -> Wrong:
    """Solve `linear` anew with fewer photos, all views of them, and once with all.

    found: the training photos, of which `train` has rows, one view after the other; strength: C, the same for all.
    Draws whose rows are not held in memory are left out.
    """
    photos, few = len(found.files), validation.at(bulk.sample(validation.labels, JUDGED))
    held = bulk.held(train.inputs) * photos // len(train.labels)
    smaller = [size for size in sizes(photos, len(found.classes)) if size <= held]
    draws = dict.fromkeys(smaller, DRAWS) | {photos: 1}
    wrong = {}
    with progress.bar(total=sum(draws.values()), what="fewer photos", unit=" models") as bar:
        for size, count in draws.items():
            drawn = [samples.drawn(found, size, seed + draw) for draw in range(count)]
            missed = []
            for rows in drawn:
                views = (np.arange(0, len(train.labels), photos)[:, None] + rows).ravel()
                known = train.at(views) if len(rows) < photos else train
                missed.append(linear_probe.regression(known, strength, p).predict(few.inputs) != few.labels)
                bar.update()
            wrong[round(np.mean([len(rows) for rows in drawn]))] = np.array(missed)
    return wrong


def sizes(photos: int, classes: int) -> list[int]:
    """Training photos of the draws: 10, 20, 50, 100, … a class in the mean."""
    steps = (classes * one * 10**power for power in range(6) for one in STEPS)
    return [size for size in steps if size <= SHARE * photos]


def table(wrong: Wrong, classes: int, seed: int) -> pd.DataFrame:
    """A row for each size with the COLUMNS: error, its standard deviation over the draws, and that of the curve.

    The last row is of MORE times the photos: low and high are the 95 % prediction interval of the error there. Without
    it, and without a curve, where there are fewer than LEAST sizes.
    """
    size = np.array([*wrong], np.float64)
    errors = np.array([several.mean() for several in wrong.values()])
    spread = [several.mean(axis=1).std(ddof=1) if len(several) > 1 else np.nan for several in wrong.values()]
    found = pd.DataFrame({"photos": size, "draws": [*map(len, wrong.values())], "error": errors, "sd": spread})
    if len(size) >= LEAST:
        further = np.array([*size, MORE * size[-1]])
        found.loc[len(found)] = {"photos": further[-1], "draws": 0}
        found["fitted"] = curve(size, errors[None], further)[0]
        again = curve(size, resampled(wrong, seed), further[-2:])
        tail = (1 - CONFIDENCE) / 2
        luck = np.random.default_rng(seed).normal(0, np.sqrt(2) * spread[-2], RESAMPLED)
        less, more = np.quantile(again[:, 0] - again[:, 1] + luck, [tail, 1 - tail])
        found.loc[len(found) - 1, ["low", "high"]] = max(errors[-1] - more, 0), max(errors[-1] - less, 0)
    found = found.assign(a_class=found["photos"] / classes).reindex(columns=COLUMNS)
    return found.astype({"photos": int, "draws": int})


def resampled(wrong: Wrong, seed: int) -> Array:
    """The errors of each size, (RESAMPLED, sizes), on validation photos and over draws that are drawn with replacement.

    Photos are drawn once for all sizes: whether they are easy or hard plays no part in how the curve falls.
    """
    random = np.random.default_rng(seed)
    count = next(iter(wrong.values())).shape[1]
    photos = random.multinomial(count, np.full(count, 1 / count), size=RESAMPLED) / count  # how often each, as a share
    found = []
    for several in wrong.values():
        errors = photos @ several.T.astype(np.float64)  # (RESAMPLED, draws)
        draws = random.integers(len(several), size=errors.shape)
        found.append(np.take_along_axis(errors, draws, axis=1).mean(axis=1))
    return np.stack(found, axis=1)


def curve(size: Array, errors: Array, at: Array) -> Array:
    """The values at `at`, (m, k), of the curves that fit m rows of errors, (m, sizes), best: a, b and c are positive.

    By least squares, weighted as the variance of counts is: by the inverse of the error. For each of SLOPES two sums
    give a and c; where one of them would be negative, it is 0.
    """
    weights = 1 / np.maximum(errors.mean(axis=0), 1 / size.max())
    weights = weights / weights.sum()
    best, values = np.full(len(errors), np.inf), np.zeros((len(errors), len(at)))
    for slope in SLOPES:
        fall, further = (size / size[0]) ** -slope, (at / size[0]) ** -slope
        middle, level = weights @ fall, errors @ weights
        steep = ((errors - level[:, None]) @ (weights * (fall - middle))) / (weights @ (fall - middle) ** 2)
        steep = np.maximum(steep, 0)
        floor = level - steep * middle
        steep = np.where(floor < 0, errors @ (weights * fall) / (weights @ fall**2), steep)
        floor = np.maximum(floor, 0)
        misses = (floor[:, None] + steep[:, None] * fall - errors) ** 2 @ weights
        better = misses < best
        values[better] = (floor[:, None] + steep[:, None] * further)[better]
        best = np.minimum(best, misses)
    return values
