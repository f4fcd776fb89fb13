"""What a pipeline has left in its metrics folder, read back for the report. A stage that it has not leaves nothing."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.evaluation import comparison, diff
from smallset.pipeline import provenance
from smallset.pipeline.errors import SmallsetError

# Columns of names: a class may be called 7, or None.
NAMES = [
    "file",
    "class",
    "split",
    "label",
    "suspected",
    "other_file",
    "other_class",
    "other_split",
    "other",
    "actual",
    "predicted",
]
NUMBERS = ["auc", "mean", "sd", "seeds", "unlike", "error", "fitted", "low", "high"]  # that a model may be without
TEXT = dict.fromkeys([*NAMES, "model", "when", "kind", "transform", "words"], str)

# Accuracies of the same models on the same 4,000 photos: the book's first edition (validation photos), its second
# edition, and mean ± standard deviation (runs) of published executions of its notebook.
PUBLISHED = {
    "convnet": ("0.71", "0.690–0.738", "0.712 ± 0.020 (9)"),
    "convnet_augmented": ("0.82", "0.829–0.844", "0.825 ± 0.015 (6)"),
    "classifier": ("0.90", "0.98 (validation)", "0.969"),
    "augmented": ("–", "0.971", "0.976 ± 0.002 (5)"),
    "fine_tune": ("0.92", "0.974", "0.977 ± 0.002 (5)"),
}

Tables = dict[str, pd.DataFrame]  # model to its table; without the models that have none
Content = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The tables, empty where the pipeline has not the stage that writes them."""

    name: str  # of the project
    models: pd.DataFrame  # as comparison.table gives it
    pairs: pd.DataFrame  # model, other, model_only, other_only, p, adjusted, words
    seeds: pd.DataFrame  # model, other, seeds, other_seeds, difference, p, adjusted, words
    history: Tables  # epoch, accuracy, loss, val_accuracy, val_loss
    predictions: Tables  # file, actual, predicted, probability
    roc: Tables  # class, false_positive_rate, true_positive_rate
    reliability: Tables  # when (before | after), confidence, accuracy, n
    calibration: Tables  # when, temperature, loss, brier, ece
    sets: Tables  # coverage, covered, labels, single
    unlike: Tables  # split, file, class, unlikeness, unlike: the photos of each split that are least like the others
    duplicates: pd.DataFrame  # words, file, split, class, other_file, …, crosses_splits, crosses_classes
    photos: pd.DataFrame  # file, split, class, width, height, …, and the audit's flags
    suspects: pd.DataFrame  # rank, file, split, label, suspected, probability
    learning: pd.DataFrame  # photos, a_class, draws, error, sd, fitted, low, high
    crossed: pd.DataFrame  # model, accuracy, low, high, photos, folds, repeats; none where the test photos are many
    download: Content
    subset: Content
    stages: provenance.Record  # what each was made with
    params: str  # the text of params.yaml
    since: Content  # how this run differs from the committed one before it, as diff.compare tells it

    @property
    def best(self) -> str:
        """The model to take."""
        return comparison.best(self.models)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in order."""
        predictions = self.predictions[self.best]
        return sorted({*predictions.actual, *predictions.predicted})

    @property
    def published(self) -> bool:
        """Whether the book's accuracies are of these photos."""
        return self.download.get("source") == "dogs-vs-cats"


def read(metrics: Path, params: Path, name: str) -> Results:
    """Everything below `metrics` of the project `name`; SmallsetError when the models were not compared."""
    models = table(metrics / "compare.csv")
    if models.empty:
        raise SmallsetError(f"{metrics / 'compare.csv'} has no model. Run: dvc repro compare")
    by_model = {
        kind: _tables(metrics, models.model, f"{kind}.csv")
        for kind in ("history", "predictions", "roc", "reliability", "calibration", "sets", "unlike")
    }
    return Results(
        name,
        models,
        table(metrics / "pairs.csv"),
        table(metrics / "seeds.csv"),
        **by_model,
        duplicates=table(metrics / "audit/pairs.csv"),
        photos=table(metrics / "audit/photos.csv"),
        suspects=table(metrics / "suspects.csv"),
        learning=table(metrics / "learning_curve.csv"),
        crossed=table(metrics / "cross_validation.csv"),
        download=_content(metrics / "download.json"),
        subset=_content(metrics / "subset.json"),
        stages=provenance.read(metrics / "provenance.json"),
        params=params.read_text(encoding="utf-8"),
        since=diff.NOTHING | _content(metrics / diff.FILE),
    )


def table(path: Path) -> pd.DataFrame:
    """A CSV as this package writes them; an empty table where there is none, or it has no row."""
    if not path.is_file():
        return pd.DataFrame()
    return pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values={name: [""] for name in NUMBERS})


def _tables(metrics: Path, models: Iterable[str], name: str) -> Tables:
    found = {model: table(metrics / model / name) for model in models}
    return {model: rows for model, rows in found.items() if not rows.empty}


def _content(path: Path) -> Content:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
