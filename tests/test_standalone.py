"""The page that runs a model by itself: what the folder holds, and that it says in a browser what predict says."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import networks
import numpy as np
import platformdirs
import pytest
import trying

from smallset.cli import exporting, prediction
from smallset.datasets import lists, synthetic
from smallset.models import limits, model_file
from smallset.pipeline.errors import SmallsetError
from smallset.web import onnxruntime_web, static_page

# Of a probability. Chromium's pixels are the pipeline's to the last bit, but for JPEGs of 2,048 px and more, which
# libjpeg makes smaller before it turns them into RGB, and half-transparent WebPs: one level, by rounding.
TOLERANCE, OF_LARGE = 1e-5, 0.05


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    synthetic.draw(folder / "drawn", 5, 80, seed=0)
    return networks.limited(folder / "pooled.keras", lists.digested(lists.find(folder / "drawn")))


@pytest.fixture
def exported(model: Path, tmp_path: Path) -> Path:
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    try:
        onnxruntime_web.folder()
    except SmallsetError as error:
        pytest.skip(str(error))
    text = exporting.export(model, "web", tmp_path / "page", None, int8=False)
    assert "python -m http.server --bind 127.0.0.1 --directory" in text
    assert '"none of these"' in text
    return tmp_path / "page"


@pytest.mark.slow
def test_a_browser_says_what_predict_says_and_asks_nobody_else(exported: Path, model: Path, tmp_path: Path) -> None:
    paths = trying.photos(tmp_path / "photos")
    requests: list[str] = []
    with trying.served(exported) as address, trying.page(390) as tab:
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(address)
        tab.locator("#files:enabled").wait_for(state="attached")
        tab.set_input_files("#files", [*paths, exported / "model.json"])
        given = trying.answers(tab, len(paths) + 1)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(url.startswith((address, "blob:")) for url in requests)
    assert "no photo that this browser can read" in given["model.json"]["words"]
    (network, classes), about = model_file.classifier(model), prediction.Asked(limits.needed(model), coverage=0.95)
    for said in prediction.answers(network, map(str, paths), 8, limits=about.limits):
        name = Path(said.path).name
        found = [given[name]["probabilities"][label] for label in classes]
        loose = name.startswith(("large-odd", "large.jpg")) or name.endswith(".webp")
        np.testing.assert_allclose(found, said.probability, atol=OF_LARGE if loose else TOLERANCE, err_msg=name)
        if not loose:
            assert (given[name]["verdict"] == "None of these") == about.told(said, classes)["unlike"]
            assert given[name]["possible"].startswith(f"Possible: {', '.join(about.possible(said, classes))}")


def test_the_threshold_is_that_of_the_model_file(model: Path) -> None:
    found = limits.needed(model)
    for doubt in [*found.doubt, 0.5, 1.0]:
        assert (doubt <= static_page.possible(found)) == found.possible(np.array(1 - doubt))


def test_the_files_come_from_where_they_are_named_and_are_those_of_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From npm's archive, from a folder; then without a network, from the cache; nothing else passes for them."""
    published = {name: f"// {name}".encode() for name in onnxruntime_web.FILES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in published.items()}
    monkeypatch.setattr(onnxruntime_web, "FILES", digests)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(onnxruntime_web, "ADDRESSES", ())
    package = tmp_path / "package"
    (package / "dist").mkdir(parents=True)
    for name, content in published.items():
        (package / "dist" / name).write_bytes(content)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(package, "package")
    with pytest.raises(
        SmallsetError, match=r"could not be had\. Tried:\n- npm: not installed\n.*SMALLSET_ONNXRUNTIME_WEB="
    ):
        onnxruntime_web.folder()
    for source in (tmp_path / "a.tgz", package, package / "dist"):
        monkeypatch.setenv(onnxruntime_web.NAMED, str(source))
        assert {path.name: path.read_bytes() for path in onnxruntime_web.folder().iterdir()} == published
        monkeypatch.delenv(onnxruntime_web.NAMED)
        assert onnxruntime_web.whole(onnxruntime_web.folder())
    shutil.rmtree(onnxruntime_web.folder())
    with trying.served(package / "dist") as address:
        monkeypatch.setattr(onnxruntime_web, "ADDRESSES", (f"{address}none", address.rstrip("/")))
        assert onnxruntime_web.whole(onnxruntime_web.folder())
    (package / "dist" / next(iter(published))).write_bytes(b"another")
    for source, words in {package: "not of onnxruntime-web", tmp_path: "expected onnxruntime-web"}.items():
        monkeypatch.setenv(onnxruntime_web.NAMED, str(source))
        with pytest.raises(SmallsetError, match=words):
            onnxruntime_web.folder()


def test_the_folder_has_licences_and_a_page_that_may_load_nothing_else(exported: Path) -> None:
    assert "MIT" in (exported / "onnxruntime-web/LICENSE").read_text(encoding="utf-8")
    page = (exported / "index.html").read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in page
    assert "://" not in page.replace("http://localhost:8000", "")
    assert json.loads((exported / "model.json").read_text())["side"] == 32
