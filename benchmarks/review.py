"""python -m benchmarks.review --photos FOLDER: how many questions, keys and minutes until wrong labels are right again.

Some labels are swapped, a project is made and run, and what `smallset review` asks is answered in its order.
"""

import itertools
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks import bases, tables
from smallset.datasets import corrections
from smallset.pipeline import files
from smallset.web import queues, review

MARKS = (0.5, 0.8)  # shares of the swapped labels, on the way to the aim, that have rows of their own
ROUNDS = 2  # of dvc repro and review, where one does not reach the aim
SWITCH = 2  # keys to the next queue: Shift+Tab, arrow
STAGES = ("audit", "suspects", "evaluate@linear")
ABOUT = """\
{swapped} of {photos} photos of {name} were given the label of another class (seed {seed}). A project of them was run
with `linear` alone, and each question of each queue answered in its order, with the fewest keys and no mistake. No
person was measured: {seconds:g} s a question is an assumption. A row is the end of a queue, or where a share of the
swapped labels was right again. Questions, keys and minutes are sums from the start."""

Truth = Mapping[str, str]  # the right label of each photo, by its digest


def main(
    photos: Annotated[Path, typer.Option(help="Class folders, whose labels are taken for right.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the labels, that are swapped.")] = 0.02,
    aim: Annotated[float, typer.Option(min=0, max=1, help="Share of the swapped ones to put right.")] = 0.9,
    seconds: Annotated[float, typer.Option(min=0, help="For each question; an assumption.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the swap.")] = 0,
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it as .md.")] = Path("benchmarks/review.csv"),
) -> None:
    """Measure what it takes to put swapped labels right by the review page."""
    with tempfile.TemporaryDirectory() as scratch:
        truth, swapped = swap(photos, Path(scratch) / "swapped", share, seed)
        bases.run(Path(scratch), "smallset", "init", "project", "--photos", "swapped")
        answers = rounds(Path(scratch) / "project", truth, swapped, aim)
    table = totals(answers, len(swapped), aim, seconds)
    files.write_csv(output, table)
    about = ABOUT.format(swapped=len(swapped), photos=len(truth), name=photos.name, seed=seed, seconds=seconds)
    text = f"{about}\n\n{tables.table(list(table.columns), table.astype(str).to_numpy().tolist())}"
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def swap(photos: Path, target: Path, share: float, seed: int) -> tuple[Truth, set[str]]:
    """Copy class folders with some labels swapped; return the right labels, and the digests of the swapped photos.

    A photo that is there twice is not swapped: a decision is about both.
    """
    found = pd.DataFrame({"path": sorted(path for path in photos.glob("*/*") if path.is_file())})
    found["label"] = [path.parent.name for path in found["path"]]
    found["digest"] = [files.sha256(path) for path in found["path"]]
    classes, drawn = sorted({*found["label"]}), random.Random(seed)  # noqa: S311 no secret
    once = sorted(found["digest"][~found["digest"].duplicated(keep=False)])
    swapped = {*drawn.sample(once, round(share * len(found)))}
    for path, label, digest in found.itertuples(index=False):
        place = target / label / path.name
        if digest in swapped:
            place = target / drawn.choice([name for name in classes if name != label]) / f"{label}-{path.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return dict(zip(found["digest"], found["label"], strict=True)), swapped


def rounds(project: Path, truth: Truth, swapped: set[str], aim: float) -> pd.DataFrame:
    """Run the project and answer all that it asks, until enough labels are right or ROUNDS are over: a row an answer.

    Columns: round, queue, keys, right: whether a swapped label is right now that was not before.
    """
    rows: list[tuple[int, str, int, bool]] = []
    decided: corrections.Corrections = {}
    for number in range(1, ROUNDS + 1):
        bases.run(project, "dvc", "repro", *STAGES)
        bases.run(project, "env", "DVC_STAGE=compare", sys.executable, "stages/compare.py", "linear")
        album = queues.read(project / review.METRICS, project / review.SUBSET, project / "photos")
        rows += [(number, *one) for one in answers(album, decided, truth, swapped)]
        if sum(right for *_, right in rows) >= aim * len(swapped):
            break
        corrections.write(project / corrections.FILE, decided)
    return pd.DataFrame(rows, columns=["round", "queue", "keys", "right"])


def answers(
    album: queues.Album, decided: corrections.Corrections, truth: Truth, swapped: set[str]
) -> Iterator[tuple[str, int, bool]]:
    """Answer what each queue asks, into `decided`: its title, the keys, and whether a swapped label is right now."""
    digits = review.keys(album.classes)
    for queue in album.queues:
        switch = SWITCH if decided else 0
        for item in album.asked(queue.key, decided) if queue.key != queues.LEFT_OUT else []:
            if item.digest in decided:  # twice in this queue: the page goes past it
                continue
            photo, label = album.photos[item.digest], truth[item.digest]
            decision = corrections.KEEP if photo.label == label else corrections.RELABEL
            given = label if decision == corrections.RELABEL else ""
            decided[item.digest] = corrections.Correction(item.digest, photo.file, decision, given, "", queue.key)
            one = decision == corrections.KEEP or item.label == label or label in digits
            yield queue.title, switch + (1 if one else len(f"l{label}\n")), item.digest in swapped
            switch = 0


def totals(answers: pd.DataFrame, swapped: int, aim: float, seconds: float) -> pd.DataFrame:
    """What was done by the end of each queue, and when so many labels were right."""
    counts = answers.assign(questions=1)[["questions", "keys", "right"]].cumsum()
    reached = [counts.index[counts["right"] >= mark * swapped][:1] for mark in (*MARKS, aim)]
    last = answers.index[(answers[["round", "queue"]] != answers[["round", "queue"]].shift(-1)).any(axis=1)]
    table = answers[["round", "queue"]].join(counts).loc[sorted({*last, *itertools.chain(*reached)})]
    minutes = (table["questions"] * seconds / 60).round(1)
    return table.assign(minutes=minutes, share=(table["right"] / swapped).round(3))


if __name__ == "__main__":
    typer.run(main)
