"""The examples that readers copy run: those in the docstrings of the public API, and the notebook."""

import doctest
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import smallset
from smallset.datasets import synthetic

DOCS = Path(__file__).parents[1] / "docs"
API = re.findall(r"^::: smallset\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)  # in this order


def test_the_docstrings_of_the_public_api_are_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(API) == smallset.__all__
    monkeypatch.chdir(tmp_path)
    synthetic.draw(Path("pets"), 20, 64, seed=0)
    docstrings = [inspect.getdoc(getattr(smallset, name)) or "" for name in API]
    assert all(">>> " in docstring for docstring in docstrings)
    session = doctest.DocTestParser().get_doctest("\n\n".join(docstrings), {"smallset": smallset}, "API", None, 0)
    assert not doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session).failed


@pytest.mark.slow
def test_the_notebook_runs_and_shows_no_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tf2onnx")
    monkeypatch.chdir(tmp_path)
    cells: list[dict[str, Any]] = json.loads((DOCS / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in cells if "image/" in str(cell.get("outputs"))]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 - the notebook is a file of this repository
    assert "fruit/apple/mistake.png" in smallset.find_label_issues(names["features"])["file"][:5].tolist()
    assert names["classifier"].predict("new/apple.png").label == "apple"
    assert Path("fruit.onnx").exists()
