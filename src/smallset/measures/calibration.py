"""How far a model's probabilities mean what they say: scores and reliability, before and after its temperature."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from sklearn import metrics

BINS = 15
EPSILON = 1e-7  # the probability that counts as 0, as in Keras: float32 rounds a sure model's to 0 and 1

Probabilities = NDArray[np.float64]  # (n, classes), rows of sum 1


def loss(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Mean negative log-likelihood of the labels, nats."""
    likelihood = probability[np.arange(len(labels)), labels]
    return -float(np.log(np.clip(likelihood, EPSILON, 1 - EPSILON)).mean())


def brier(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Mean squared difference of the probabilities to 0 and 1, 0..1; of two classes that of the second (Brier 1950)."""
    classes = np.arange(probability.shape[1])
    return float(metrics.brier_score_loss(labels, probability, labels=classes, scale_by_half=True))


def ece(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Expected calibration error, 0..1: mean distance of accuracy and confidence over the bins, weighted by photos.

    15 bins of equal mass of the predicted class's probability (Naeini et al. 2015; Nguyen and O'Connor 2015).
    """
    table = reliability(labels, probability)
    return float(np.average((table.accuracy - table.confidence).abs(), weights=table.n))


def reliability(labels: NDArray[np.int64], probability: Probabilities) -> pd.DataFrame:
    """A row for each bin, the least confident first: mean confidence, accuracy, and n photos."""
    table = pd.DataFrame({"confidence": probability.max(1), "accuracy": probability.argmax(1) == labels, "n": 1})
    place = (table.confidence.rank() - 0.5) / len(table)  # equal confidences have one rank, and so fall into one bin
    groups = table.groupby((place * BINS).astype(int))
    return groups.agg({"confidence": "mean", "accuracy": "mean", "n": "sum"}).reset_index(drop=True)


def undone(probability: Probabilities, temperature: float) -> Probabilities:
    """The probabilities before the logits were divided by the temperature."""
    return special.softmax(temperature * np.log(np.clip(probability, EPSILON, 1)), axis=1)


def both(probability: Probabilities, temperature: float) -> dict[str, Probabilities]:
    """Before and after the temperature; where there is none, after alone."""
    after = {"after": probability}
    return after if temperature == 1 else {"before": undone(probability, temperature)} | after


def scores(labels: NDArray[np.int64], sides: Mapping[str, Probabilities], temperature: float) -> pd.DataFrame:
    """A row for each side: when, temperature, accuracy, loss, brier, ece."""
    rows = [
        {
            "when": when,
            "temperature": temperature if when == "after" else 1.0,
            "accuracy": metrics.accuracy_score(labels, values.argmax(1)),
            "loss": loss(labels, values),
            "brier": brier(labels, values),
            "ece": ece(labels, values),
        }
        for when, values in sides.items()
    ]
    return pd.DataFrame(rows)


def curves(labels: NDArray[np.int64], sides: Mapping[str, Probabilities]) -> pd.DataFrame:
    """The reliability of each side: when, confidence, accuracy, n."""
    parts = [reliability(labels, values).assign(when=when) for when, values in sides.items()]
    return pd.concat(parts)[["when", "confidence", "accuracy", "n"]]
