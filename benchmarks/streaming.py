"""python -m benchmarks.streaming [COUNT ...]: `linear` solved on more rows than memory holds, and against scikit-learn.

The rows are made up: classes that overlap, in directions that hang together as those of a network do.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks import tables
from smallset.pipeline import bulk, files, params
from smallset.training import linear_probe

COUNTS = [250_000, 1_000_000]
KNOWN = 20_000  # validation rows
BATCH = 4096
HIDDEN = 100  # directions that the numbers of a row share
WRONG = 0.05  # of the labels
STEPS = ("made", "chosen", "solved")
P = params.Linear(C=None, class_weights="balanced", calibrate=False)
Measured = dict[str, float]


def main(
    counts: Annotated[list[int] | None, typer.Argument(help="Rows; default: 250000 1000000.")] = None,
    width: Annotated[int, typer.Option(min=1, help="Numbers of a row.")] = 1280,
    classes: Annotated[int, typer.Option(min=2)] = 5,
    fitting: Annotated[int, typer.Option(min=100, help="Rows of the comparison in memory.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=1, help="Of the comparison, in turn.")] = 3,
    folder: Annotated[Path, typer.Option(help="On whose disk the rows are: 2.4 GiB for a million.")] = Path(),
    output: Annotated[Path, typer.Option(help="JSON; the tables go beside it as .md.")] = Path(
        "benchmarks/streaming.json"
    ),
) -> None:
    """Solve on growing numbers of rows, then on as many as fit in memory in both ways."""
    bulk.FOLDER = str(folder)
    large = {count: measured(count, width, classes) for count in counts or COUNTS}
    both = compared(fitting, width, classes, rounds)
    about = {"cores": os.cpu_count(), "width": width, "classes": classes, "fitting": fitting}
    text = f"{growing(large, width)}\n\n{beside(both, fitting)}"
    files.write_json(output, about | {"counts": large, "compared": both})
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def measured(count: int, width: int, classes: int) -> Measured:
    """What `linear` does with rows of which memory holds a part: s and GiB of each step, and what comes of it."""
    found: Measured = {}
    with timed("made", found):
        train, known = rows(count, width, classes, 0), rows(KNOWN, width, classes, 1)
    with timed("chosen", found):
        few, table = linear_probe.choose(train.few(), known, P)
    strength = float(table.C[table.chosen].iloc[0])
    with timed("solved", found):
        whole = linear_probe.regression(train, strength, P, few[-1])
    losses = {name: linear_probe.measures(one, known, P)["loss"] for name, one in (("few", few), ("all", whole))}
    return found | losses | {"C": strength, "steps": int(whole[-1].n_iter_[0])}


def compared(count: int, width: int, classes: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of scikit-learn on rows in memory and of the same rows from a file, in turn, and how far they differ."""
    memory, held = rows(count, width, classes, 0), bulk.HELD
    bulk.HELD = 0
    file = linear_probe.Rows(bulk.gathered(iter([memory.inputs]), count), memory.labels)
    bulk.HELD = held
    memory = file.at(slice(None))
    found: dict[str, list[float]] = {"memory": [], "file": [], "apart": []}
    for _ in range(rounds):
        solved = []
        for name, own in (("memory", memory), ("file", file)):
            started = time.perf_counter()
            solved.append(linear_probe.regression(own, 0.01, P).predict_proba(memory.inputs))
            found[name].append(time.perf_counter() - started)
        found["apart"].append(float(np.abs(solved[0] - solved[1]).max()))
    return found


def rows(count: int, width: int, classes: int, seed: int) -> linear_probe.Rows:
    """Rows in the order of their classes, as photos are; the second seed's are of the same classes."""
    labels = np.arange(count) * classes // count
    random = np.random.default_rng(seed + 2)
    wrong = random.random(count) < WRONG
    given = np.where(wrong, random.integers(classes, size=count), labels)
    return linear_probe.Rows(bulk.gathered(made(labels, width, classes, seed), count), given)


def made(labels: NDArray[np.int64], width: int, classes: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """The signed square root of what the hidden directions give, with noise of each number's own: (b, width)."""
    same, random = np.random.default_rng(0), np.random.default_rng([seed, 1])
    strengths = np.arange(1, HIDDEN + 1, dtype=np.float32) ** -0.5
    mixing = same.standard_normal((HIDDEN, width), np.float32) * strengths[:, None]
    centres = same.standard_normal((classes, HIDDEN), np.float32) / 4
    for at in range(0, len(labels), BATCH):
        own = labels[at : at + BATCH]
        hidden = centres[own] + random.standard_normal((len(own), HIDDEN), np.float32)
        values = hidden @ mixing + random.standard_normal((len(own), width), np.float32)
        yield np.sign(values) * np.sqrt(np.abs(values))


@contextmanager
def timed(step: str, found: Measured) -> Iterator[None]:
    """Keep the step's seconds, and its peak memory: what is the process's own, and with what is read of files."""
    peaks, over = [0.0, 0.0], threading.Event()
    watching = threading.Thread(target=watch, args=(peaks, over))
    typer.echo(f"{step} ...", err=True)
    started = time.perf_counter()
    watching.start()
    try:
        yield
    finally:
        found[f"{step}, s"] = time.perf_counter() - started
        over.set()
        watching.join()
        found[f"{step}, GiB"], found[f"{step}, GiB with files"] = peaks


def watch(peaks: list[float], over: threading.Event) -> None:
    """Take the highest of what Linux says: RssAnon, and all that is resident. 0 elsewhere."""
    status = Path("/proc/self/status")
    while status.exists() and not over.wait(0.05):
        lines = dict(line.split(":") for line in status.read_text().splitlines())
        now = [int(lines[name].split()[0]) / 2**20 for name in ("RssAnon", "VmRSS")]
        peaks[:] = map(max, peaks, now)


def growing(large: dict[int, Measured], width: int) -> str:
    """A row for each number of rows."""
    columns = ["rows", "GiB in the file", "made, s", "C chosen, s", "solved with all, s", "steps", "C"]
    columns += ["validation loss: few, all", "peak GiB", "with files"]
    found = []
    for count, own in large.items():
        seconds = [f"{own[f'{step}, s']:.0f}" for step in STEPS]
        memory = [f"{max(own[f'{step}, {kind}'] for step in STEPS):.2f}" for kind in ("GiB", "GiB with files")]
        size = f"{count * width * 2 / 2**30:.2f}"
        loss = f"{own['few']:.4f}, {own['all']:.4f}"
        found.append([f"{count:,}", size, *seconds, f"{own['steps']:.0f}", f"{own['C']:g}", loss, *memory])
    return tables.table(columns, found)


def beside(both: dict[str, list[float]], count: int) -> str:
    """The comparison's row."""
    columns = ["rows", "scikit-learn in memory, s", "from the file, s", "ratio", "probabilities apart"]
    cells = [tables.spread(both["memory"]), tables.spread(both["file"])]
    cells += [tables.spread(tables.ratios(both["file"], both["memory"]), 2), f"{max(both['apart']):.1e}"]
    return tables.table(columns, [[f"{count:,}", *cells]])


if __name__ == "__main__":
    typer.run(main)
