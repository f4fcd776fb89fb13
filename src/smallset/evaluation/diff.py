"""What changed since an earlier run that git has: photos, labels, and the models on the test photos of both runs."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.datasets.changes import describe_photos, find_renamed
from smallset.evaluation import comparison, significance
from smallset.pipeline import files, git
from smallset.pipeline.errors import SmallsetError

FILE = "diff.json"  # in the metrics folder; git tracks it and DVC does not, because it depends on the last commit
EMPTY: dict[str, Any] = {"photos": [], "labels": [], "test_photos": {}, "models": []}

Run = dict[str, pd.DataFrame]  # the tables of a run by their names, such as photos and fine_tuned/predictions


def record(metrics: Path) -> str:
    """Write the differences between the results in `metrics` and the committed ones to FILE; return them in words.

    Without differences FILE stays as it is committed, so that a repeated run changes no file that git tracks.
    """
    content = compare(read_run(metrics, git.show), read_run(metrics, read_file))
    changes = [*content["photos"], *content["labels"]]
    if not changes and not any(row["before_only"] + row["now_only"] for row in content["models"]):
        content = json.loads(git.show(metrics / FILE) or json.dumps(EMPTY))
    files.write_json(metrics / FILE, content)
    return describe(content)


def against(metrics: Path, revision: str) -> str:
    """The differences between the results in `metrics` and those that git has in another revision, in words."""
    git.check_revision(revision)
    before, now = read_run(metrics, lambda path: git.show(path, revision)), read_run(metrics, read_file)
    for place, run in ((revision, before), (Path.cwd(), now)):
        if not run:
            raise SmallsetError(
                f"{place}: expected the results of a run, {metrics / 'compare.csv'} and {metrics / 'photos.csv'}; "
                f"found none. Change to the folder of a pipeline, or name another commit."
            )
    if before.keys() == now.keys() and all(now[name].equals(before[name]) for name in now):
        return f"{metrics} has the results of {revision}. To compare them with an earlier run, name its commit."
    return describe(compare(before, now))


def read_file(path: Path) -> str | None:
    """Read a file as git.show does."""
    return path.read_bytes().decode(errors="replace") if path.is_file() else None


def read_run(metrics: Path, read: Callable[[Path], str | None]) -> Run:
    """Read the tables of a run; an empty one when it has no photos, or no predictions of its models."""

    def parse(names: Iterable[str]) -> Run:
        texts = {name: read(metrics / f"{name}.csv") for name in names}
        return {name: comparison.read_table(io.StringIO(content)) for name, content in texts.items() if content}

    run = parse(["compare", "photos", "label_issues"])
    predictions = parse(f"{model}/predictions" for model in run["compare"]["model"]) if "compare" in run else {}
    return run | predictions if predictions and "photos" in run else {}


def compare(before: Run, now: Run) -> dict[str, Any]:
    """The content of FILE: sentences on photos and labels, numbers of test photos, and a row for each model.

    The models are those that both runs have, and the best one of each run when these are different.
    """
    if not before or not now:
        return EMPTY
    photos, renamed = describe_photos(before["photos"], now["photos"]), find_renamed(before["photos"], now["photos"])
    columns = dict.fromkeys(["label", "actual", "predicted"], renamed)
    before = {name: table.replace(columns) for name, table in before.items()}
    (old, first), (new, second) = _score_models(before), _score_models(now)
    pairs = {model: (model, model) for model in new if model in old}
    if first != second:
        pairs[f"the best model ({first} before, {second} now)"] = (first, second)
    both = old[first].index.intersection(new[second].index)
    models = [_compare_model(name, old[a].loc[both], new[b].loc[both]) for name, (a, b) in pairs.items() if len(both)]
    counts = {"before": len(old[first]), "now": len(new[second]), "both": len(both)}
    return {"photos": photos, "labels": [*_describe_labels(before, now)], "test_photos": counts, "models": models}


def describe(content: dict[str, Any]) -> str:
    """The content of FILE in words."""
    if not (counts := content["test_photos"]):
        return "There is no earlier run to compare with."
    title = "No test photo is in both runs, so the accuracies cannot be compared."
    if counts["both"]:
        title = "Models on the {both} test photos of both runs ({before} before, {now} now; McNemar's exact test):"
    photos = [*content["photos"], *content["labels"]] or ["The photos and their splits are the same."]
    models = [title.format(**counts), *(row["summary"] for row in content["models"])]
    return "\n".join(["\n- ".join(["Photos since the earlier run:", *photos]), "\n- ".join(models)])


def _score_models(run: Run) -> tuple[dict[str, pd.DataFrame], str]:
    """Which test photos each model gets right, and the best model; compare.csv may have models of other pipelines."""
    table = run["compare"]
    table = table[[f"{model}/predictions" in run for model in table["model"]]]
    scores = {model: comparison.score_photos(run["photos"], run[f"{model}/predictions"]) for model in table["model"]}
    return scores, comparison.select_model(table)


def _describe_labels(before: Run, now: Run) -> Iterator[str]:
    issues = [len(run["label_issues"]) for run in (before, now) if "label_issues" in run]
    if len(set(issues)) == 2:
        yield f"Label issues: {issues[0]} before, {issues[1]} now."
    tests = [run["photos"][run["photos"]["split"] == "test"].drop_duplicates("sha256") for run in (before, now)]
    both = tests[0].merge(tests[1], on="sha256")
    if changed := int((both["label_x"] != both["label_y"]).sum()):
        yield f"{changed} of {len(both)} test photos of both runs have another label; models are not compared on these."


def _compare_model(name: str, before: pd.DataFrame, now: pd.DataFrame) -> dict[str, Any]:
    old, new, gains = before["right"].mean(), now["right"].mean(), now["right"].astype(int) - before["right"]
    lost, won = int((gains < 0).sum()), int((gains > 0).sum())
    p = significance.compare_answers(gains, now["group"])
    verdict = ("better" if won > lost else "worse") if p < significance.ALPHA else "no more than chance"
    counts = f"{won} photos right that were wrong, {lost} wrong that were right, p = {p:.2g}"
    summary = f"{name}: accuracy {old:.4f} before, {new:.4f} now; {verdict} ({counts})."
    row = {"model": name, "before": round(float(old), 6), "now": round(float(new), 6), "before_only": lost}
    return row | {"now_only": won, "p": float(f"{p:.6g}"), "verdict": verdict, "summary": summary}
