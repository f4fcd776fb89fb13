"""python -m benchmarks.label_issues --data FOLDER: how many swapped labels are listed as label issues.

Of each set of photos, 2 % of the training and validation labels are swapped, of all photos or of thinned ones: half of
the classes keep a tenth as many photos as the largest class. cleanlab's confident learning gets the same probabilities.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

import smallset
from benchmarks import tables
from smallset.datasets.dataset import Dataset
from smallset.evaluation import label_issues
from smallset.features.store import Features
from smallset.pipeline import files

PHOTOS, IMAGE_SIZE = 2000, 224  # of each set, at most; px
NOISE, RARE = 0.02, 10
METHODS = ("smallset", "confident_learning")
ABOUT = """\
2 % of the labels are swapped with other classes, evenly, in several draws. precision: the share of the listed photos
whose label was swapped. recall: the share of the swapped labels that is listed. Both are of all draws together; labels,
swapped and estimate are means. Labels that were wrong before count as right: precision is a lower limit, and the
estimate may be higher. confident learning: cleanlab's filter of that name, with the first probabilities of smallset."""


def main(
    data: Annotated[Path, typer.Option(help="A folder with one folder of photos per set, as for `smallset init`.")],
    draws: Annotated[int, typer.Option(min=1, help="How often the labels of 2,000 photos are swapped.")] = 3,
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/label_issues.csv"
    ),
) -> None:
    """Write a row for each set, draw and number of photos."""
    rows = []
    for photos in sorted(path for path in data.iterdir() if path.is_dir()):
        dataset = Dataset.from_folder(photos)
        features = smallset.embed(dataset.take(dataset.spread(PHOTOS)), image_sizes=[IMAGE_SIZE], flip="none")
        for draw in range(draws * PHOTOS // len(features.dataset)):  # a small set has few labels to swap
            for thinned in (False, True):
                row: dict[str, object] = {"set": photos.name, "photos": "10:1" if thinned else "all", "draw": draw}
                rows.append(row | measure(features, thinned, draw))
                files.write_csv(output, pd.DataFrame(rows))
    files.write_text(output.with_suffix(".md"), report(pd.DataFrame(rows)))


def measure(features: Features, thinned: bool, seed: int) -> dict[str, int]:
    """Swap labels, list the label issues, and count them."""
    random = np.random.default_rng(seed)
    table = features.dataset.table
    rows = np.flatnonzero((table["split"] != "test") & (~thinned | thin(table["label"], random)))
    dataset = features.dataset.take(rows)
    swapped = random.random(len(rows)) < NOISE
    shift = random.integers(1, len(dataset.classes), len(rows)) * swapped
    labels = np.array(dataset.classes, dtype=object)[(dataset.labels + shift) % len(dataset.classes)]
    noisy = replace(dataset, table=dataset.table.assign(label=labels))
    values = features.values[rows]  # noqa: PD011
    given = replace(features, dataset=noisy, values=values, thumbnails=features.thumbnails[rows])
    issues, count = label_issues.judge_labels(given, seed)
    used = np.ones(len(rows), bool)
    probabilities = label_issues.predict_out_of_fold(noisy, values.astype(np.float32), used, seed)
    listed = {
        "smallset": noisy.table["file"].isin(issues["file"]).to_numpy(),
        "confident_learning": confident_learning(probabilities, noisy.labels),
    }
    counts = {f"{name}_listed": int(mask.sum()) for name, mask in listed.items()}
    counts |= {f"{name}_found": int((mask & swapped).sum()) for name, mask in listed.items()}
    return {"swapped": int(swapped.sum()), **count._asdict(), **counts}


def thin(labels: "pd.Series[str]", random: np.random.Generator) -> NDArray[np.bool_]:
    """Which photos stay when every second class, in random order, has a tenth of the photos of the largest class."""
    counts, keep = labels.value_counts(), np.ones(len(labels), bool)
    for label in random.permutation(sorted(counts.index))[::2]:
        rows = random.permutation(np.flatnonzero(labels == label))
        keep[rows[counts.max() // RARE :]] = False
    return keep


def confident_learning(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The off-diagonal photos of the confident joint (Northcutt, Jiang and Chuang 2021, JAIR, section 3.1)."""
    thresholds = [probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])]
    confident = np.where(probabilities >= thresholds, probabilities, 0)
    return confident.any(axis=1) & (confident.argmax(axis=1) != labels)


def report(table: pd.DataFrame) -> str:
    """The table in Markdown, with the draws of each set added up."""
    lines = []
    for (name, photos), rows in table.groupby(["set", "photos"], sort=False):
        total = rows.drop(columns=["set", "photos"]).sum()
        cells = [
            f"{total[f'{method}_found'] / total[column]:.2f}"
            for method in METHODS
            for column in (f"{method}_listed", "swapped")
        ]
        covered = (
            f"{(rows['swapped'].between(rows['wrong_labels_low'], rows['wrong_labels_high'])).sum()} of {len(rows)}"
        )
        wrong = [f"{total[column] / len(rows):.0f}" for column in ("checked_labels", "swapped", "wrong_labels")]
        lines.append([str(name), str(photos), *wrong, covered, *cells])
    columns = ["set", "photos", "labels", "swapped", "estimate", "in the 95 % interval"]
    columns += ["precision", "recall", "precision, confident learning", "recall, confident learning"]
    return f"{ABOUT}\n\n{tables.table(columns, lines)}\n"


if __name__ == "__main__":
    typer.run(main)
