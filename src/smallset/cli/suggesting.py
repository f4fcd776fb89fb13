"""Which photos to label next: those that a model doubts or does not know, each unlike the ones before it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallset.cli.prediction import Answer
from smallset.models.limits import Limits


def suggest(answers: Sequence[Answer], limits: Limits, top: int) -> list[Answer]:
    """Up to `top` of the answers that have no error, the photo to label first in front.

    What a photo is worth falls with its likeness to each that is chosen: a copy of one is worth nothing (maximal
    marginal relevance, Carbonell and Goldstein 1998, as a product).
    """
    known = [answer for answer in answers if not answer.error]
    if not known:
        return []
    rows = np.stack([answer.coordinates for answer in known])
    directions = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
    values, chosen = worth(known, limits), list[int]()
    for _ in range(min(top, len(known))):
        chosen.append(int(np.argmax(values)))
        values *= 1 - np.clip(directions @ directions[chosen[-1]], 0, 1)
        values[chosen] = -1
    return [known[row] for row in chosen]


def worth(answers: Sequence[Answer], limits: Limits) -> NDArray[np.float64]:
    """(n,) in 0..2: how small the margin of the likeliest label is, and of how many validation photos less unlike."""
    ordered = np.sort(np.stack([answer.probability for answer in answers]), axis=1)
    unlikeness = [answer.unlikeness for answer in answers]
    ranks = np.searchsorted(limits.usual, unlikeness) / len(limits.usual)
    return 1 - (ordered[:, -1] - ordered[:, -2]) + ranks
