"""The page to try a model: its predictions, files that are not photos, and the page in a browser."""

import base64
import io
import tempfile
from pathlib import Path

import browser
import networks
import numpy as np
import pytest
from PIL import Image

from smallset.datasets.dataset import Dataset
from smallset.models.classifier import Classifier

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from smallset.web import demo


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
    files = [(b"", "it is empty"), (b"<svg onload=alert(1)>", "format"), (photo[:300], "does not decode")]
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
