"""Label a million small pictures with `smallset predict --output`, killed after each minute or so of work, and count.

python tests/faults/million.py --photos 1000000 --seed 1

The pictures are hard links to a few, and the network is tiny: what is tried is all around it. For each tenth it prints
the photos a second (without the restarts) and the highest memory of the process and all below it. Exit code 1 unless
each photo has one row with a label, and the first shards have the bytes of an undisturbed run over the first photos.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import psutil
from PIL import Image
from pyarrow import parquet

from smallset.cli import shards
from smallset.models.classifier import Classifier

SMALLSET = (sys.executable, "-c", "from smallset.cli.main import app; app()")
SIDE, PICTURES, FOLDER = 16, 64, 1000  # px; files that are not links; names in a folder
PART = 8 * shards.LENGTH  # photos of the undisturbed run
TENTHS = 10
NEVER = float("inf")


@dataclass
class Sample:
    """The state of a run at a time, s: shards, and bytes in memory."""

    at: float
    shards: int
    memory: int


@dataclass
class Watched:
    """What was seen over all the times that the command was started."""

    samples: list[Sample] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)  # s
    kills: int = 0


def pictures(folder: Path, photos: int) -> Path:
    """A folder of so many, in folders of a thousand."""
    random = np.random.default_rng(0)
    originals = [folder.parent / f"{number}.png" for number in range(PICTURES)]
    for original in originals:
        if not original.exists():
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(original)
    for number, original in zip(range(photos), itertools.cycle(originals), strict=False):
        inside = folder / f"{number // FOLDER:04}"
        if number % FOLDER == 0:
            inside.mkdir(parents=True)
        os.link(original, inside / f"{number:07}.png")
    return folder


def network(path: Path) -> Path:
    """A model file of one convolution."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu")(inputs / 255)
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    Classifier(keras.Model(inputs, x), ("one", "three", "two")).save(path)
    return path


def memory(process: psutil.Process) -> int:
    """Bytes of its own and of all below it."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total


def watched(command: list[str], target: Path, moments: Iterator[float]) -> Watched:
    """Start the command until it ends by itself, and kill it each time after so many s from its first new shard."""
    seen = Watched()
    while True:
        seen.starts.append(time.time())
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        there, end = count_shards(target), NEVER
        while process.poll() is None and time.time() < end:
            seen.samples.append(Sample(time.time(), count_shards(target), memory(process)))
            if end == NEVER and seen.samples[-1].shards > there:
                end = time.time() + next(moments)
            time.sleep(0.5)
        if process.poll() is not None:
            if process.returncode:
                sys.exit(f"smallset predict: exit code {process.returncode}")
            return seen
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.wait()
        seen.kills += 1


def count_shards(target: Path) -> int:
    """How many are finished."""
    return len([*target.glob("[0-9]*.parquet")])


def table(seen: Watched, target: Path) -> Iterator[str]:
    """A line for each tenth of the shards: photos a second, and the highest memory."""
    written = np.sort([path.stat().st_mtime for path in target.glob("[0-9]*.parquet")])
    gaps, cut = np.diff(written), np.searchsorted(written, seen.starts[1:]) - 1
    gaps[cut[(cut >= 0) & (cut < len(gaps))]] = np.nan  # of a restart
    for tenth, some in enumerate(np.array_split(np.arange(len(written)), TENTHS), 1):
        own = gaps[some[some < len(gaps)]]
        rate = shards.LENGTH / np.nanmean(own) if np.isfinite(own).any() else np.nan
        peak = max((one.memory for one in seen.samples if some[0] <= one.shards <= some[-1] + 1), default=0)
        yield f"{tenth:6} {(some[-1] + 1) * shards.LENGTH:>10,} {rate:>9,.0f} {peak / 2**20:>9,.0f}"


def restarts(seen: Watched, target: Path) -> str:
    """How long it takes from the start of the command to its first new shard."""
    written = np.sort([path.stat().st_mtime for path in target.glob("[0-9]*.parquet")])
    first = np.searchsorted(written, seen.starts)
    waits = [float(written[at] - start) for at, start in zip(first, seen.starts, strict=True) if at < len(written)]
    return f"from a start to its first shard: {np.median(waits):.0f} s (median), {max(waits):.0f} s at most"


def rows(target: Path) -> tuple[int, int, int]:
    """Rows, different files, and rows without a label."""
    files, total, unlabelled = set[str](), 0, 0
    for path in sorted(target.glob("[0-9]*.parquet")):
        columns = parquet.read_table(path, columns=["file", "label"])
        files.update(columns["file"].to_pylist())
        total, unlabelled = total + len(columns), unlabelled + columns["label"].null_count
    return total, len(files), unlabelled


def same(target: Path, other: Path, shards: int) -> bool:
    """Whether the first shards of both are the same bytes."""
    names = [f"{number:05}.parquet" for number in range(shards)]
    return all((target / name).read_bytes() == (other / name).read_bytes() for name in names)


def main() -> None:
    """A line for each tenth, and what was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1_000_000, help="default: 1000000")
    parser.add_argument("--every", type=float, default=60.0, help="s between two kills, in the mean (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--folder", type=Path, help="where a temporary folder is made")
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        command = [*SMALLSET, "predict", str(network(folder / "model.keras"))]
        began, part = time.time(), min(PART, arguments.photos)
        all_of_them = pictures(folder / "all", arguments.photos)
        print(f"{arguments.photos:,} names in {time.time() - began:.0f} s", flush=True)
        some = [*command, str(pictures(folder / "part", part)), "--output", str(folder / "undisturbed")]
        watched(some, folder / "undisturbed", itertools.repeat(NEVER))
        moments = (float(arguments.every * random.uniform(0.5, 1.5)) for _ in itertools.count())
        target = folder / "labels"
        seen = watched([*command, str(all_of_them), "--output", str(target)], target, moments)
        print(" tenth     photos  photos/s  peak, MB", *table(seen, target), restarts(seen, target), sep="\n")
        found = rows(target)
        equal = same(target, folder / "undisturbed", part // shards.LENGTH)
        elapsed = seen.samples[-1].at - seen.starts[0]
        print(
            f"{seen.kills} kills in {elapsed:.0f} s; {found[0]:,} rows of {found[1]:,} files, "
            f"{found[2]} without a label, {arguments.photos - found[1]} lost; "
            f"{'same bytes as' if equal else 'OTHER BYTES than'} an undisturbed run"
        )
    sys.exit(found != (arguments.photos, arguments.photos, 0) or not equal)


if __name__ == "__main__":
    main()
