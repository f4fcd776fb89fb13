"""All models side by side, as a table and in words."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.evaluation import calibration, histories, significance
from smallset.pipeline.errors import SmallsetError

LAST = 10  # epochs
TEXT = dict.fromkeys(("file", "actual", "predicted"), str)  # a class may be called 7, or None
SCORES = ["accuracy", "loss", "brier", "ece"]

COLUMNS = {  # of the table for people, in plots/compare.md; at most eight
    "model": "in models/, with the ending .keras",
    "accuracy": "the share of the test photos that it gets right",
    "95 % interval": "where the accuracy lies on other photos of the same kind, as far as so many can tell (Wilson)",
    "mean ± sd (seeds)": "of the accuracies of so many trainings with a seed each, the saved model's among them",
    "validation loss": "by which a model is chosen, the lower the better: it also counts how sure the model is",
    "loss": "the same on the test photos",
    "ECE": "how far its probabilities are from how often it is right (expected calibration error)",
    "ECE of chance": "95 % of models whose probabilities mean what they say have less: an ECE below is noise",
}
PAIRS = """Which saved models differ: test photos that one alone gets right, against those of the other (McNemar's exact
test; p with Holm's correction for all pairs):"""
SEEDS = "Which ways of training differ on these photos, over seeds (Welch's t-test; p likewise):"

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
    return calibration.measures(labels, probability.astype(np.float64))


def table(
    measures: Mapping[str, Mapping[str, float]], training: Mapping[str, pd.DataFrame], repeated: pd.DataFrame
) -> pd.DataFrame:
    """A row for each model: its measures on the test photos and, val_accuracy and val_loss, on the validation photos.

    low and high are the accuracy's 95 % interval; epoch is the one that was kept; mean and sd the accuracies' of other
    seeds; last_val_accuracy is the mean of the last ten epochs, which a curve in a book ends with.
    """
    spread = repeated.groupby("model").accuracy.agg(["mean", "std", "size"])
    rows = []
    for model, history in training.items():
        low, high = significance.interval(measures[model]["accuracy"], int(measures[model]["n"]))
        accuracy = {"accuracy": measures[model]["accuracy"], "low": low, "high": high}
        last = history.val_accuracy.tail(LAST).mean()
        own = {"last_val_accuracy": last, "epoch": int(histories.kept(history).epoch)}
        rows.append({"model": model, **accuracy, **measures[model], **own})
    columns = {"mean": "mean", "std": "sd", "size": "seeds"}
    return pd.DataFrame(rows).join(spread.rename(columns=columns), on="model").astype({"seeds": "Int64"})


def best(comparison: pd.DataFrame) -> str:
    """The model to take: of the lowest loss on the validation photos. Test photos that chose would flatter it."""
    return str(comparison["model"].iloc[int(comparison["val_loss"].to_numpy().argmin())])


def choice(comparison: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    """Which model to take, how good it is, and whether others get more test photos right: a sentence each."""
    name, n = best(comparison), int(comparison["n"].iloc[0])
    rows = {row["model"]: row for row in comparison.to_dict("records")}
    right = {model: round(row["accuracy"] * n) for model, row in rows.items()}
    why = "it has the lowest loss on the validation photos" if len(rows) > 1 else "there is no other"
    words = [
        f"Take {name}: {why}.",
        f"It gets {right[name]:,} of {n:,} test photos right: accuracy {rows[name]['accuracy']:.3f}, 95 % interval "
        f"{rows[name]['low']:.3f}–{rows[name]['high']:.3f}.",
    ]
    sure = rivals(pairs, name, real=True)
    ahead = [
        f"{model} {count - right[name]} more ({'more' if model in sure else 'no more'} than chance)"
        for model, count in right.items()
        if count > right[name]
    ]
    if ahead:
        words.append(f"Right on more test photos: {', '.join(ahead)}; but these measure, they do not choose.")
    return words


def rivals(pairs: pd.DataFrame, name: str, *, real: bool) -> list[str]:
    """The models that differ from `name` by more than chance, or those that do not."""
    own = pairs[(pairs["model"] == name) | (pairs["other"] == name)]
    own = own[(own["adjusted"] < 1 - significance.CONFIDENCE) == real]
    return [str(row.other if row.model == name else row.model) for row in own.itertuples()]


def markdown(comparison: pd.DataFrame, pairs: pd.DataFrame, seeds: pd.DataFrame) -> str:
    """What to take, the table for people and what its columns mean, which differences are real, where pictures lie."""
    known = [name for name in COLUMNS if name != "mean ± sd (seeds)" or comparison["seeds"].notna().any()]
    cells = [_cells(row) for row in comparison.to_dict("records")]
    lines = [" | ".join(row[name] for name in known) for row in cells]
    table = [f"| {line} |" for line in (" | ".join(known), " | ".join(["---", *["---:"] * (len(known) - 1)]), *lines)]
    meaning = [f"- {name}: {COLUMNS[name]}" for name in known]
    parts = [" ".join(choice(comparison, pairs)), "\n".join(table), "\n".join(meaning)]
    for title, found in ((PAIRS, pairs), (SEEDS, seeds)):
        parts += ["\n".join([title, "", *(f"- {words}" for words in found["words"])])] if len(found) else []
    return "\n\n".join([*parts, PICTURES])


def _cells(row: Mapping[Hashable, Any]) -> dict[str, str]:
    """A row of the table in the COLUMNS."""
    return {
        "model": row["model"],
        "accuracy": f"{row['accuracy']:.4f}",
        "95 % interval": f"{row['low']:.3f}–{row['high']:.3f}",
        "mean ± sd (seeds)": "–" if pd.isna(row["seeds"]) else f"{row['mean']:.4f} ± {row['sd']:.4f} ({row['seeds']})",
        "validation loss": f"{row['val_loss']:.3f}",
        "loss": f"{row['loss']:.3f}",
        "ECE": f"{row['ece']:.3f}",
        "ECE of chance": f"{row['ece_noise']:.3f}",
    }
