"""Splits by count, by fraction and as given. test_properties.py checks what holds for any photos."""

import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from smallset.datasets import splits
from smallset.datasets.dataset import COLUMNS, SPLITS, Dataset
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
COUNTS = {"train": 2, "validation": 1, "test": 1}
SIZES: dict[str, dict[str, Any]] = {"count": COUNTS, "fraction": FRACTIONS, "given": dict.fromkeys(SPLITS)}

Column = Callable[[int], str]


def album(sizes: dict[str, int], split: Column = lambda _: "", group: Column = lambda _: "") -> Dataset:
    """Photos photos/<class>/<number>.png; the columns are functions of the number."""
    rows = [
        (f"photos/{label}/{n}.png", label, split(n), group(n), hashlib.sha256(f"{label} {n}".encode()).hexdigest())
        for label, size in sizes.items()
        for n in range(size)
    ]
    return Dataset(pd.DataFrame(rows, columns=[*COLUMNS], dtype=object), tuple(sizes))


def split(dataset: Dataset, by: str, seed: int = 0, **sizes: Any) -> tuple[Dataset, dict[str, str]]:
    p = params.Split(by=by, **(sizes or SIZES[by]), exclude=[])  # type: ignore[arg-type]
    return splits.assign_splits(dataset, p, seed)


def by_file(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.table["file"], dataset.table["split"], strict=True))


def number(file: str) -> int:
    return int(file.rpartition("/")[2].removesuffix(".png"))


def check(dataset: Dataset, by: str = "fraction", seed: int = 0) -> None:
    p = params.Split(by=by, **SIZES[by], exclude=[])  # type: ignore[arg-type]
    splits.check_complete(split(dataset, by, seed)[0], p, seed, "photos")


def test_by_count_the_first_photos_are_for_training_as_in_listing_8_6() -> None:
    assigned, left_out = split(album({"cat": 15, "dog": 12}), "count", train=9, validation=2, test=1)
    expected = ["train"] * 9 + ["validation"] * 2 + ["test"]
    assert assigned.table["split"].tolist() == expected * 2
    assert [number(file) for file in assigned.table["file"]] == [*range(12)] * 2
    assert left_out == {}


def test_too_few_photos_for_the_counts() -> None:
    message = r"cat: expected 9 photos that decode \(7 train \+ 1 validation \+ 1 test\), found 5. Lower the counts"
    with pytest.raises(SmallsetError, match=message):
        split(album({"cat": 5, "dog": 9}), "count", train=7, validation=1, test=1)


def test_counts_would_divide_groups() -> None:
    with pytest.raises(SmallsetError, match="by: count would divide the groups .* Set by: fraction"):
        split(album({"cat": 5, "dog": 5}, group=lambda _: "a"), "count")


def test_groups_stay_whole() -> None:
    assigned, _ = split(album({"cat": 300, "dog": 300}, group=lambda n: f"{n // 5}" if n % 5 else ""), "fraction")
    grouped = assigned.table[assigned.table["group"] != ""]
    assert len(grouped.drop_duplicates(["group", "split"])) == grouped["group"].nunique() == 60
    assert set(grouped["split"]) == {*SPLITS}


def test_splits_are_those_of_0_2_0() -> None:
    assigned, _ = split(album({"cat": 12, "dog": 4}), "fraction", seed=1337)
    text = "".join(f"{file} {name}\n" for file, name in by_file(assigned).items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "b7195695551ef092"


def test_copies_in_other_groups_are_left_out() -> None:
    dataset = album({"cat": 40, "dog": 40}, group=lambda n: f"{n // 4}")
    before = by_file(split(dataset, "fraction", 1)[0])
    first = next(file for file, name in before.items() if name == "test")
    other = next(file for file, name in before.items() if name == "train" and number(file) // 4 > number(first) // 4)
    rows = dataset.table.set_index("file")
    copies = [
        ("photos/dog/copy.png", "dog", "", rows.loc[other, "group"], rows.loc[first, "sha256"]),
        ("photos/cat/alone.png", "cat", "", "", rows.loc[first, "sha256"]),
    ]
    table = pd.concat([dataset.table, pd.DataFrame(copies, columns=[*COLUMNS])], ignore_index=True)
    assigned, left_out = split(Dataset(table, dataset.classes), "fraction", 1)
    reason = f"the same file as {first}, whose group, {number(first) // 4}, is in another split"
    assert left_out["photos/dog/copy.png"] == reason
    after = by_file(assigned)
    assert before.items() <= after.items()
    assert ("photos/cat/alone.png" in left_out) != (after.get("photos/cat/alone.png") == "test")


def test_given_splits_stay() -> None:
    dataset = album({"cat": 6, "dog": 6}, split=lambda n: SPLITS[n % 3])
    assert split(dataset, "given")[0] is dataset


def test_given_without_splits_and_with_divided_groups() -> None:
    with pytest.raises(SmallsetError, match="by: given expects folders .* found neither. Set by: fraction"):
        split(album({"cat": 5, "dog": 5}), "given")
    with pytest.raises(SmallsetError, match="several splits: '0' in test, train, validation; |, '1' in test"):
        split(album({"cat": 12, "dog": 12}, lambda n: SPLITS[n % 3], lambda n: str(n % 2)), "given")


def test_names_of_excluded_photos_may_lack_the_folder_and_be_spelled_differently() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    dataset = album({decomposed: 2, "dog": 2})
    rest, left_out = splits.exclude(dataset, [f"{composed}/1.png", "photos/dog/0.png"], "photos")
    assert left_out == dict.fromkeys([f"photos/{decomposed}/1.png", "photos/dog/0.png"], splits.EXCLUDED)
    assert rest.table["file"].tolist() == [f"photos/{decomposed}/0.png", "photos/dog/1.png"]
    with pytest.raises(SmallsetError, match=r"exclude: no photo in photos is called dog/9.png, 9. Write the path, as "):
        splits.exclude(dataset, ["dog/0.png", "dog/9.png", "9"], "photos")


def test_a_class_without_photos_in_a_split_is_an_error_with_a_seed_that_works() -> None:
    dataset = album({"cat": 4, "dog": 40})
    with pytest.raises(SmallsetError, match="photos: expected photos of each class in each split; cat has ") as caught:
        check(dataset)
    text = str(caught.value)
    assert "Add photos of it, or make that split larger" in text
    check(dataset, seed=int(text.partition("set seed: ")[2].partition(",")[0]))
    with pytest.raises(SmallsetError, match="groups stay undivided.$"):  # no seed helps
        check(album({"cat": 2, "dog": 40}))
    with pytest.raises(SmallsetError, match="cat has 5 train, 0 validation, 0 test. Add photos of it there.$"):
        check(album({"cat": 5, "dog": 40}, lambda n: SPLITS[0 if n < 5 else n % 3]), "given")


def test_errors_and_warnings_stay_short_with_5000_classes() -> None:
    dataset = album({f"class {n}": 1 for n in range(5000)})
    with pytest.raises(SmallsetError) as caught:
        check(dataset)
    assert len(str(caught.value)) < 1000
    assert "and 4,994 more" in str(caught.value)


def test_classes_with_few_test_photos_are_named() -> None:
    counts = pd.DataFrame({"test": {f"class {n}": 49 + n for n in range(3)}})
    assert splits.warn_about_few(counts)[0].startswith("Few test photos: class 0 (49). One mistake")
    assert "class 0 (47), class 1 (48), class 2 (49). One" in splits.warn_about_few(counts - 2)[0]
    assert splits.warn_about_few(counts + 50) == []
