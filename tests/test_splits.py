"""The subset rule: the first photos that decode, in numeric order, disjoint, copied."""

from pathlib import Path

import pytest

from smallset import photos, splits
from smallset.errors import SmallsetError

COUNTS = {"train": 2, "validation": 1, "test": 1}


def test_the_first_photos_go_to_train_the_next_to_validation_the_next_to_test(
    drawn: photos.Photos, tmp_path: Path
) -> None:
    record = splits.copy_subset(drawn.folder, tmp_path / "subset", COUNTS)
    for label in drawn.classes:
        for split, numbers in {"train": [0, 1], "validation": [2], "test": [3]}.items():
            copies = photos.files_of(tmp_path / "subset" / split / label)
            assert [path.name for path in copies] == [f"{label}.{number}.jpg" for number in numbers]
    assert record["photos"] == {split: {"cat": count, "dog": count} for split, count in COUNTS.items()}
    assert record["left_out"] == {}


def test_a_copy_shares_nothing_with_the_original(drawn: photos.Photos, tmp_path: Path) -> None:
    splits.copy_subset(drawn.folder, tmp_path / "subset", COUNTS)
    original, copy = drawn.folder / "cat/cat.0.jpg", tmp_path / "subset/train/cat/cat.0.jpg"
    assert original.read_bytes() == copy.read_bytes()
    assert not original.samefile(copy)


def test_a_photo_that_does_not_decode_is_left_out_with_its_reason(drawn: photos.Photos, tmp_path: Path) -> None:
    (drawn.folder / "cat/cat.1.jpg").write_bytes(b"")
    record = splits.copy_subset(drawn.folder, tmp_path / "subset", COUNTS)
    names = [path.name for path in photos.files_of(tmp_path / "subset/train/cat")]
    assert names == ["cat.0.jpg", "cat.2.jpg"]
    assert list(record["left_out"]) == ["cat/cat.1.jpg"]  # type: ignore[call-overload]
    assert (drawn.folder / "cat/cat.1.jpg").exists()


def test_too_few_photos_says_how_many_there_are(drawn: photos.Photos, tmp_path: Path) -> None:
    with pytest.raises(
        SmallsetError, match=r"cat: expected 9 photos that decode \(9 train\), found 5. Lower the counts"
    ):
        splits.copy_subset(drawn.folder, tmp_path / "subset", {"train": 9})
