"""All models in one table, the model to use, and the same in words."""

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.evaluation import significance
from smallset.evaluation.metrics import METRICS, measure
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

HISTORY_COLUMNS = ["last_val_accuracy", "epoch"]  # of models with epochs
LAST = 10  # epochs whose mean accuracy is `last_val_accuracy`; a book's curve ends there
NAMES = ["model", "file", "label", "group", "sha256", "actual", "predicted", "given_label", "predicted_label"]
NAMES += ["baseline_class"]
TEXT = dict.fromkeys(NAMES, str)  # a class may be called 7, or None
ACCURACY, BALANCED = METRICS["accuracy"].column, METRICS["balanced_accuracy"].column
INTERVAL, BASELINE, SEEDS = "95 % interval", "baseline", "mean ± sd (seeds)"
FEW, SKEWED = 300, 0.6  # test photos or groups; share of the most frequent class: accuracies can tell little then
WIDE = 0.1  # interval of an accuracy
COLUMNS = {  # of the table in compare.md and in the report, with what they mean
    "model": "the name of its file in models/",
    ACCURACY: METRICS["accuracy"].meaning,
    INTERVAL: "contains the accuracy on more photos of the same kind with 95 % confidence (Wilson; clustered by group)",
    BALANCED: METRICS["balanced_accuracy"].meaning,
    BASELINE: "accuracy of always answering the most frequent class of the training photos, and whether the model is "
    "better (McNemar's exact test; clustered by group)",
    SEEDS: "accuracy over several trainings with a seed each, including that of the saved model",
    "validation loss": "cross-entropy on the validation photos, by which a model is selected: lower is better",
} | {metric.column: metric.meaning for metric in METRICS.values() if metric.column}
NO_RUNS = pd.DataFrame(columns=["model", "accuracy"])
PAIRS_TITLE = "Which saved models differ on the test photos (McNemar's exact test; p with Holm's correction):"
SEEDS_TITLE = "Which ways of training differ on these photos, over seeds (Welch's t-test; p with Holm's correction):"


class Model(NamedTuple):
    """What the stages have written about a model."""

    metrics: dict[str, Any]  # metrics/MODEL.json
    history: pd.DataFrame  # epoch, accuracy, loss, val_accuracy, val_loss; empty for a model without epochs
    answers: pd.DataFrame  # for each test photo, from `score_photos`


Models = Mapping[str, Model]


def read_models(folder: Path, names: Sequence[str]) -> dict[str, Model]:
    """Read NAME.json and the tables in NAME/ from a metrics folder, which also has the table of photos."""
    photos, models = read_table(folder / "photos.csv"), {}
    for name in names:
        path = folder / name / "history.csv"
        metrics = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        answers = score_photos(photos, read_table(folder / name / "predictions.csv"))
        models[name] = Model(metrics, pd.read_csv(path) if path.is_file() else pd.DataFrame(), answers)
    return models


def read_table(source: Path | io.StringIO) -> pd.DataFrame:
    """Read a CSV; names stay text."""
    return pd.read_csv(source, dtype=TEXT, keep_default_na=False)


