"""The page that runs a model in the browser: its files, and that it shows the predictions of the classifier."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import browser
import networks
import numpy as np
import platformdirs
import pytest

from smallset.cli import export
from smallset.datasets.dataset import Dataset
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError
from smallset.web import onnxruntime_web, static_page

# Of a probability. Chromium decodes to exactly the same pixels, except for JPEGs of 2,048 px and more, which libjpeg
# reduces before it converts them to RGB, and for half-transparent WebPs: these differ by one level.
TOLERANCE, LOOSE_TOLERANCE = 1e-5, 0.05


@pytest.fixture
def classifier(drawn: Dataset) -> Classifier:
    return networks.fit_classifier(drawn)


@pytest.fixture
def exported(classifier: Classifier, tmp_path: Path) -> Path:
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    try:
        onnxruntime_web.find_folder()
    except SmallsetError as error:
        pytest.skip(str(error))
    classifier.save(tmp_path / "model.keras")
    export.export(tmp_path / "model.keras", "web", tmp_path / "page")
    return tmp_path / "page"


@pytest.mark.slow
def test_a_browser_shows_the_predictions_and_sends_nothing(
    exported: Path, classifier: Classifier, tmp_path: Path
) -> None:
    paths = browser.save_photos(tmp_path / "photos")
    requests: list[str] = []
    with browser.serve(exported) as address, browser.open_page() as tab:
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(address)
        tab.locator("#files:enabled").wait_for(state="attached")
        tab.set_input_files("#files", [*paths, exported / "model.json"])
        shown = browser.read_predictions(tab, len(paths) + 1)
        browser.assert_fits(tab)
    assert all(url.startswith((address, "blob:")) for url in requests)
    assert "This browser cannot read the file as a photo" in shown["model.json"]["text"]
    for prediction in classifier.predict_paths(map(str, paths)):
        name = Path(prediction.file).name
        probabilities = [shown[name]["probabilities"][label] for label in classifier.classes]
        loose = name.startswith(("large-odd", "large.jpg")) or name.endswith(".webp")
        tolerance = LOOSE_TOLERANCE if loose else TOLERANCE
        np.testing.assert_allclose(probabilities, prediction.probabilities, atol=tolerance, err_msg=name)
        if not loose:
            assert (shown[name]["verdict"] == "None of these") == prediction.unknown
            expected = f"Prediction set: {', '.join(prediction.prediction_set)}."
            assert prediction.unknown or shown[name]["set"] == expected


def test_the_threshold_selects_the_prediction_set(classifier: Classifier) -> None:
    reference = classifier.reference
    assert reference is not None
    for score in [*reference.nonconformity_scores, 0.5, 1.0]:
        selected = reference.prediction_set(np.array(1 - score))
        assert (score <= static_page.find_threshold(reference)) == selected


def test_the_folder_has_licenses_and_a_page_that_loads_nothing_else(exported: Path) -> None:
    assert "MIT" in (exported / "onnxruntime-web/LICENSE").read_text(encoding="utf-8")
    page = (exported / "index.html").read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in page
    assert "://" not in page.replace("http://localhost:8000", "")
    assert json.loads((exported / "model.json").read_text())["image_size"] == 32


def test_onnxruntime_web_comes_from_a_named_place_the_cache_or_a_mirror_with_the_right_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {name: f"// {name}".encode() for name in onnxruntime_web.FILES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(onnxruntime_web, "FILES", digests)
    monkeypatch.setattr(onnxruntime_web, "MIRRORS", ())
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    package = tmp_path / "package"
    (package / "dist").mkdir(parents=True)
    for name, content in contents.items():
        (package / "dist" / name).write_bytes(content)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(package, "package")
    with pytest.raises(SmallsetError, match=r"Tried:\n- npm: it is not installed\n.*SMALLSET_ONNXRUNTIME_WEB="):
        onnxruntime_web.find_folder()
    for source in (tmp_path / "a.tgz", package, package / "dist"):
        monkeypatch.setenv(onnxruntime_web.VARIABLE, str(source))
        assert {path.name: path.read_bytes() for path in onnxruntime_web.find_folder().iterdir()} == contents
    monkeypatch.delenv(onnxruntime_web.VARIABLE)
    cached = onnxruntime_web.find_folder()  # without any source
    shutil.rmtree(cached)
    with browser.serve(package / "dist") as address:
        monkeypatch.setattr(onnxruntime_web, "MIRRORS", (f"{address}none", address.rstrip("/")))
        assert {path.name: path.read_bytes() for path in onnxruntime_web.find_folder().iterdir()} == contents
    (package / "dist" / next(iter(contents))).write_bytes(b"another")
    for source, words in {package: "is not that of onnxruntime-web", tmp_path: "expected onnxruntime-web"}.items():
        monkeypatch.setenv(onnxruntime_web.VARIABLE, str(source))
        with pytest.raises(SmallsetError, match=words):
            onnxruntime_web.find_folder()
