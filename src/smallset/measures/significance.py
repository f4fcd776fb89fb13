"""How far a test accuracy can be trusted: its interval, and which differences between models are more than chance."""

import itertools
from collections.abc import Mapping

import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
COLUMNS = ["model", "other", "model_only", "other_only", "p", "words"]


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy measured on n photos (Wilson 1927)."""
    bounds = stats.binomtest(round(accuracy * n), n).proportion_ci(CONFIDENCE, method="wilson")
    return float(bounds.low), float(bounds.high)


def pairs(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each pair of models that saw the same photos: model, other, model_only, other_only, p, words.

    model_only: photos that `model` alone gets right. p: as in `chance`.
    """
    right = {name: (rows.actual == rows.predicted).to_numpy() for name, rows in predictions.items()}
    rows = []
    for model, other in itertools.combinations(right, 2):
        model_only, other_only = int((right[model] & ~right[other]).sum()), int((right[other] & ~right[model]).sum())
        p = chance(model_only, other_only)
        rows.append((model, other, model_only, other_only, p, verdict(model, other, model_only, other_only, p)))
    return pd.DataFrame(rows, columns=COLUMNS)


def chance(one_only: int, other_only: int) -> float:
    """McNemar's exact test: how likely is so uneven a division of the photos that one of two models alone gets right.

    If both were equally good, that is (McNemar 1947). It asks that both saw the same photos.
    """
    disputed = one_only + other_only
    return float(stats.binomtest(one_only, disputed).pvalue) if disputed else 1.0


def verdict(model: str, other: str, model_only: int, other_only: int, p: float) -> str:
    """The row in words."""
    if p >= 1 - CONFIDENCE:
        return f"{model} and {other}: no more than chance ({model_only} photos against {other_only}, p = {p:.2g})"
    better, worse = (model, other) if model_only > other_only else (other, model)
    more, less = max(model_only, other_only), min(model_only, other_only)
    return f"{better} is better than {worse}: right on {more} photos where it is wrong, wrong on {less} (p = {p:.2g})"