def score_photos(photos: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per photo, by its sha256 and label: whether it is right, group, predicted, probability.

    A photo that is there twice counts once.
    """
    rows = predictions.merge(photos[["file", "sha256", "group"]], on="file").drop_duplicates(["sha256", "actual"])
    rows = rows.assign(label=rows["actual"], right=rows["actual"] == rows["predicted"])
    return rows.set_index(["sha256", "label"])[["right", "group", "predicted", "probability"]]


def measure_runs(
    models: Models, seeds: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64], seed: int
) -> pd.DataFrame:
    """One row per training of the models with several seeds: model, seed, accuracy, loss, brier, ece.

    The first one is the saved model, from `seed`. seeds: the test photos' probabilities, (runs, n, classes), after it.
    """
    rows: list[dict[str, Any]] = []
    for model, runs in seeds.items():
        if (count := runs.shape[1]) != len(labels):
            file = f"data/seeds/{model}.npy"
            raise SmallsetError(f"{file}: expected {len(labels)} test photos, found {count}. Run: dvc repro")
        rows.append({"model": model, "seed": seed, **models[model].metrics})
        for number, run in enumerate(runs.astype(np.float64), seed + 1):
            rows.append({"model": model, "seed": number, **measure(labels, run)})
    return pd.DataFrame(rows, columns=["model", "seed", "accuracy", "loss", "brier", "ece"])


def compare_models(models: Models, runs: pd.DataFrame = NO_RUNS) -> pd.DataFrame:
    """One row per model: its metrics, the accuracy's interval first, the kept epoch, mean and sd of the runs."""
    rows = []
    for name, (scores, history, _) in models.items():
        row = {"model": name} | {key: scores[key] for key in ("accuracy", "low", "high")} | scores
        if len(history):
            row["last_val_accuracy"] = history["val_accuracy"].tail(LAST).mean()
            row["epoch"] = kept_epoch(history)["epoch"]
        rows.append(row)
    spread = runs.groupby("model")["accuracy"].agg(mean="mean", sd="std", seeds="size")
    table = pd.DataFrame(rows, columns=[*dict.fromkeys(itertools.chain(*rows, HISTORY_COLUMNS))])
    return table.join(spread, on="model").astype({"seeds": "Int64", "epoch": "Int64"})


def kept_epoch(history: pd.DataFrame) -> pd.Series:
    """The row of the epoch whose weights were kept, which is the one with the lowest validation loss."""
    return history.iloc[int(history["val_loss"].to_numpy().argmin())]


def tidy_curves(models: Models) -> pd.DataFrame:
    """The histories in one table: model, split, epoch, accuracy, loss."""
    parts = [
        rows.assign(model=name, split=split, accuracy=rows[f"{prefix}accuracy"], loss=rows[f"{prefix}loss"])
        for name, (_, rows, _) in models.items()
        for split, prefix in (("training", ""), ("validation", "val_"))
        if len(rows)
    ]
    return pd.concat(parts)[["model", "split", "epoch", "accuracy", "loss"]]


def select_model(table: pd.DataFrame) -> str:
    """The model with the lowest validation loss. Selection by test photos would make their accuracy too good."""
    return str(table["model"].iloc[int(table["val_loss"].to_numpy(np.float64).argmin())])


def describe_choice(table: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    """Sentences: which model to use, how good it is, how far above the baseline, and more.

    A model that is not significantly better than the baseline is not recommended, and a sentence tells why. Others tell
    which models get more test photos right, and which are identical.
    """
    rows, name = {row["model"]: row for row in table.to_dict("records")}, select_model(table)
    best, right = rows[name], {model: round(row["accuracy"] * row["n"]) for model, row in rows.items()}
    reason = "has the lowest loss on the validation photos" if len(rows) > 1 else "is the only model"
    score = f"It gets {right[name]:,} of {count_photos(best)} right: accuracy {best['accuracy']:.3f}, 95 % interval "
    score += f"{best['low']:.3f}–{best['high']:.3f}, balanced accuracy {best['balanced_accuracy']:.3f}."
    sentences = [f"Use {name}: it {reason}.", score, describe_baseline(best)]
    sentences += [describe_cross_validation(row) for row in rows.values() if is_cross_validated(row)]
    if (verdict := judge(best)) != "better":
        answer = f"always answering {best['baseline_class']}"
        sentences[0] = f"No model is recommended: {name} {reason}, but it is {verdict} than {answer}."
        sentences.append(explain_baseline(best))
    relations = relate(pairs, name)
    better = [
        f"{model} {count - right[name]} more ({'more' if relations.get(model) == 'better' else 'no more'} than chance)"
        for model, count in right.items()
        if count > right[name]
    ]
    identical = [f"{model} is identical to {name}." for model, relation in relations.items() if relation == "identical"]
    note = f"Right on more test photos: {', '.join(better)}. But test photos do not select a model."
    return [*sentences, *([note] if better else []), *identical]


def count_photos(row: Mapping[Any, Any]) -> str:
    """The number of test photos of a model and, if there are groups, of these."""
    return f"{row['n']:,} test photos" + (f" of {row['groups']:,} groups" if row["groups"] < row["n"] else "")


def judge(row: Mapping[Any, Any]) -> str:
    """Whether a model is `better` than the baseline, `no better`, or `worse`.

    This is so on the test photos or, where these are few, by cross-validation.
    """
    if row["baseline_p"] >= significance.ALPHA:
        return "better" if is_cross_validated(row) and row["cv_low"] > row["cv_baseline"] else "no better"
    return "better" if row["accuracy"] > row["baseline"] else "worse"


def is_cross_validated(row: Mapping[Any, Any]) -> bool:
    """Whether there is a cross-validation of the model, because the test photos are few."""
    return bool(pd.notna(row.get("cv_accuracy", np.nan)))


def describe_cross_validation(row: Mapping[Any, Any]) -> str:
    """Sentences: what a cross-validation says, and how far to trust it."""
    interval = f"{row['cv_accuracy']:.3f}, 95 % interval {row['cv_low']:.3f}–{row['cv_high']:.3f}"
    result = f"the accuracy {interval}, and the balanced accuracy {row['cv_balanced_accuracy']:.3f}"
    photos = f"each of {row['cv_photos']:,.0f} photos from the others"
    estimate = f"There are few test photos, so cross-validation predicted {photos}: {row['model']} has {result}"
    trust = "Rely on this interval rather than on the test photos"
    if row["cv_high"] - row["cv_low"] > WIDE:
        trust += "; it is wide, so check the model's answers, and add photos"
    return f"{estimate}; always answering the most frequent class has {row['cv_baseline']:.3f}. {trust}."


def describe_baseline(row: Mapping[Any, Any]) -> str:
    """A sentence: how many more test photos a model gets right than the baseline does."""
    constant = round(row["baseline"] * row["n"])
    gain = round(row["accuracy"] * row["n"]) - constant
    difference = f"{abs(gain):,} {'fewer' if gain > 0 else 'more'} than {row['model']}" if gain else "as many"
    chance = "no more than chance" if row["baseline_p"] >= significance.ALPHA else "more than chance"
    p = f"p = {row['baseline_p']:.2g}" if row["baseline_p"] >= 0.001 else "p < 0.001"
    answer = f"Always answering {row['baseline_class']} gets {constant:,} right ({row['baseline']:.3f})"
    return f"{answer}, {difference}: {chance} ({p})."


def explain_baseline(row: Mapping[Any, Any]) -> str:
    """A sentence: why a model is not better than the baseline."""
    reasons = []
    if row["groups"] < FEW:
        reasons.append(f"{count_photos(row)} are few, so that only a large difference is more than chance")
    if row["baseline"] >= SKEWED:
        share = f"{100 * row['baseline']:.0f} % of the test photos show {row['baseline_class']}"
        reasons.append(f"{share}, so that always answering it is hard to beat (class_prior: equal favors the others)")
    reasons = reasons or [f"{row['model']} has learned too little that holds for other photos"]
    return f"Why: {'; '.join(reasons)}. Look at the recall of each class, and add photos where it is low."


def relate(pairs: pd.DataFrame, name: str) -> dict[str, str]:
    """How the other models compare with `name` on the test photos: `better`, `worse`, `equal` or `identical`.

    `equal` means that they differ by no more than chance.
    """
    relations = {}
    for row in pairs[(pairs["model"] == name) | (pairs["other"] == name)].to_dict("records"):
        first = row["model"] == name
        relation = "better" if (row["other_only"] > row["model_only"]) == first else "worse"
        relation = relation if row["p_holm"] < significance.ALPHA else "equal"
        relations[row["other" if first else "model"]] = "identical" if pd.isna(row["p_holm"]) else relation
    return relations


def format_row(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of `compare_models` in the COLUMNS."""
    spread = "–" if pd.isna(row["seeds"]) else f"{row['mean']:.4f} ± {row['sd']:.4f} ({row['seeds']:.0f})"
    cells = {"model": row["model"], INTERVAL: f"{row['low']:.3f}–{row['high']:.3f}", SEEDS: spread}
    cells |= {"validation loss": f"{row['val_loss']:.3f}", BASELINE: f"{row['baseline']:.4f} ({judge(row)})"}
    return cells | {metric.column: f"{row[name]:{metric.format}}" for name, metric in METRICS.items() if metric.column}


def format_markdown(table: pd.DataFrame, pairs: pd.DataFrame, seeds: pd.DataFrame) -> str:
    """The text of compare.md: which model to use, the table, what its columns mean, and which differences are real."""
    columns = [name for name in COLUMNS if name != SEEDS or table["seeds"].notna().any()]
    rows = [[format_row(row)[name] for name in columns] for row in table.to_dict("records")]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    choice = text.plain(" ".join(describe_choice(table, pairs)))
    parts = [choice, "\n".join(f"| {' | '.join(cells)} |" for cells in lines)]
    parts.append("\n".join(f"- {name}: {COLUMNS[name]}" for name in columns))
    for title, differences in ((PAIRS_TITLE, pairs), (SEEDS_TITLE, seeds)):
        parts += ["\n- ".join([f"{title}\n", *differences["summary"]])] if len(differences) else []
    return "\n\n".join(parts) + "\n"


def write_comparison(models: Models, metrics: Path, plots: Path, runs: pd.DataFrame = NO_RUNS) -> None:
    """Write compare.csv, model_pairs.csv and compare.md; with runs also runs.csv and seeds.csv."""
    table = compare_models(models, runs)
    pairs = significance.compare_pairs({name: model.answers for name, model in models.items()})
    tables = {"compare": table, "model_pairs": pairs, "runs": runs, "seeds": significance.compare_seeds(runs)}
    for name, content in tables.items():
        if len(runs) or name in ("compare", "model_pairs"):
            files.write_csv(metrics / f"{name}.csv", content)
    files.write_text(plots / "compare.md", format_markdown(table, pairs, tables["seeds"]))
