"""What holds for any input, which Hypothesis draws."""

import copy
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from albums import digest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from smallset.datasets import archives, splits
from smallset.datasets.dataset import COLUMNS, Dataset
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text())
KEYS = [(key, name) for key, value in DOCUMENT.items() if isinstance(value, dict) for name in value]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
PARTS = st.sampled_from(["cat", "dog", "Cat", "train", "..", "", "고양이", "a b", "1.jpg", "cat.1.jpg", "dog.2.JPEG"])


@given(st.sampled_from(KEYS), VALUES)
@example(("download", "synthetic"), [])
@example(("fine_tune", "learning_rate"), float("nan"))
@example(("subset", "train"), -1)
@example(("download", "mirrors"), {"url": "x"})
def test_any_value_of_a_param_is_accepted_or_named(where: tuple[str, str], value: object) -> None:
    document: Any = copy.deepcopy(DOCUMENT)
    document[where[0]][where[1]] = value
    try:
        params.parse(document)
    except SmallsetError as error:
        assert f"params.yaml: {where[0]}" in str(error) or "image_size" in str(error)  # noqa: PT017


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool), max_size=8, unique=True))
def test_an_archive_becomes_two_classes_or_is_refused(names: list[str]) -> None:
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
        written = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
        expected = {f"inner/raw/{label}/{label}.{number}.jpg" for label in ("cat", "dog") for number in (1, 2)}
        assert written <= expected | {"a.zip"}


FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
PHOTO = st.fixed_dictionaries(
    {
        "file": st.uuids().map(str),
        "label": st.sampled_from(["cat", "dog", "fox"]),
        "sha256": st.integers(0, 40).map(str).map(digest),
        "group": st.sampled_from(["", "", "", "a", "b", "c"]),
    }
)
ALBUM = st.lists(PHOTO, min_size=1, max_size=60, unique_by=lambda photo: photo["file"])
SEED = st.integers(0, 2**32)


def divide(album: list[dict[str, str]], seed: int, grouped: bool = True) -> dict[str, str]:
    """The split of each photo, by its file, without those that are left out."""
    rows = [{"split": ""} | photo | ({} if grouped else {"group": ""}) for photo in album]
    dataset = Dataset(pd.DataFrame(rows, columns=[*COLUMNS], dtype=object), ())
    p = params.Split(by="fraction", **FRACTIONS, exclude=[])  # type: ignore[arg-type]
    table = splits.assign_splits(dataset, p, seed)[0].table
    assert set(table["split"]) <= set(FRACTIONS)
    return dict(zip(table["file"], table["split"], strict=True))


@given(st.data(), ALBUM, ALBUM, SEED)
def test_changes_to_other_photos_move_no_photo(
    data: st.DataObject, album: list[dict[str, str]], others: list[dict[str, str]], seed: int
) -> None:
    labels = st.sampled_from(["cat", "dog", "fox", "newt"])
    stay = [dict(photo) for photo in album if data.draw(st.booleans())]  # the others are deleted or excluded
    after = [photo | {"label": data.draw(labels)} for photo in stay]  # classes are renamed, photos relabeled
    after = data.draw(st.permutations([*after, *others]))
    for grouped in (False, True):
        before, now = divide(album, seed, grouped), divide(after, seed, grouped)
        same = [photo["file"] for photo in stay if photo["file"] in before and photo["file"] in now]
        assert grouped or len(same) == len(stay)  # with groups, copies may be left out
        assert all(before[file] == now[file] for file in same)


@given(ALBUM, SEED)
def test_neither_a_file_nor_a_group_is_in_two_splits(album: list[dict[str, str]], seed: int) -> None:
    table = pd.DataFrame(album).assign(split=lambda photos: photos["file"].map(divide(album, seed)))
    kept = table.dropna(subset="split")
    for key in ("sha256", "group"):
        pairs = kept.loc[kept[key] != "", [key, "split"]].drop_duplicates()
        assert pairs[key].is_unique
    assert {*table["sha256"]} == {*kept["sha256"]}


@given(SEED, st.tuples(*[st.integers(1, 33)] * 3))
@example(1337, (60, 20, 20))
def test_fractions_hold_on_average(seed: int, percents: tuple[int, int, int]) -> None:
    fractions = {split: percent / 100 for split, percent in zip(FRACTIONS, percents, strict=True)}
    table = pd.DataFrame({"group": "", "sha256": [f"{number}" for number in range(4000)]})
    counts = splits.draw_splits(table, fractions, seed).value_counts()
    assert counts.sum() == 4000
    for split, fraction in fractions.items():
        assert abs(counts[split] - 4000 * fraction) < 4.5 * (4000 * fraction * (1 - fraction)) ** 0.5  # 1 in 150,000
    assert (sum(percents) < 100) == (splits.UNUSED in counts)


@given(SEED, st.tuples(*[st.integers(1, 40)] * 4))
def test_a_larger_test_or_validation_split_only_takes_training_photos(
    seed: int, parts: tuple[int, int, int, int]
) -> None:
    test, validation, more, less = (part / 160 for part in parts)
    small = {"train": 1 - test - validation, "validation": validation, "test": test}
    table = pd.DataFrame({"group": "", "sha256": [f"{number}" for number in range(50)]})
    before = splits.draw_splits(table, small, seed)
    for larger in ("validation", "test"):
        wider = small | {larger: small[larger] + more, "train": small["train"] - more - less / 2}
        after = splits.draw_splits(table, wider, seed)
        assert {*after[before == "train"]} <= {"train", larger, splits.UNUSED}
        assert (after == before)[before != "train"].all()
