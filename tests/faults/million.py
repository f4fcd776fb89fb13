"""Label many small pictures with `smallset predict --output`, killed after each minute or so of work, and count.

python tests/faults/million.py [PHOTOS [SECONDS [SEED]]]

The pictures are hard links to a few, and the network is tiny: what is tried is all around it. For each tenth it prints
the photos a second (without the restarts) and the highest memory of the process and all below it. Exit code 1 unless
each photo has one row with a label, and the first shards have the bytes of an undisturbed run over the first photos.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import psutil
from PIL import Image

from smallset.cli import shards
from smallset.models.classifier import Classifier

SMALLSET = [sys.executable, "-c", "from smallset.cli.main import app; app()", "predict"]
SIDE, PICTURES, FOLDER = 16, 64, 1000  # px; files that are not links; names in a folder
NEVER = float("inf")


def draw(folder: Path, photos: int) -> str:
    """A folder of so many pictures, in folders of a thousand."""
    random = np.random.default_rng(0)
    originals = [folder.with_name(f"{folder.name}{number}.png") for number in range(PICTURES)]
    for original in originals:
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(original)
    for number, original in zip(range(photos), itertools.cycle(originals), strict=False):
        path = folder / f"{number // FOLDER:04}/{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(original, path)
    return str(folder)


def save_network(path: Path) -> str:
    """A model file of one convolution."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu")(inputs / 255)
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    Classifier(keras.Model(inputs, x), ("one", "three", "two")).save(path)
    return str(path)


def watch(command: list[str], target: Path, seconds: float, seed: int) -> pd.DataFrame:
    """Start the command until it ends by itself, and kill it each time after about so many s from its first new shard.

    Returns the time, the finished shards and the bytes in memory, twice a second, with the number of the start.
    """
    random, samples = np.random.default_rng(seed), []
    for start in itertools.count():
        process = psutil.Popen([*command, "--output", str(target)], stderr=subprocess.DEVNULL)
        there, end = len([*target.glob("*.parquet")]), NEVER
        while process.poll() is None and time.time() < end:
            finished, below = len([*target.glob("*.parquet")]), [process, *process.children(recursive=True)]
            with suppress(psutil.NoSuchProcess):
                memory = sum(one.memory_info().rss for one in below)
                samples.append((start, time.time(), finished, memory))
            if end == NEVER and finished > there:
                end = time.time() + seconds * random.uniform(0.5, 1.5)
            time.sleep(0.5)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.wait()
    return pd.DataFrame(samples, columns=["start", "time", "shards", "memory"])


def main(photos: int = 1_000_000, seconds: float = 60, seed: int = 1) -> None:
    """A line for each tenth, and what was lost."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command, part = [*SMALLSET, save_network(folder / "model.keras")], min(8 * shards.LENGTH, photos)
        watch([*command, draw(folder / "part", part)], folder / "undisturbed", NEVER, seed)
        target = folder / "labels"
        seen = watch([*command, draw(folder / "all", photos)], target, seconds, seed)
        tenths = (10 * seen["shards"] // (seen["shards"].max() + 1)).rename("tenth")
        for tenth, samples in seen[seen["shards"] > seen.groupby("start")["shards"].transform("min")].groupby(tenths):
            spans = samples.groupby("start")[["time", "shards"]].agg(np.ptp).sum()
            rate, peak = shards.LENGTH * spans["shards"] / spans["time"], samples["memory"].max() / 2**20
            print(f"tenth {tenth}: {rate:,.0f} photos/s, {peak:,.0f} MB at most")
        table = pd.concat(pd.read_parquet(path, columns=["file", "label"]) for path in target.glob("*.parquet"))
        complete = len(table) == table["file"].nunique() == table["label"].count() == photos
        names = [f"{number:05}.parquet" for number in range(part // shards.LENGTH)]
        same = all((target / name).read_bytes() == (folder / "undisturbed" / name).read_bytes() for name in names)
    print(f"{seen['start'].max()} kills; {len(table):,} rows of {table['file'].nunique():,} files")
    sys.exit(0 if complete and same else f"{'rows are lost' if same else 'OTHER BYTES than an undisturbed run'}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
