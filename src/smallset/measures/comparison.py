"""All models side by side, as a table and in words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.measures import calibration, histories, significance
from smallset.pipeline.errors import SmallsetError

LAST = 10  # epochs
TEXT = dict.fromkeys(("file", "actual", "predicted"), str)  # a class may be called 7, or None
SCORES = ["accuracy", "loss", "brier", "ece"]

TITLE = """One evaluation of each saved model on the test set; low and high bound the accuracy with 95 % confidence.
Where a model was trained with several seeds, mean and sd are those of their accuracies:"""
PAIRS = "Differences between models on the same photos (McNemar's exact test):"

PICTURES = """Pictures, in the folder of this pipeline:

- metrics/curves.png: accuracy and loss of all models, by epoch
- plots/augmented.png: a training photo, augmented, where the pipeline does so
- plots/confusion/: each model's confusion matrix
- plots/mistakes/: each model's most confident mistakes
"""


@dataclass(frozen=True)
class Found:
    """What the stages have left of each model."""

    measures: dict[str, dict[str, float]]  # accuracy, loss, …
    training: dict[str, pd.DataFrame]  # epoch, accuracy, loss, val_accuracy, val_loss
    predictions: dict[str, pd.DataFrame]  # file, actual, predicted, probability
    others: dict[str, NDArray[np.float32]]  # P(class) of the test photos by runs with other seeds: (runs, n, classes)


def read(metrics: Path, seeds: Path, names: Sequence[str]) -> Found:
    """Of each model <name>.json and the tables in <name>/ below `metrics`; <name>.npy in `seeds` where there is one."""
    tables = {name: metrics / name for name in names}
    repeated = {name: seeds / f"{name}.npy" for name in names}
    return Found(
        {name: json.loads((metrics / f"{name}.json").read_text(encoding="utf-8")) for name in names},
        {name: pd.read_csv(path / "history.csv") for name, path in tables.items()},
        {
            name: pd.read_csv(path / "predictions.csv", dtype=TEXT, keep_default_na=False)
            for name, path in tables.items()
        },
        {name: np.load(path, allow_pickle=False) for name, path in repeated.items() if path.is_file()},
    )


def runs(
    measures: Mapping[str, Mapping[str, float]],
    others: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.int64],
    seed: int,
) -> pd.DataFrame:
    """A row for each run of the models that were trained with other seeds, too: model, seed, and the SCORES.

    The first run of a model, of `seed`, is the saved one's, as it was measured; others: P(class) of the test photos by
    the runs of the seeds that follow, (runs, n, classes), as repeats.probabilities gives them.
    """
    rows = [
        {"model": model, "seed": seed + number} | {name: scores[name] for name in SCORES}
        for model, several in others.items()
        for number, scores in enumerate([measures[model], *(_scores(labels, one) for one in several)])
    ]
    return pd.DataFrame(rows, columns=["model", "seed", *SCORES])


def _scores(labels: NDArray[np.int64], probability: NDArray[np.floating]) -> Mapping[str, float]:
    if len(probability) != len(labels):
        raise SmallsetError(
            f"data/seeds: expected probabilities of {len(labels)} test photos, found {len(probability)}. Run: dvc repro"
        )
    [found] = calibration.scores(labels, {"after": probability.astype(np.float64)}, 1.0).to_dict("records")
    return {name: float(found[name]) for name in SCORES}


def table(
    measures: Mapping[str, Mapping[str, float]], training: Mapping[str, pd.DataFrame], repeated: pd.DataFrame
) -> pd.DataFrame:
    """A row for each model: its test measures, and of its validation accuracies that of the epoch that was kept.

    low and high are the accuracy's 95 % interval; mean and sd the accuracies' of other seeds; last_val_accuracy is the
    mean of the last ten epochs, which a curve in a book ends with.
    """
    spread = repeated.groupby("model").accuracy.agg(["mean", "std", "size"])
    rows = []
    for model, history in training.items():
        best = histories.kept(history)
        last = history.val_accuracy.tail(LAST).mean()
        own = {"val_accuracy": best.val_accuracy, "last_val_accuracy": last, "epoch": int(best.epoch)}
        low, high = significance.interval(measures[model]["accuracy"], int(measures[model]["n"]))
        accuracy = {"accuracy": measures[model]["accuracy"], "low": low, "high": high}
        rows.append({"model": model, **accuracy, **measures[model], **own})
    columns = {"mean": "mean", "std": "sd", "size": "seeds"}
    return pd.DataFrame(rows).join(spread.rename(columns=columns), on="model").astype({"seeds": "Int64"})


def best(comparison: pd.DataFrame) -> str:
    """The model with the highest test accuracy; of equal ones that with the lowest loss."""
    order = comparison.sort_values(["accuracy", "loss"], ascending=[False, True], kind="stable")
    return str(order["model"].iloc[0])


def markdown(comparison: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The table for people, what of its differences is real, and where the pictures lie."""
    head = "| " + " | ".join(name.replace("_", " ") for name in comparison.columns) + " |"
    rule = "|---" + "|---:" * (len(comparison.columns) - 1) + "|"
    known = comparison.astype(object).where(comparison.notna(), "")  # no mean and deviation without seeds
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in known.itertuples(index=False)]
    words = [f"- {pair.words}" for pair in pairs.itertuples()]
    return "\n".join([TITLE, "", head, rule, *rows, "", PAIRS, "", *words, "", PICTURES])


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
