"""The page to try a model, served on this machine or run in the browser: its predictions, and no other files."""

import base64
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path

import browser
import networks
import numpy as np
import platformdirs
import pytest
from PIL import Image

from smallset.cli import export
from smallset.datasets.dataset import Dataset
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError
from smallset.web import demo, onnxruntime_web

# Of a probability. Chromium decodes to exactly the same pixels, except for JPEGs of 2,048 px and more, which libjpeg
# reduces before it converts them to RGB, and for half-transparent WebPs: these differ by one level.
TOLERANCE, LOOSE_TOLERANCE = 1e-5, 0.05


@pytest.fixture
def classifier(drawn: Dataset) -> Classifier:
    return networks.fit_classifier(drawn)


def encode(mode: str, size: tuple[int, int], kind: str) -> bytes:
    """A black picture."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def test_the_answer_is_the_prediction(classifier: Classifier, tmp_path: Path) -> None:
    client = browser.open_client(demo.make_routes("model", classifier))
    reference = classifier.reference
    assert reference is not None
    for path in [path for path in browser.save_photos(tmp_path / "photos") if "large" not in path.name]:
        prediction = classifier.predict(path)
        answer = client.post("/answer", params={"name": path.name}, content=path.read_bytes()).json()
        probabilities = {label["name"]: label["probability"] for label in answer["labels"]}
        assert [*probabilities] == sorted(probabilities, key=lambda name: -probabilities[name])
        np.testing.assert_allclose([probabilities[c] for c in classifier.classes], prediction.probabilities, atol=1e-6)
        assert answer["unknown"] == prediction.unknown == (answer["ood_score"] > 1)
        assert answer["prediction_set"] == [*prediction.prediction_set]
        photo, heatmap = (Image.open(io.BytesIO(base64.b64decode(one["jpeg"]))) for one in answer["pictures"])
        assert photo.size == heatmap.size
        assert max(photo.size) <= demo.SIZE
        assert answer["pictures"][1]["caption"].partition(":")[0] in ("Grad-CAM", "HiResCAM")


def test_a_file_that_is_not_a_photo_is_answered_with_one_line(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as every command sets it
    client = browser.open_client(demo.make_routes("model", classifier))
    photo, huge = (encode("RGB", (64, 64), "JPEG"), encode("1", (10_000, 9_001), "PNG"))
    files = [(b"", "it is empty"), (b"<svg onload=alert(1)>", "an SVG drawing"), (photo[:300], "does not decode")]
    for content, words in [*files, (huge, "90,010,000 pixels")]:
        answer = client.post("/answer", content=content)
        assert (answer.status_code, answer.text.count("\n")) == (422, 0)
        assert words in answer.text
        assert tempfile.gettempdir() not in answer.text
    assert "a RAW file" in client.post("/answer?name=../../<b>.NEF", content=photo).text
    monkeypatch.setattr(demo, "MAX_BYTES", 100)
    assert client.post("/answer", content=photo).text == "This file is too large: expected at most 0 MB."
    client.cookies.clear()
    assert client.post("/answer", content=b"").status_code == 403


def test_a_model_without_reference_says_so_and_class_names_are_text() -> None:
    name = '<b onclick="x">'
    client = browser.open_client(demo.make_routes("m", Classifier(networks.convnet(78, 3), (name, "b", "c"))))
    page = client.get("/").text
    assert "&lt;b onclick=" in page
    assert name not in page
    assert "This model does not recognize unknown photos" in page
    answer = client.post("/answer", content=encode("RGB", (64, 64), "PNG")).json()
    assert (answer["ood_score"], answer["unknown"], answer["prediction_set"]) == (None, None, None)


@pytest.mark.slow
def test_photos_are_chosen_dropped_and_taken_in_a_browser(classifier: Classifier, tmp_path: Path) -> None:
    photos = [path for path in browser.save_photos(tmp_path / "photos") if path.name in ("<b>&.jpg", "turned-6.jpg")]
    (tmp_path / "broken.jpg").write_bytes(photos[0].read_bytes()[:200])
    with browser.run(demo.make_routes("model", classifier)) as address, browser.open_page() as tab:
        tab.goto(address)
        tab.wait_for_url("**/")
        tab.locator("#files:enabled").focus()
        tab.set_input_files("#files", [*photos, tmp_path / "broken.jpg"])
        shown = browser.read_predictions(tab, 3)
        assert shown.keys() == {"<b>&.jpg", "turned-6.jpg", "broken.jpg"}
        assert "does not decode as a photo" in shown["broken.jpg"]["text"]
        assert sum(shown["<b>&.jpg"]["probabilities"].values()) == pytest.approx(1)
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)")
        tab.locator("#camera").click()
        tab.locator("#video").evaluate("(video) => new Promise((go) => video.videoWidth ? go() : video.onresize = go)")
        tab.locator("#take").click()
        assert "camera.png" in browser.read_predictions(tab, 4)
        create = "(name) => { const data = new DataTransfer(); data.items.add(new File(['text'], name)); return data; }"
        tab.dispatch_event("body", "drop", {"dataTransfer": tab.evaluate_handle(create, "note.txt")})
        assert "format" in browser.read_predictions(tab, 5)["note.txt"]["text"]
        browser.assert_fits(tab)
        tab.set_viewport_size({"width": 390, "height": 900})
        lines = "(label) => { label.textContent = 'construction'; const words = document.createRange(); "
        lines += "words.selectNodeContents(label); return words.getClientRects().length; }"
        assert tab.locator(".labels span").first.evaluate(lines) == 1


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
        converted = name.startswith(("wide-gamut", "gamma"))  # to sRGB: levels are rounded differently
        tolerance = LOOSE_TOLERANCE if loose else 1e-3 if converted else TOLERANCE
        np.testing.assert_allclose(probabilities, prediction.probabilities, atol=tolerance, err_msg=name)
        if not loose:
            assert (shown[name]["verdict"] == "None of these") == prediction.unknown
            expected = f"Prediction set: {', '.join(prediction.prediction_set)}."
            assert prediction.unknown or shown[name]["set"] == expected


@pytest.mark.slow
def test_a_browser_that_computes_something_else_is_refused(exported: Path) -> None:
    text = (exported / "model.json").read_text()
    expected = json.loads(text)["expected"]
    for key, wrong in (("probabilities", [0.5, 0.5]), ("ood_score", 9.0)):
        assert not np.allclose(expected[key], wrong, rtol=0.1)
        (exported / "model.json").write_text(json.dumps({**json.loads(text), "expected": expected | {key: wrong}}))
        with browser.serve(exported) as address, browser.open_page() as tab:
            tab.goto(address)
            tab.get_by_text("This browser computes other probabilities").wait_for()
            assert tab.locator("#files").is_disabled()


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
