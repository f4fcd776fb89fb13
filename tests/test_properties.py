"""What holds for any input: hypothesis draws it."""

import copy
import hashlib
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

from smallset.datasets import archives, splits
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

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


FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
PHOTO = st.fixed_dictionaries(
    {
        "file": st.uuids().map(str),
        "label": st.sampled_from(["cat", "dog", "fox"]),
        "digest": st.integers(0, 40).map(lambda number: hashlib.sha256(b"%d" % number).hexdigest()),
        "group": st.sampled_from(["", "", "", "a", "b", "c"]),
    }
)
ALBUM = st.lists(PHOTO, min_size=1, max_size=60, unique_by=lambda photo: photo["file"])
SEED = st.integers(0, 2**32)


def divided(album: list[dict[str, str]], seed: int, grouped: bool = True) -> dict[str, str]:
    """The split of each photo, by its file; without those that are left out."""
    table = pd.DataFrame(album, columns=["file", "label", "digest", "group"][: 4 if grouped else 3], dtype=str)
    table = table.assign(split=splits.by_fraction(table, FRACTIONS, seed))
    kept = splits.one_split_for_bytes(table, {})
    assert set(kept["split"]) <= set(FRACTIONS)
    return dict(zip(kept["file"], kept["split"], strict=True))


@given(st.data(), ALBUM, ALBUM, SEED)
def test_whatever_becomes_of_the_others_no_photo_moves(
    data: st.DataObject, album: list[dict[str, str]], others: list[dict[str, str]], seed: int
) -> None:
    labels = st.sampled_from(["cat", "dog", "fox", "newt"])
    stay = [dict(photo) for photo in album if data.draw(st.booleans())]  # the rest is deleted, or excluded
    after = [photo | {"label": data.draw(labels)} for photo in stay]  # classes are renamed, photos moved
    after = data.draw(st.permutations([*after, *others]))
    for grouped in (False, True):
        one, two = divided(album, seed, grouped), divided(after, seed, grouped)
        same = [photo["file"] for photo in stay if photo["file"] in one and photo["file"] in two]
        assert grouped or len(same) == len(stay)  # where groups part the same bytes, a photo may be left out
        assert all(one[file] == two[file] for file in same)


@given(ALBUM, SEED)
def test_a_name_does_not_count(album: list[dict[str, str]], seed: int) -> None:
    named = [photo | {"file": f"{number}"} for number, photo in enumerate(album)]
    assert [*divided(named, seed).values()] == [*divided(album, seed).values()]


@given(ALBUM, SEED)
def test_neither_the_same_bytes_nor_a_group_are_in_two_splits(album: list[dict[str, str]], seed: int) -> None:
    split_of = divided(album, seed)
    for key in ("digest", "group"):
        found: dict[str, set[str]] = {}
        for photo in album:
            if photo["file"] in split_of and photo[key]:
                found.setdefault(photo[key], set()).add(split_of[photo["file"]])
        assert all(len(own) == 1 for own in found.values())
    assert {photo["digest"] for photo in album} == {photo["digest"] for photo in album if photo["file"] in split_of}


@given(SEED, st.tuples(*[st.integers(1, 33)] * 3))
@example(1337, (60, 20, 20))
def test_shares_are_so_in_the_mean(seed: int, shares: tuple[int, int, int]) -> None:
    fractions = {split: share / 100 for split, share in zip(FRACTIONS, shares, strict=True)}
    table = pd.DataFrame({"file": "", "digest": [f"{number}" for number in range(4000)]})
    counts = splits.by_fraction(table, fractions, seed).value_counts()
    assert counts.sum() == 4000
    for split, share in fractions.items():
        assert abs(counts[split] - 4000 * share) < 4.5 * (4000 * share * (1 - share)) ** 0.5  # 1 in 150,000
    assert (sum(shares) < 100) == (splits.UNUSED in counts)


@given(st.tuples(*[st.integers(1, 40)] * 4), st.floats(0, 1, exclude_max=True))
def test_a_larger_share_of_test_or_of_validation_takes_from_training_alone(
    parts: tuple[int, int, int, int], place: float
) -> None:
    test, validation, more, less = (part / 160 for part in parts)
    small = {"train": 1 - test - validation, "validation": validation, "test": test}
    before = splits.cut(place, small)
    for larger in ("validation", "test"):
        wider = small | {larger: small[larger] + more, "train": small["train"] - more - less / 2}
        assert splits.cut(place, wider) in ({before} if before != "train" else {"train", larger, splits.UNUSED})
