"""Would more photos help? The validation error of linear probes with fewer photos, extrapolated to twice as many.

Errors of n training photos follow a * n**-b + c (Viering and Loog 2021, The shape of learning curves: a review).
"""
# ruff: noqa: N803 - scikit-learn's C

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features
from smallset.pipeline import progress
from smallset.training.linear_probe import MAX_ROWS, LinearProbe

STEPS = (10, 20, 50)  # photos per class on average; then ten times as many, and so on
MAX_SHARE = 0.75  # of the training photos, in the largest draw
DRAWS = 5  # of each size
EXPONENTS = np.arange(0.1, 1.01, 0.05)  # that are tried for b
MIN_SIZES = 4  # any curve fits fewer
RESAMPLES = 1000
LEVELS = (0.025, 0.975)  # quantiles of the 95 % prediction interval
MAX_VALIDATION = 10_000  # photos; of more, evenly spaced ones
COLUMNS = ["photos", "per_class", "draws", "error", "sd", "fitted", "low", "high"]

Array = NDArray[np.float64]
Wrong = Mapping[int, NDArray[np.bool_]]  # by number of training photos, (draws, n): which validation photos are wrong


def learning_curve(features: Features, C: float, class_weight: Literal["balanced"] | None, seed: int) -> pd.DataFrame:
    """Train linear probes on draws of the training photos, and extrapolate their errors to twice as many photos.

    Returns one row per size with COLUMNS; the last one has the 95 % prediction interval low..high for twice the photos.
    With fewer than MIN_SIZES there is neither that row nor a fitted curve.
    """
    wrong = measure_errors(features, C, class_weight, seed)
    return extrapolate(wrong, len(features.dataset.classes), seed)


def measure_errors(features: Features, C: float, class_weight: Literal["balanced"] | None, seed: int) -> Wrong:
    """Train probes on draws of each size and one on all training photos, or on MAX_ROWS when there are more."""
    (values, targets), train, validation = features.training(), features.dataset.train, features.dataset.validation
    judged, views = validation.spread(MAX_VALIDATION), len(targets) // len(train)  # 2 views with mirror images
    judged_values, labels = features.of("validation")[judged], validation.labels[judged]
    everything = train.spread(MAX_ROWS // views)
    steps = (len(train.classes) * step * 10**power for power in range(6) for step in STEPS)
    sizes = [size for size in steps if size <= MAX_SHARE * len(everything)]
    subsets = [[draw(train, size, seed + number) for number in range(DRAWS)] for size in sizes] + [[everything]]
    wrong: dict[int, NDArray[np.bool_]] = {}
    for draws in progress.bar(subsets, what="learning curve", unit=" sizes"):
        errors = []
        for photos in draws:
            rows = np.concatenate([photos + view * len(train) for view in range(views)])
            probe = LinearProbe(C, class_weight, calibrate=False).fit(values[rows], targets[rows])
            errors.append(probe.predict(judged_values) != labels)
        wrong[round(np.mean([len(photos) for photos in draws]))] = np.array(errors)
    return wrong


def draw(dataset: Dataset, size: int, seed: int) -> NDArray[np.int64]:
    """Draw about `size` rows: of every class its share, and no group divided. It contains smaller draws of the seed."""
    random, labels = np.random.default_rng(seed), dataset.labels
    _, first, groups = np.unique(dataset.group_ids, return_index=True, return_inverse=True)
    position = np.empty(len(first))  # of each group; a draw consists of those below a limit
    for label in np.unique(labels[first]):
        members = random.permutation(np.flatnonzero(labels[first] == label))
        position[members] = (np.arange(len(members)) + random.random(len(members))) / len(members)
        position[members[0]] = -1
    return np.flatnonzero(position[groups] <= np.sort(position[groups])[size - 1])


def extrapolate(wrong: Wrong, classes: int, seed: int) -> pd.DataFrame:
    """The table of `learning_curve` from the errors."""
    sizes, errors = np.array([*wrong], np.float64), np.array([rows.mean() for rows in wrong.values()])
    sd = [rows.mean(axis=1).std(ddof=1) if len(rows) > 1 else np.nan for rows in wrong.values()]
    table = pd.DataFrame({"photos": sizes, "draws": [*map(len, wrong.values())], "error": errors, "sd": sd})
    if len(sizes) >= MIN_SIZES:
        more = np.array([*sizes, 2 * sizes[-1]])
        table.loc[len(table)] = {"photos": more[-1], "draws": 0}
        table["fitted"] = fit_curve(sizes, errors, more)
        gains = np.quantile(_resample_gains(wrong, more, float(sd[-2]), seed), LEVELS)
        table.loc[len(table) - 1, ["high", "low"]] = np.maximum(errors[-1] - gains, 0)
    table = table.assign(per_class=table["photos"] / classes).reindex(columns=COLUMNS)
    return table.astype({"photos": int, "draws": int})


def fit_curve(sizes: Array, errors: Array, at: Array) -> Array:
    """The values at `at`, (k,), of the curve with a, b, c >= 0 that fits the errors, (sizes,), best.

    The squares have the inverse of the error as their weight, like the variance of counts.
    """
    weights = np.sqrt(1 / np.maximum(errors, 1 / sizes.max()))
    best, values = np.inf, np.zeros(len(at))
    for exponent in EXPONENTS:
        terms = np.stack([(sizes / sizes[0]) ** -exponent, np.ones(len(sizes))], axis=1)
        (a, c), residual = optimize.nnls(weights[:, None] * terms, weights * errors)
        if residual < best:
            best, values = residual, a * (at / sizes[0]) ** -exponent + c
    return values


def _resample_gains(wrong: Wrong, more: Array, sd: float, seed: int) -> list[float]:
    """What the last of the sizes `more` gains over the one before, with resampled validation photos and draws.

    All sizes get the same validation photos. `sd` is the chance of the training photos, at both sizes.
    """
    random, count, gains = np.random.default_rng(seed), next(iter(wrong.values())).shape[1], []
    for _ in range(RESAMPLES):
        photos = random.integers(count, size=count)
        errors = [rows[random.integers(len(rows), size=len(rows))][:, photos].mean() for rows in wrong.values()]
        before, after = fit_curve(more[:-1], np.array(errors), more[-2:])
        gains.append(before - after + random.normal(0, np.sqrt(2) * sd))
    return gains
