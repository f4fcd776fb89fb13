"""How far a test accuracy can be trusted: its interval, and which differences between models are more than chance."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
COLUMNS = ["model", "other", "model_only", "other_only", "p", "adjusted", "words"]
SEEDS = ["model", "other", "seeds", "other_seeds", "difference", "p", "adjusted", "words"]


def interval(accuracy: float, n: float) -> tuple[float, float]:
    """The 95 % interval of an accuracy measured on n photos, or on what is worth as many (Wilson 1927)."""
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    middle, spread = accuracy + z**2 / (2 * n), z * np.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * spread) / (1 + z**2 / n) for sign in (-1, 1))
    return max(float(low), 0.0), min(float(high), 1.0)


def pairs(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each pair of models that saw the same photos, with the COLUMNS.

    model_only: photos that `model` alone gets right; p: as in `chance`; adjusted: p corrected for all pairs of the
    table, by which the words are.
    """
    right = {name: (rows.actual == rows.predicted).to_numpy() for name, rows in predictions.items()}
    rows = []
    for model, other in itertools.combinations(right, 2):
        model_only, other_only = int((right[model] & ~right[other]).sum()), int((right[other] & ~right[model]).sum())
        rows.append((model, other, model_only, other_only, chance(model_only, other_only)))
    table = pd.DataFrame(rows, columns=COLUMNS[:5])
    table["adjusted"] = holm(table["p"])
    table["words"] = [verdict(*row) for row in table.drop(columns="p").itertuples(index=False, name=None)]
    return table


def chance(one_only: int, other_only: int) -> float:
    """McNemar's exact test: how likely is so uneven a division of the photos that one of two models alone gets right.

    If both were equally good, that is (McNemar 1947). It asks that both saw the same photos.
    """
    disputed = one_only + other_only
    return float(stats.binomtest(one_only, disputed).pvalue) if disputed else 1.0


def holm(p: Sequence[float] | pd.Series) -> NDArray[np.float64]:
    """The p of m tests, adjusted, so that with 95 % confidence none below 0.05 is chance.

    The smallest times m, the next times m - 1, and so on, none smaller than the one before it, none above 1 (Holm 1979,
    A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics).
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return adjusted


def verdict(model: str, other: str, model_only: int, other_only: int, p: float) -> str:
    """A row of `pairs` in words: the photos that one alone gets right against those of the other."""
    if p >= 1 - CONFIDENCE:
        return f"{model} and {other}: no more than chance ({model_only} against {other_only}, p = {p:.2g})"
    better, worse = (model, other) if model_only > other_only else (other, model)
    more, less = max(model_only, other_only), min(model_only, other_only)
    return f"{better} is better than {worse} ({more} against {less}, p = {p:.2g})"


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each pair of models that were trained with several seeds, with the columns SEEDS.

    runs: model, seed, accuracy, all on the same test photos. difference: of the mean accuracies; p: Welch's t-test, the
    chance of so large a one if seeds alone made it (Welch 1947). Where `pairs` asks whether one saved model is better
    than another on photos of this kind, this asks whether one way of training is better than another on these photos.
    """
    several = {str(name): own for name, own in runs.groupby("model", sort=False)["accuracy"] if len(own) > 1}
    rows = []
    for (model, one), (other, two) in itertools.combinations(several.items(), 2):
        rows.append((model, other, len(one), len(two), float(one.mean() - two.mean()), welch(one, two)))
    table = pd.DataFrame(rows, columns=SEEDS[:6])
    table["adjusted"] = holm(table["p"])
    table["words"] = [
        f"{model} and {other}: {_accuracies(several[model])} against {_accuracies(several[other])}, "
        f"{'more' if p < 1 - CONFIDENCE else 'no more'} than the luck of a seed (p = {p:.2g})"
        for model, other, p in zip(table["model"], table["other"], table["adjusted"], strict=True)
    ]
    return table


def welch(one: pd.Series, other: pd.Series) -> float:
    """p of Welch's t-test; where no seed makes a difference in either, that of the means is certain."""
    if one.nunique() == other.nunique() == 1:
        return float(one.iloc[0] == other.iloc[0])
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)


def _accuracies(several: pd.Series) -> str:
    return f"{several.mean():.4f} ± {several.std():.4f} ({len(several)} seeds)"
