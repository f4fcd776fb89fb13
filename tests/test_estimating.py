"""How long a run will take: parts that add up, and words that promise no more than they can."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from smallset.cli import bringing, estimate
from smallset.datasets import lists
from smallset.pipeline import params


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3, "a minute"), (89, "a minute"), (100, "2 minutes"), (3600, "60 minutes"), (5400, "2 hours"), (9000, "2 hours")],
)
def test_a_guess_is_rounded(seconds: float, expected: str) -> None:
    assert estimate.about(seconds) == f"about {expected}"


@pytest.mark.parametrize("chapter", [False, True])
def test_more_photos_take_longer(chapter: bool, drawn: lists.Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "passing", lambda part: 1e-11 * part.count_params())
    monkeypatch.setattr(estimate, "step", lambda parts, _: 1e-11 * sum(part.count_params() for part in parts))
    monkeypatch.setattr(estimate, "about", lambda seconds: seconds)
    p = params.parse(yaml.safe_load(bringing.params(chapter)) | {"precision": "float32"})
    few, many = (
        estimate.estimate(drawn.paths(), pd.DataFrame({"train": [n, n], "validation": n, "test": n}), p, 1.0)
        for n in (10, 10000)
    )
    scripts = estimate.CHAPTER if chapter else estimate.LEAN
    assert scripts < float(few) < scripts + 10 < float(many)


def test_photos_that_do_not_decode_are_no_trouble(tmp_path: Path, drawn: lists.Photos) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no photo")
    assert 0 < estimate.decoding_one([str(tmp_path / "x.jpg"), *drawn.paths()]) < 1


def test_a_part_of_a_network_is_timed() -> None:
    p = params.parse(yaml.safe_load(bringing.params(chapter=False)))
    trunk, top = estimate.halves(p, 64)
    assert 0 < estimate.passing(top) < 1
    assert estimate.training((trunk, top), 3, p.pooled) > 0
    assert trunk.output_shape == top.input_shape
