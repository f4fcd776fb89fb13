"""What a model costs: the size of its file, and the time for a photo."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smallset.pipeline import files, provenance

# Times by the sha256 of the model, in a file that neither git nor DVC tracks. A second report has the same bytes.
TIMES = Path("data/times.json")
RUNS = 7
MB, MILLISECONDS = "MB", "ms per photo"
COLUMNS = {
    MB: "size of the model's file",
    MILLISECONDS: "time to predict one photo on the machine that made this report, without decoding it",
}


def measure(folder: Path, models: Sequence[str]) -> dict[str, dict[str, str]]:
    """The COLUMNS of each model; a dash for those of other pipelines."""
    times, costs = provenance.read(folder / TIMES), {}
    for model in models:
        path = folder / f"models/{model}.keras"
        costs[model] = dict.fromkeys(COLUMNS, "–")
        if path.is_file():
            entry = times.setdefault(files.sha256(path), {})
            if MILLISECONDS not in entry:
                entry[MILLISECONDS] = f"{float(f'{_time(path):.2g}'):g}"
            costs[model] = {MB: f"{path.stat().st_size / 1e6:.1f}", **entry}
    files.write_json(folder / TIMES, times)
    return costs


def _time(path: Path) -> float:
    """Milliseconds of a prediction: the median of several, after the first one, which compiles the network."""
    from smallset.models.classifier import Classifier

    classifier, seconds = Classifier.load(path), []
    pixels = np.zeros((1, classifier.image_size, classifier.image_size, 3), np.float32)
    for _ in range(1 + RUNS):
        started = time.perf_counter()
        classifier.features_and_probabilities(pixels)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[1:]))
