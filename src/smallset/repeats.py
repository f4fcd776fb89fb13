"""The same training with other seeds: how far a result hangs on chance."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import pandas as pd

from smallset import caches, calibration, evaluation, extraction, files, params, photos, training

SCORES = ["accuracy", "loss", "brier", "ece"]


def runs(
    build: Callable[[], keras.Model],
    train: caches.Cache,
    validation: caches.Cache,
    test: caches.Cache,
    p: params.Training,
    seeds: Iterable[int],
    backup: files.Backup,
) -> pd.DataFrame:
    """A row for each seed: seed, and accuracy, loss, brier and ece on the cached test photos.

    build: makes what is trained, anew from the seed that Keras has been given. Without cached views there is no row:
    training is end to end then, and takes too long to be repeated.
    """
    rows = []
    for seed in seeds if len(train.views) else ():
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        part = build()
        own = replace(backup, fingerprint=f"{backup.fingerprint} {seed}")
        training.fit(part, caches.load, train, validation, p, seed, own)
        own.remove()
        output = part.predict(caches.load(test, p.batch), verbose=0)
        probability = evaluation.probabilities(output)
        [scores] = calibration.scores(test.labels, {"after": probability}, 1.0).to_dict("records")
        rows.append({"seed": seed} | {name: scores[name] for name in SCORES})
    return pd.DataFrame(rows, columns=["seed", *SCORES])


@contextmanager
def features(base: keras.Model, found: photos.Photos, folder: Path, backup: files.Backup) -> Iterator[caches.Cache]:
    """base(photo) for every photo, in a file in `folder` that goes with the block: no later stage needs the test's."""
    path = files.part(folder / "test.npy")
    try:
        extraction.from_photos(base, found, path, backup)
        yield caches.read(path, found)
    finally:
        files.remove(path)
        files.remove(path.with_suffix(".csv"))
