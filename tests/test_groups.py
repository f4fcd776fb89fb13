"""Photos that belong together: merged groups, copies of a picture, Roboflow's versions, bursts."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from albums import digest, put
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smallset.datasets import folders, groups
from smallset.datasets.dataset import COLUMNS, Dataset
from smallset.pipeline.errors import SmallsetError

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["", "", "a", "b", "c", "d"])), max_size=20)


def test_groups_that_share_a_photo_have_the_name_of_the_first_one() -> None:
    merged, parts = groups.merge([1, 1, 2, 2, 3, 4, 4, 5], ["b", "c", "c", "a", "d", "e", "", ""])
    assert merged.tolist() == ["a", "a", "a", "a", "d", "e", "e", ""]
    assert parts == ["a + b + c"]
    assert groups.describe_merged(parts, "x") == ["These groups are merged, because x: a + b + c."]
    assert groups.merge([], [])[0].empty


@given(PAIRS, PAIRS)
def test_other_photos_change_a_group_only_by_merging_it(pairs: list[Any], others: list[Any]) -> None:
    before = groups.merge(*zip(*pairs, strict=True))[0] if pairs else pd.Series(dtype=object)
    after = groups.merge(*zip(*pairs, *others, strict=True))[0] if pairs else before
    for old, new, (key, group) in zip(before, after, pairs, strict=False):
        assert new == old or not old or new < old  # the name of an earlier group, or the first group of a photo
        assert not group or (new and new <= group)
        assert all(after[row] == new for row, (other, _) in enumerate(pairs) if other == key)


def album(*rows: tuple[str, str, str, str]) -> Dataset:
    """Photos with a label, a split, a group and pixels."""
    table = [
        (f"{n}.png", label, split, group, digest(f"{n}"), pixels)
        for n, (label, split, group, pixels) in enumerate(rows)
    ]
    return Dataset(pd.DataFrame(table, columns=[*COLUMNS, "pixels"], dtype=object), ("cat", "dog"))


def test_a_picture_counts_once_per_label_and_in_one_split() -> None:
    photos = album(
        ("cat", "train", "", "x"), ("cat", "train", "", "x"), ("dog", "train", "", "x"),  # one picture with two labels
        ("cat", "train", "", "y"), ("dog", "validation", "", "y"), ("cat", "test", "", "y"), ("cat", "test", "", "z"),
    )  # fmt: skip
    kept, copies = groups.count_once(photos)
    assert kept.table["file"].tolist() == ["0.png", "2.png", "5.png", "6.png"]
    assert copies == {"1.png": "0.png", "3.png": "5.png", "4.png": "5.png"}


def test_given_splits_with_a_picture_on_both_sides_are_an_error_with_the_count() -> None:
    sides = [("cat", split, "", pixels) for pixels in "xy" for split in ("train", "test")]
    with pytest.raises(SmallsetError, match=r"2 pictures in two splits \(0.png = 1.png, 2.png = 3.png\).* Remove one"):
        groups.check_given(album(*sides, ("dog", "test", "", "z")).table, "pixels")
    groups.check_given(album(*sides[:1], *sides[:1], ("dog", "test", "", "z")).table, "pixels")


def test_the_groups_of_copies_are_merged() -> None:
    photos = album(("cat", "", "p 2", "x"), ("cat", "", "p 1", "x"), ("dog", "", "p 2", "y"), ("dog", "", "", "x"))
    merged, notes = groups.merge_copies(photos)
    assert merged.table["group"].tolist() == ["p 1"] * 4
    assert notes == ["These groups are merged, because they contain the same picture: p 1 + p 2."]


def test_roboflow_s_versions_of_a_photo_are_a_group(tmp_path: Path) -> None:
    names = [
        f"{label}/{number}_jpg.rf.{'ab' * 16}{copy}.jpg"
        for label in ("cat", "dog")
        for number in (1, 2)
        for copy in "123"
    ]
    dataset, notes = folders.read_folder(put(tmp_path / "a", *names, "cat/other.jpg"))
    assert dataset.table.groupby("group")["file"].count().to_dict() == {"": 1, "1_jpg": 6, "2_jpg": 6}
    assert notes == ["Groups: 12 files are Roboflow's versions of 2 photos. The versions of a photo are in one split."]
    given = [f"{split}/{name}" for split, name in zip(["train", "test"] * 6, names, strict=True)]
    dataset, notes = folders.read_folder(put(tmp_path / "b", *given))
    assert set(dataset.table["group"]) == {
        ""
    }  # somebody has divided them already, or they have the same name by chance


def test_bursts_are_photos_of_one_camera_and_minute_or_numbered_names(tmp_path: Path) -> None:
    times = {"a/1.jpg": "10:30:01", "a/2.jpg": "10:30:59", "a/3.jpg": "10:31:00", "b/4.jpg": "10:30:02"}
    for name, time in times.items():
        image, exif = Image.new("RGB", (8, 8)), Image.Exif()
        exif[272] = "Camera"
        exif.get_ifd(0x8769)[36867] = f"2024:05:01 {time}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name, exif=exif)
    for name in ("a/IMG_0001_0.png", "a/IMG_0001_1.png", "a/IMG_0002.png", "a/cat_1.png", "a/cat_2.png", "b/x.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "b/broken_1_1.jpg").write_bytes(b"\xff\xd8\xff\xe1")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    minute, numbered = "a: Camera, 2024:05:01 10:30", "a/IMG_0001"
    expected = {"a/1.jpg": minute, "a/2.jpg": minute, "a/IMG_0001_0.png": numbered, "a/IMG_0001_1.png": numbered}
    assert groups.find_bursts({file: tmp_path / file for file in files}) == expected
