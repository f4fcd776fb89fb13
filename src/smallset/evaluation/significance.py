"""How far test accuracies can be trusted: intervals, and which differences between models are more than chance."""

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05

Groups = Sequence[str] | pd.Series  # the group of each photo, empty for none


def wilson_interval(accuracy: float, n: float) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy on n photos (Wilson 1927); n is rounded to a whole number."""
    n = max(1, round(n))
    interval = stats.binomtest(round(accuracy * n), n).proportion_ci(1 - ALPHA, method="wilson")
    return float(interval.low), float(interval.high)


def number_groups(groups: Groups) -> NDArray[np.int64]:
    """Numbers from 0 that are equal for photos of one group; a photo without a group has its own number."""
    names = np.asarray(groups, object)
    keys = np.where(names == "", -1 - np.arange(len(names)), pd.factorize(names)[0])
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def estimate_interval(right: NDArray[np.bool_], groups: Groups) -> tuple[float, float]:
    """The 95 % confidence interval of the share of photos that are right: Wilson's, or a wider one for grouped photos.

    Photos of a group tend to be right or wrong together, so that they tell less than as many independent photos. The
    cluster-robust variance gives the number of independent photos that tell as much (if all are right, the number of
    groups), for which Wilson's formula is used, with Student's t (Korn and Graubard 1998, Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data). NaN without photos.
    """
    ids = number_groups(groups)
    photos, count = len(ids), int(ids.max(initial=-1)) + 1
    if not photos:
        return np.nan, np.nan
    accuracy = float(right.mean())
    if count == photos:
        return wilson_interval(accuracy, photos)
    independent, degrees = accuracy * (1 - accuracy), max(count - 1, 1)
    clustered = np.square(np.bincount(ids, right - accuracy)).sum() / photos * count / degrees
    effective = photos / max(1.0, clustered / independent) if independent else count
    spread = stats.t.ppf(1 - ALPHA / 2, degrees) ** 2 / effective
    center, half = accuracy + spread / 2, np.sqrt(spread * independent + spread**2 / 4)
    return float((center - half) / (1 + spread)), float((center + half) / (1 + spread))


def compare_pairs(answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare every two models on the test photos (the index) that both have; answers: right, group, and more.

    Returns model, other, model_only and other_only (photos that one of the two gets right), p, p_holm, summary. Models
    with equal answers are identical: they have no p, and do not count for Holm's correction.
    """
    rows = []
    for model, other in itertools.combinations(answers, 2):
        first, second = answers[model].align(answers[other], "inner", axis=0)
        gains = first["right"].astype(int) - second["right"]
        p = np.nan if first.equals(second) else compare_answers(gains, first["group"])
        rows.append((model, other, int((gains > 0).sum()), int((gains < 0).sum()), p))
    table = pd.DataFrame(rows, columns=["model", "other", "model_only", "other_only", "p"])
    different, summaries = table["p"].notna(), []
    table.loc[different, "p_holm"] = holm(table.loc[different, "p"])
    for model, other, *counts, _, p in table.itertuples(index=False, name=None):
        (most, better), (least, worse) = sorted(zip(counts, (model, other), strict=True), reverse=True)
        words, numbers = f"{model} and {other}: no more than chance", counts
        if p < ALPHA:
            words, numbers = f"{better} is better than {worse}", [most, least]
        summary = f"{words} ({numbers[0]} against {numbers[1]}, p = {p:.2g})"
        summaries.append(f"{other} is identical to {model}" if np.isnan(p) else summary)
    return table.assign(summary=summaries)


def compare_answers(gains: pd.Series | NDArray[np.int64], groups: Groups) -> float:
    """p of two models on the same photos; gains: 1 where only the first is right, -1 where only the second is, else 0.

    Without groups this is McNemar's exact test. Grouped photos are no independent evidence: if the models were equally
    good, the sum of the gains of each group would have either sign with the same probability. p is the probability of
    a total at least as far from 0, over all signs (Fisher's randomization test). For groups of one it is McNemar's.
    """
    gains, ids = np.asarray(gains, np.int64), number_groups(groups)
    if ids.max(initial=-1) + 1 == len(ids):
        return mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))
    sums = np.abs(np.bincount(ids, gains)).astype(int)
    chances = np.ones(1)  # of each total from -sum to sum of the groups so far, in steps of 1
    for size in sums[sums > 0]:
        chances = (np.pad(chances, (0, 2 * size)) + np.pad(chances, (2 * size, 0))) / 2
    totals = np.arange(len(chances)) - sums.sum()
    return min(1.0, float(chances[np.abs(totals) >= abs(gains.sum())].sum()))


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
