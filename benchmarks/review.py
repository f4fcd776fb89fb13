"""python -m benchmarks.review --photos FOLDER: how many questions, keys and minutes it takes to correct wrong labels.

Some labels are swapped, a project is created and run, and the questions of `smallset review` are answered in order.
"""

import itertools
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks import bases, tables
from smallset.datasets import corrections
from smallset.evaluation import comparison
from smallset.pipeline import files
from smallset.web import queues, review

MARKS = (0.5, 0.8)  # shares of the swapped labels that have rows of their own, besides `--aim`
ROUNDS = 2  # how often `dvc repro` and the review are repeated until `--aim` is reached
SWITCH = 2  # keys to the next queue: Shift+Tab, arrow
MODEL = "linear_probe"
STAGES = ("issues", f"evaluate@{MODEL}")
ABOUT = """\
{swapped} of {photos} photos of {name} got the label of another class (seed {seed}). Their project was run with the
linear probe alone, and each question of each queue was answered in order, with the fewest keys and without a mistake.
No person was measured: {seconds:g} s per question is an assumption. A row is the end of a queue, or the place where a
share of the swapped labels was correct again. Questions, keys and minutes are sums from the start."""

Truth = Mapping[str, str]  # the correct label of each photo, by sha256


def main(
    photos: Annotated[Path, typer.Option(help="Class folders, whose labels count as correct.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="The share of the labels that are swapped.")] = 0.02,
    aim: Annotated[float, typer.Option(min=0, max=1, help="The share of the swapped labels to correct.")] = 0.9,
    seconds: Annotated[float, typer.Option(min=0, help="For each question; an assumption.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the swap.")] = 0,
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/review.csv"
    ),
) -> None:
    """Measure what it takes to correct swapped labels on the review page."""
    with tempfile.TemporaryDirectory() as scratch:
        truth, swapped = swap(photos, Path(scratch) / "swapped", share, seed)
        bases.run(Path(scratch), "smallset", "init", "project", "--photos", "swapped")
        answers = repeat(Path(scratch) / "project", truth, swapped, aim)
    table = sum_up(answers, len(swapped), aim, seconds)
    files.write_csv(output, table)
    about = ABOUT.format(swapped=len(swapped), photos=len(truth), name=photos.name, seed=seed, seconds=seconds)
    text = f"{about}\n\n{tables.table(list(table.columns), table.astype(str).to_numpy().tolist())}"
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def swap(photos: Path, target: Path, share: float, seed: int) -> tuple[Truth, set[str]]:
    """Copy class folders with some labels swapped; return the correct labels, and the sha256 of the swapped photos.

    Files with a copy are not swapped, because a decision is about both.
    """
    table = pd.DataFrame({"path": sorted(path for path in photos.glob("*/*") if path.is_file())})
    table["label"] = [path.parent.name for path in table["path"]]
    table["sha256"] = [files.sha256(path) for path in table["path"]]
    classes, generator = sorted({*table["label"]}), random.Random(seed)  # noqa: S311 no secret
    unique = sorted(table["sha256"][~table["sha256"].duplicated(keep=False)])
    swapped = {*generator.sample(unique, round(share * len(table)))}
    for path, label, sha256 in table.itertuples(index=False):
        copy = target / label / path.name
        if sha256 in swapped:
            copy = target / generator.choice([name for name in classes if name != label]) / f"{label}-{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return dict(zip(table["sha256"], table["label"], strict=True)), swapped


def repeat(project: Path, truth: Truth, swapped: set[str], aim: float) -> pd.DataFrame:
    """Run the project and answer all its questions, until enough labels are correct or ROUNDS are over.

    Returns one row per answer: round, queue, keys, right (whether it corrected a swapped label).
    """
    rows: list[tuple[int, str, int, bool]] = []
    decisions: corrections.Corrections = {}
    metrics = project / "metrics"
    for number in range(1, ROUNDS + 1):
        bases.run(project, "dvc", "repro", *STAGES)
        comparison.write_comparison(comparison.read_models(metrics, [MODEL]), metrics, project / "plots")
        album = queues.read_album(project)
        rows += [(number, *row) for row in answer(album, decisions, truth, swapped)]
        if sum(right for *_, right in rows) >= aim * len(swapped):
            break
        corrections.write(project / corrections.FILE, decisions)
    return pd.DataFrame(rows, columns=["round", "queue", "keys", "right"])


def answer(
    album: queues.Album, decisions: corrections.Corrections, truth: Truth, swapped: set[str]
) -> Iterator[tuple[str, int, bool]]:
    """Add an answer to `decisions` for each question of each queue.

    Yields the queue's title, the number of keys, and whether the answer corrects a swapped label.
    """
    digits = review.assign_digits(album.classes)
    for queue in album.queues:
        switch = SWITCH if decisions else 0
        for item in album.list_items(queue.key, decisions) if queue.key != queues.LEFT_OUT else []:
            if item.sha256 in decisions:  # it is twice in this queue, and the page skips it
                continue
            photo, label = album.photos[item.sha256], truth[item.sha256]
            decision, new_label = (corrections.KEEP, "") if photo.label == label else (corrections.RELABEL, label)
            row = corrections.Correction(item.sha256, photo.file, decision, new_label, "", queue.key)
            decisions[item.sha256] = row
            single = decision == corrections.KEEP or item.suggestion == label or label in digits
            yield queue.title, switch + (1 if single else len(f"l{label}\n")), item.sha256 in swapped
            switch = 0


def sum_up(answers: pd.DataFrame, swapped: int, aim: float, seconds: float) -> pd.DataFrame:
    """The sums at the end of each queue, and where each share of the swapped labels was correct."""
    counts = answers.assign(questions=1)[["questions", "keys", "right"]].cumsum()
    reached = [counts.index[counts["right"] >= mark * swapped][:1] for mark in (*MARKS, aim)]
    last = answers.index[(answers[["round", "queue"]] != answers[["round", "queue"]].shift(-1)).any(axis=1)]
    table = answers[["round", "queue"]].join(counts).loc[sorted({*last, *itertools.chain(*reached)})]
    minutes = (table["questions"] * seconds / 60).round(1)
    return table.assign(minutes=minutes, share=(table["right"] / swapped).round(3))


if __name__ == "__main__":
    typer.run(main)
