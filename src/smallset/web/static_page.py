"""A page that runs a model in the browser: the files beside model.onnx in a folder for any static server."""

import shutil
from importlib import resources
from pathlib import Path

import numpy as np

from smallset.datasets import synthetic
from smallset.models.classifier import Classifier
from smallset.models.reference import COVERAGE, OOD_RATE
from smallset.pipeline import files
from smallset.reports import rendering
from smallset.web import onnxruntime_web

STATIC = Path(__file__).parent / "static"
# The page may load and send nothing outside of its folder; it compiles only the runtime of the model.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
FILES = ("app.js", "icon.svg", "page.js", "photo.js", "try.css")
CHECK_SIZE, CHECKS = 300, 8  # px; pictures
CHECK_TOLERANCE = 0.02  # of a probability, and of the OOD score's share; float16 weights alone give up to 0.003
PRIVACY = "The photo stays in this browser: nothing is sent anywhere."
LOADING = (
    "The model is loading. It cannot be loaded if the page was opened as a file: in its folder run python -m "
    "http.server, and open http://localhost:8000"
)


def write(folder: Path, name: str, classifier: Classifier) -> None:
    """Write the page, onnxruntime-web with its licenses, and model.json beside model.onnx; name: the model's."""
    for file in FILES:
        shutil.copyfile(STATIC / file, folder / file)
    runtime, source = folder / "onnxruntime-web", onnxruntime_web.find_folder()
    runtime.mkdir()
    for file in onnxruntime_web.FILES:  # some servers do not know that .mjs is JavaScript
        shutil.copyfile(source / file, runtime / file.replace(".mjs", ".js"))
    for file in ("LICENSE", "ThirdPartyNotices.txt"):  # npm's package lacks them, the one for Python has them
        (runtime / file).write_bytes(resources.files("onnxruntime").joinpath(file).read_bytes())
    thresholds = classifier.reference and classifier.reference.thresholds(len(classifier.classes)).tolist()
    model = {"classes": classifier.classes, "image_size": classifier.image_size, "thresholds": thresholds}
    files.write_json(folder / "model.json", model | {"expected": _write_check(folder / "check.png", classifier)})
    values = {"policy": POLICY, "static": "", "script": "app.js", "privacy": PRIVACY, "loading": LOADING, "tab": ""}
    files.write_text(folder / "index.html", render_page(name, classifier, **values))


def _write_check(path: Path, classifier: Classifier) -> dict[str, object]:
    """Write a picture, and return what the page must predict for it: of several, the one with the least sure answer."""
    pictures = [synthetic.picture(synthetic.cat, CHECK_SIZE, np.random.default_rng(seed)) for seed in range(CHECKS)]
    predictions = classifier.predict([np.asarray(picture) for picture in pictures])
    best = min(range(CHECKS), key=lambda number: predictions[number].probability)
    pictures[best].save(path)
    reference, prediction = classifier.reference, predictions[best]
    ood_score = prediction.ood_score / reference.threshold() if reference else None
    return {"probabilities": prediction.probabilities.tolist(), "ood_score": ood_score, "tolerance": CHECK_TOLERANCE}


def render_page(name: str, classifier: Classifier, **values: str) -> str:
    """The page that shows predictions, from a script that asks the model."""
    rates = {"ood_rate": OOD_RATE, "coverage": COVERAGE} if classifier.reference else {"ood_rate": 0, "coverage": 0}
    return rendering.render("smallset.web", "try.html", model=name, classes=classifier.classes, **rates, **values)
