"""The examples that readers copy run: those in the docstrings of the public API."""

import doctest
import inspect
from pathlib import Path

import pytest

import smallset
from smallset.datasets import synthetic

API = "Dataset embed Features find_issues LinearProbe Classifier Prediction evaluate fine_tune load"


def test_the_docstrings_of_the_public_api_are_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(API.split()) == smallset.__all__
    monkeypatch.chdir(tmp_path)
    synthetic.draw(Path("pets"), 20, 64, seed=0)
    docstrings = [inspect.getdoc(getattr(smallset, name)) or "" for name in API.split()]
    assert all(">>> " in docstring for docstring in docstrings)
    session = doctest.DocTestParser().get_doctest("\n\n".join(docstrings), {"smallset": smallset}, "API", None, 0)
    assert not doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session).failed
