"""The tables and records that the stages of a pipeline wrote, for the report and the review page."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.datasets.dataset import Dataset
from smallset.evaluation import comparison, issues
from smallset.pipeline.errors import SmallsetError

TEXT = comparison.TEXT | dict.fromkeys(  # columns of text: a class may be called 7, or None
    ["class", "split", "other", "other_file", "other_split", "other_label", "kind", "suggestion", "detail", "when"], str
)


@dataclass(frozen=True)
class Results:
    """What is in the folder of a pipeline. A table or a record that the pipeline does not write is empty."""

    folder: Path

    def table(self, name: str) -> pd.DataFrame:
        """The table metrics/NAME.csv. An empty cell is NaN in a column of numbers, and "" in a column of text."""
        path = self.folder / f"metrics/{name}.csv"
        if not path.is_file():
            return pd.DataFrame()
        table = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=[""])
        return table.fillna({column: "" for column in TEXT if column in table})

    def record(self, name: str) -> dict[str, Any]:
        """The record metrics/NAME.json."""
        path = self.folder / f"metrics/{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def of_models(self, kind: str) -> dict[str, pd.DataFrame]:
        """The tables metrics/MODEL/KIND.csv that have rows, by model. Models of other pipelines have none here."""
        tables = {model: self.table(f"{model}/{kind}") for model in self.models["model"]}
        return {model: table for model, table in tables.items() if len(table)}

    @cached_property
    def models(self) -> pd.DataFrame:
        """The table compare.csv, as `comparison.compare_models` returns it."""
        table = self.table("compare")
        if table.empty:
            raise SmallsetError(f"{self.folder / 'metrics/compare.csv'}: expected at least one model. Run: dvc repro")
        return table

    @cached_property
    def best(self) -> str:
        """The model to use, of those that this pipeline trained."""
        trained = self.models["model"].isin([*self.of_models("predictions")])
        return comparison.select_model(self.models[trained] if trained.any() else self.models)

    @cached_property
    def dataset(self) -> Dataset:
        """The photos."""
        return Dataset.read(self.folder / "metrics/photos.csv", self.folder)

    @cached_property
    def issues(self) -> pd.DataFrame:
        """The table issues.csv, as `issues.find_issues` returns it."""
        return self.table("issues").reindex(columns=issues.COLUMNS)

    @cached_property
    def splits(self) -> dict[str, Any]:
        """How the photos were split: `left_out` (files in no split, with the reason), `corrections`, and more."""
        return {"left_out": {}, "corrections": {}} | (self.record("split") or self.record("subset"))
