"""What holds for any input: hypothesis draws it."""

import copy
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pipelines import ROOT

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.sources import archives, splits

DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text())
KEYS = [(key, name) for key, value in DOCUMENT.items() if isinstance(value, dict) for name in value]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
PARTS = st.sampled_from(["cat", "dog", "Cat", "train", "..", "", "고양이", "a b", "1.jpg", "cat.1.jpg", "dog.2.JPEG"])
SIZES = st.fixed_dictionaries({split: st.integers(1, 4) for split in ("train", "validation", "test")})


@given(st.sampled_from(KEYS), VALUES)
@example(("download", "sample"), [])
@example(("fine_tune", "learning_rate"), float("nan"))
@example(("subset", "train"), -1)
@example(("download", "mirrors"), {"url": "x"})
def test_any_value_of_a_param_is_taken_or_named(where: tuple[str, str], value: object) -> None:
    document: Any = copy.deepcopy(DOCUMENT)
    document[where[0]][where[1]] = value
    try:
        params.parse(document)
    except SmallsetError as error:
        assert f"params.yaml: {where[0]}" in str(error) or "image: side" in str(error)  # noqa: PT017


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool), max_size=8, unique=True))
def test_an_archive_is_read_into_its_two_classes_or_refused(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "inner/raw"
        target.mkdir(parents=True)
        with zipfile.ZipFile(Path(folder) / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, name)
        try:
            archives.unpack(Path(folder) / "a.zip", target)
        except SmallsetError as error:
            assert "a.zip" in str(error)  # noqa: PT017
        written = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()} - {
            "a.zip"
        }
        expected = {f"inner/raw/{label}/{label}.{number}.jpg" for label in ("cat", "dog") for number in (1, 2)}
        assert written <= expected


@given(st.lists(st.booleans(), max_size=15), SIZES)
def test_by_count_takes_the_first_photos_that_decode(decode: list[bool], counts: dict[str, int]) -> None:
    files = [f"cat/{number}.jpg" for number in range(len(decode))]
    good = [file for file, fine in zip(files, decode, strict=True) if fine]
    table = pd.DataFrame({"file": files, "label": "cat"}, dtype=str)
    with mock.patch.object(splits, "decodes", lambda path, _: path.relative_to("raw").as_posix() in good):
        try:
            chosen = splits.by_count(Path("raw"), table, counts, {})
        except SmallsetError:
            assert len(good) < sum(counts.values())
            return
    expected = [split for split, count in counts.items() for _ in range(count)]
    taken = {file: split for file, split in zip(files, chosen, strict=True) if split != splits.UNUSED}
    assert taken == dict(zip(good, expected, strict=False))


@given(st.data(), st.integers(0, 2**32))
def test_by_fraction_keeps_groups_whole_and_shares_near(data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(1, 60))
    labels = data.draw(st.lists(st.sampled_from(["cat", "dog"]), min_size=count, max_size=count))
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=count, max_size=count))
    table = pd.DataFrame({"file": [f"{row}.jpg" for row in range(count)], "label": labels, "group": groups}, dtype=str)
    fractions = {"train": 0.6, "validation": 0.2, "test": 0.2}
    split = splits.by_fraction(table, fractions, seed)
    assert split.isin([*fractions]).all()
    assert (split.groupby(table["group"]).nunique().drop("", errors="ignore") == 1).all()
    alone = splits.by_fraction(table.drop(columns="group"), fractions, seed)
    for label, own in alone.groupby(table["label"]):
        for name, share in fractions.items():
            assert abs((own == name).sum() - share * len(own)) <= 1, label
