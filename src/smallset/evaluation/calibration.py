"""How far a model's probabilities mean what they say: scores and reliability, before and after its temperature."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

BINS = 15
DRAWS = 1000  # of models that mean what they say
SHARE = 0.95  # of them, whose calibration error is below `noise`
EPSILON = 1e-7  # the probability that counts as 0, as in Keras: float32 rounds a sure model's to 0 and 1

Probabilities = NDArray[np.float64]  # (n, classes), rows of sum 1


def loss(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Mean negative log-likelihood of the labels, nats."""
    likelihood = probability[np.arange(len(labels)), labels]
    return -float(np.log(np.clip(likelihood, EPSILON, 1 - EPSILON)).mean())


def brier(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Mean squared difference of the probabilities to 0 and 1, 0..1; of two classes that of the second (Brier 1950)."""
    certain = np.eye(probability.shape[1])[labels]
    return float(np.square(probability - certain).sum(axis=1).mean() / 2)


def ece(labels: NDArray[np.int64], probability: Probabilities) -> float:
    """Expected calibration error, 0..1: mean distance of accuracy and confidence over the bins, weighted by photos.

    15 bins of equal mass of the predicted class's probability (Naeini et al. 2015; Nguyen and O'Connor 2015).
    """
    table = reliability(labels, probability)
    return float(np.average((table.accuracy - table.confidence).abs(), weights=table.n))


def noise(probability: Probabilities) -> float:
    """The `ece` below which 95 % of models stay that mean what they say, with these confidences on as many photos.

    So few photos give a calibration error to the best of models. Their labels are drawn by the confidences, 1,000 times
    (Broecker and Smith 2007, Increasing the reliability of reliability diagrams: consistency resampling).
    """
    confidence, random = probability.max(1), np.random.default_rng(0)
    places = bins(confidence)
    errors = []
    for _ in range(DRAWS):
        right = random.random(len(confidence)) < confidence
        errors.append(np.abs(np.bincount(places, right - confidence)).sum() / len(confidence))
    return float(np.quantile(errors, SHARE))


def bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each photo, 0..14; equal confidences have one rank, and so fall into one bin."""
    place = (stats.rankdata(confidence) - 0.5) / len(confidence)
    return (place * BINS).astype(np.int64)


def reliability(labels: NDArray[np.int64], probability: Probabilities) -> pd.DataFrame:
    """A row for each bin, the least confident first: mean confidence, accuracy, and n photos."""
    table = pd.DataFrame({"confidence": probability.max(1), "accuracy": probability.argmax(1) == labels, "n": 1})
    groups = table.groupby(bins(table.confidence.to_numpy()))
    return groups.agg({"confidence": "mean", "accuracy": "mean", "n": "sum"}).reset_index(drop=True)


def undone(probability: Probabilities, temperature: float) -> Probabilities:
    """The probabilities before the logits were divided by the temperature."""
    return special.softmax(temperature * np.log(np.clip(probability, EPSILON, 1)), axis=1)


def both(probability: Probabilities, temperature: float) -> dict[str, Probabilities]:
    """Before and after the temperature; where there is none, after alone."""
    after = {"after": probability}
    return after if temperature == 1 else {"before": undone(probability, temperature)} | after


def measures(labels: NDArray[np.int64], probability: Probabilities) -> dict[str, float]:
    """Accuracy, and the scores above."""
    return {
        "accuracy": float((probability.argmax(1) == labels).mean()),
        "loss": loss(labels, probability),
        "brier": brier(labels, probability),
        "ece": ece(labels, probability),
    }


def scores(labels: NDArray[np.int64], sides: Mapping[str, Probabilities], temperature: float) -> pd.DataFrame:
    """A row for each side: when, temperature, accuracy, loss, brier, ece, ece_noise."""
    rows = [
        {"when": when, "temperature": temperature if when == "after" else 1.0}
        | measures(labels, values)
        | {"ece_noise": noise(values)}
        for when, values in sides.items()
    ]
    return pd.DataFrame(rows)


def curves(labels: NDArray[np.int64], sides: Mapping[str, Probabilities]) -> pd.DataFrame:
    """The reliability of each side: when, confidence, accuracy, n."""
    parts = [reliability(labels, values).assign(when=when) for when, values in sides.items()]
    return pd.concat(parts)[["when", "confidence", "accuracy", "n"]]
