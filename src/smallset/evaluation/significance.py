"""How far test accuracies can be trusted: intervals, and which differences between models are more than chance."""

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05


def wilson_interval(accuracy: float, n: float) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy on n photos (Wilson 1927); n is rounded to a whole number."""
    n = max(1, round(n))
    interval = stats.binomtest(round(accuracy * n), n).proportion_ci(1 - ALPHA, method="wilson")
    return float(interval.low), float(interval.high)


def compare_pairs(correct: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Compare every two models on the test photos that both have: whether each photo (the index) is right.

    Returns model, other, model_only and other_only (photos that one of the two gets right), p, p_holm, summary.
    """
    rows = []
    for model, other in itertools.combinations(correct, 2):
        first, second = correct[model].align(correct[other], "inner")
        model_only, other_only = int((first & ~second).sum()), int((second & ~first).sum())
        rows.append((model, other, model_only, other_only, mcnemar(model_only, other_only)))
    table = pd.DataFrame(rows, columns=["model", "other", "model_only", "other_only", "p"])
    table["p_holm"], summaries = holm(table["p"]), []
    for model, other, *counts, _, p in table.itertuples(index=False, name=None):
        (most, better), (least, worse) = sorted(zip(counts, (model, other), strict=True), reverse=True)
        words, numbers = f"{model} and {other}: no more than chance", counts
        if p < ALPHA:
            words, numbers = f"{better} is better than {worse}", [most, least]
        summaries.append(f"{words} ({numbers[0]} against {numbers[1]}, p = {p:.2g})")
    return table.assign(summary=summaries)


def mcnemar(first_only: int, second_only: int) -> float:
    """p of McNemar's exact test: of two models on the same photos, does one get more photos right (McNemar 1947)?"""
    return float(stats.binomtest(first_only, first_only + second_only).pvalue) if first_only + second_only else 1.0


def holm(p: Sequence[float] | pd.Series) -> NDArray[np.float64]:
    """Correct the p-values of m tests, so that any of them is below 0.05 by chance with a probability of 5 % at most.

    The smallest is multiplied by m, the next one by m - 1, and so on, without a decrease (Holm 1979, A simple
    sequentially rejective multiple test procedure, Scandinavian Journal of Statistics).
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return corrected


def compare_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare every two models that were trained with several seeds; runs: model, accuracy.

    This asks whether one way of training is better than another on these photos; `compare_pairs` asks whether one saved
    model is better on photos of this kind. Returns model, other, seeds, other_seeds, difference (of the mean
    accuracies), p, p_holm, summary.
    """
    groups = {str(model): rows for model, rows in runs.groupby("model", sort=False)["accuracy"] if len(rows) > 1}
    words = {model: f"{model} {a.mean():.4f} ± {a.std():.4f} ({len(a)} seeds)" for model, a in groups.items()}
    rows = [
        (model, other, len(a), len(b), float(a.mean() - b.mean()), welch(a, b))
        for (model, a), (other, b) in itertools.combinations(groups.items(), 2)
    ]
    table = pd.DataFrame(rows, columns=["model", "other", "seeds", "other_seeds", "difference", "p"])
    table["p_holm"] = holm(table["p"])
    summaries = [
        f"{words[model]}, {words[other]}: {'more' if p < ALPHA else 'no more'} than the chance of seeds (p = {p:.2g})"
        for model, other, p in zip(table["model"], table["other"], table["p_holm"], strict=True)
    ]
    return table.assign(summary=summaries)


def welch(first: pd.Series, second: pd.Series) -> float:
    """p of Welch's t-test (1947). Where seeds make no difference in either series, that of the means is certain."""
    if first.nunique() == second.nunique() == 1:
        return float(first.iloc[0] == second.iloc[0])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # SciPy warns of nearly equal accuracies
        return float(stats.ttest_ind(first, second, equal_var=False).pvalue)
