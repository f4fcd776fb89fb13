"""What has changed since an earlier run, and whether its models were better, on the test photos that both runs have.

Two runs on different photos have different test sets, and two accuracies on different test sets do not compare.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.evaluation import changes, comparison, significance
from smallset.pipeline import committed, files
from smallset.pipeline.errors import SmallsetError

FILE = "since.json"  # below metrics/; git's and not DVC's: what it tells depends on what was committed before
NOTHING: dict[str, Any] = {"photos": [], "labels": [], "test_photos": {}, "models": []}
DOUBTED = 0.5  # P(given label) below which a label is in doubt

Texts = dict[Path, str]  # the tables of a run that are compared, by their place


@dataclass(frozen=True)
class Run:
    """What a run has left."""

    lists: changes.Lists
    best: str  # model
    right: dict[str, pd.Series]  # of each model, whether it is right on a test photo, by the photo's digest and label
    doubted: int | None  # labels in doubt; None where none were looked for


def record(metrics: Path) -> str:
    """Note in FILE how the results below `metrics` differ from the committed ones; return it in words.

    Where they are those, it is noted as it is committed: how they differ from the ones before. So who repeats a run
    that is committed finds git clean.
    """
    before, now = read(metrics, committed.text), read(metrics, text)
    if before == now:
        content = json.loads(committed.text(metrics / FILE) or json.dumps(NOTHING))
    else:
        content = compare(run(metrics, before), run(metrics, now))
    files.write_json(metrics / FILE, content)
    return words(content)


def against(metrics: Path, revision: str) -> str:
    """How the results below `metrics` differ from those that git has in another revision, in words."""
    committed.check(revision)
    before = run(metrics, read(metrics, lambda path: committed.text(path, revision)))
    now = run(metrics, read(metrics, text))
    for where, found in ((revision, before), (Path.cwd(), now)):
        if found is None:
            raise SmallsetError(
                f"{where}: expected the results of a pipeline's run, {metrics / 'compare.csv'} and the lists in "
                f"{metrics / 'subset'}; found none. Change to a pipeline's folder, or name another commit."
            )
    return words(compare(before, now))


def text(path: Path) -> str | None:
    """Of a file as it is now."""
    return path.read_bytes().decode() if path.is_file() else None


def read(metrics: Path, reader: changes.Reader) -> Texts:
    """The table of all models, the lists of photos, and each model's predictions, those that there are."""
    models = reader(metrics / "compare.csv")
    names: list[str] = table(models)["model"].tolist() if models else []
    paths = [
        metrics / "compare.csv",
        metrics / "suspects.csv",
        *(metrics / "subset" / f"{split}.csv" for split in changes.SPLITS),
        *(metrics / name / "predictions.csv" for name in names),
    ]
    found = {path: reader(path) for path in paths}
    return {path: content for path, content in found.items() if content}


def table(content: str) -> pd.DataFrame:
    """A CSV; names are text, a class may be called 7, or None."""
    return pd.read_csv(io.StringIO(content), dtype=comparison.TEXT | {"model": str}, keep_default_na=False)


def run(metrics: Path, texts: Texts) -> Run | None:
    """The tables, parsed; None of a run that has compared no models, or that is too old to have lists and val_loss."""
    lists, models = changes.read(metrics / "subset", texts.get), texts.get(metrics / "compare.csv")
    if lists is None or models is None or "val_loss" not in table(models):
        return None
    paths = {name: metrics / name / "predictions.csv" for name in table(models)["model"]}
    right = {name: rights(lists["test"], table(texts[path])) for name, path in paths.items() if path in texts}
    suspects = texts.get(metrics / "suspects.csv")
    doubted = None if suspects is None else int((table(suspects)["probability"] < DOUBTED).sum())
    return Run(lists, comparison.best(table(models)), right, doubted)


def rights(test: pd.DataFrame, predictions: pd.DataFrame) -> pd.Series:
    """Whether each test photo was predicted as labelled, by digest and label; one that is there twice counts once."""
    rows = test.merge(predictions, on="file").drop_duplicates(["digest", "label"])
    return (rows["actual"] == rows["predicted"]).set_axis(pd.MultiIndex.from_frame(rows[["digest", "label"]]))


def compare(before: Run | None, now: Run | None) -> dict[str, Any]:
    """What became of the photos; how many test photos the two runs have, and both; and a `row` for each model.

    The models are those that both runs have, and the best of each where those have two names. NOTHING without two runs.
    """
    if before is None or now is None:
        return NOTHING
    pairs = {name: (name, name) for name in now.right if name in before.right}
    if before.best != now.best:
        pairs[f"the best model ({before.best} before, {now.best} now)"] = (before.best, now.best)
    names = changes.renamed(before.lists, now.lists)
    old = {name: right.rename(index=names, level="label") for name, right in before.right.items()}
    both = old[before.best].index.intersection(now.right[now.best].index)
    counts = {"before": len(old[before.best]), "now": len(now.right[now.best]), "both": len(both)}
    rows = [row(name, old[one][both], now.right[other][both]) for name, (one, other) in pairs.items() if len(both)]
    photos = changes.between(before.lists, now.lists)
    return {"photos": photos, "labels": labels(before, now, names), "test_photos": counts, "models": rows}


def labels(before: Run, now: Run, names: dict[str, str]) -> list[str]:
    """What became of the labels: how many are in doubt, and how many test photos have another one."""
    lines = []
    if before.doubted is not None and now.doubted is not None and before.doubted != now.doubted:
        lines.append(f"{before.doubted} labels in doubt before, {now.doubted} now")
    old = before.lists["test"].assign(label=before.lists["test"]["label"].replace(names))
    both = old.merge(now.lists["test"], on="digest", suffixes=("_old", "_new"))
    if changed := both.loc[both["label_old"] != both["label_new"], "digest"].nunique():
        lines.append(
            f"{changed} of the {both['digest'].nunique()} test photos that both runs have got another label: on these "
            f"the models are not compared"
        )
    return lines


def row(name: str, before: pd.Series, now: pd.Series) -> dict[str, Any]:
    """Two models on the same photos: accuracies, photos that one alone gets right, p of McNemar's test, and words."""
    then, today = float(before.mean()), float(now.mean())
    lost, won = int((before & ~now).sum()), int((now & ~before).sum())
    p = significance.chance(lost, won)
    verdict = ("better" if won > lost else "worse") if p < 1 - significance.CONFIDENCE else "no more than chance"
    return {
        "model": name,
        "before": round(then, 6),
        "now": round(today, 6),
        "before_only": lost,
        "now_only": won,
        "p": float(f"{p:.6g}"),
        "verdict": verdict,
        "words": f"{name}: {then:.4f} before, {today:.4f} now; {verdict} "
        f"({won} right that were wrong, {lost} wrong that were right, p = {p:.2g})",
    }


def words(content: dict[str, Any]) -> str:
    """What `compare` gives, for people."""
    if not content["test_photos"]:
        return "No earlier run to compare the results with."
    photos = [f"- {line}" for line in content["photos"]] or ["- the same, in the same splits"]
    models = [f"- {row['words']}" for row in content["models"]]
    photos += [f"- {line}" for line in content.get("labels", [])]  # an older smallset noted none
    return "\n".join(["Photos, since the earlier run:", *photos, heading(content["test_photos"]), *models])


def heading(count: dict[str, int]) -> str:
    """Of the models, by the numbers of test photos."""
    if not count["both"]:
        return "No test photo is in both runs, so their accuracies do not compare."
    return (
        f"On the {count['both']} test photos that both runs have (of {count['before']} before, {count['now']} now; "
        f"McNemar's exact test):"
    )
