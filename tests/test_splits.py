"""Splits by count, by fraction and as given. test_properties.py checks what holds for any photos."""

import unicodedata
from typing import Any

import pandas as pd
import pytest
from albums import digest, make_album

from smallset.datasets import splits
from smallset.datasets.dataset import COLUMNS, SPLITS, Dataset
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

SIZES: dict[str, dict[str, Any]] = {
    "count": {"train": 2, "validation": 1, "test": 1},
    "fraction": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "given": dict.fromkeys(SPLITS),
}


def split(dataset: Dataset, by: str, seed: int = 0, **sizes: Any) -> tuple[Dataset, dict[str, str]]:
    return splits.assign_splits(dataset, params.Split(by=by, **(sizes or SIZES[by]), exclude=[]), seed)  # type: ignore[arg-type]


def by_file(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.table["file"], dataset.table["split"], strict=True))


def check(dataset: Dataset, by: str = "fraction", seed: int = 0) -> None:
    p = params.Split(by=by, **SIZES[by], exclude=[])  # type: ignore[arg-type]
    splits.check_complete(split(dataset, by, seed)[0], p, seed, "photos")


def test_by_count_the_first_photos_are_for_training_as_in_listing_8_6() -> None:
    assigned, left_out = split(make_album({"cat": 15, "dog": 12}), "count", train=9, validation=2, test=1)
    assert assigned.table["split"].tolist() == (["train"] * 9 + ["validation"] * 2 + ["test"]) * 2
    assert [*by_file(assigned)] == [f"photos/{label}/{n}.png" for label in ("cat", "dog") for n in range(12)]
    assert left_out == {}


@pytest.mark.parametrize(
    ("by", "album", "message"),
    [
        ("count", make_album({"cat": 3, "dog": 9}), r"cat: expected 4 photos that decode \(2 train \+ 1 val"),
        (
            "count",
            make_album({"cat": 5, "dog": 5}, group=lambda _: "a"),
            "by: count: would divide the groups .* Write `by: f",
        ),
        (
            "given",
            make_album({"cat": 5, "dog": 5}),
            "by: given: expected folders .* found neither. Write `by: fraction`",
        ),
        (
            "given",
            make_album({"cat": 12, "dog": 12}, lambda n: SPLITS[n % 3], lambda n: str(n % 2)),
            "one split, found '0' in test, train, validation, '1' in test, train, validation. Give all",
        ),
    ],
)
def test_photos_that_do_not_fit_the_split_are_an_error(by: str, album: Dataset, message: str) -> None:
    with pytest.raises(SmallsetError, match=message):
        split(album, by)


def test_given_splits_stay() -> None:
    dataset = make_album({"cat": 6, "dog": 6}, split=lambda n: SPLITS[n % 3])
    assert split(dataset, "given")[0] is dataset


def test_splits_are_those_of_0_2_0() -> None:
    assigned, _ = split(make_album({"cat": 12, "dog": 4}), "fraction", seed=1337)
    assert digest("".join(f"{file} {name}\n" for file, name in by_file(assigned).items()))[:16] == "b7195695551ef092"


def test_copies_in_other_groups_are_left_out() -> None:
    dataset = make_album({"cat": 40, "dog": 40}, group=lambda n: f"{n // 4}")
    before = by_file(split(dataset, "fraction", 1)[0])
    groups, digests = (dataset.table.set_index("file")[column].to_dict() for column in ("group", "sha256"))
    first = next(file for file, name in before.items() if name == "test")
    other = next(file for file in before if before[file] == "train" and groups[file] > groups[first])
    copies = [
        ("photos/dog/copy.png", "dog", "", groups[other], digests[first]),
        ("photos/cat/alone.png", "cat", "", "", digests[first]),
    ]
    table = pd.concat([dataset.table, pd.DataFrame(copies, columns=[*COLUMNS])], ignore_index=True)
    assigned, left_out = split(Dataset(table, dataset.classes), "fraction", 1)
    reason = f"the same file as {first}, whose group, {groups[first]}, is in another split"
    assert left_out["photos/dog/copy.png"] == reason
    after = by_file(assigned)
    assert before.items() <= after.items()
    assert ("photos/cat/alone.png" in left_out) != (after.get("photos/cat/alone.png") == "test")


def test_names_of_excluded_photos_may_lack_the_folder_and_be_spelled_differently() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    dataset = make_album({decomposed: 2, "dog": 2})
    rest, left_out = splits.exclude(dataset, [f"{composed}/1.png", "photos/dog/0.png"], "photos")
    assert left_out == dict.fromkeys([f"photos/{decomposed}/1.png", "photos/dog/0.png"], splits.EXCLUDED)
    assert rest.table["file"].tolist() == [f"photos/{decomposed}/0.png", "photos/dog/1.png"]
    with pytest.raises(SmallsetError, match=r"exclude: no photo in photos is called dog/9.png, 9. Write the path, as "):
        splits.exclude(dataset, ["dog/0.png", "dog/9.png", "9"], "photos")


def test_an_empty_split_and_a_given_class_without_training_photos_are_errors_with_a_fix() -> None:
    few = make_album({"cat": 3, "dog": 3})
    with pytest.raises(SmallsetError, match="photos in each split, found none in test. Add") as caught:
        check(few, seed=12)
    check(few, seed=int(str(caught.value).partition("set seed: ")[2].partition(",")[0]))
    with pytest.raises(SmallsetError, match="groups stay undivided.$"):  # no seed helps
        check(make_album({"cat": 2, "dog": 40}, group=lambda _: "a"))
    with pytest.raises(SmallsetError, match="training photos of each class; cat has none. Add photos there.$"):
        check(make_album({"cat": 5, "dog": 40}, lambda n: SPLITS[1 if n < 5 else n % 3]), "given")
    check(make_album({"cat": 5, "dog": 40}, lambda n: SPLITS[0 if n < 5 else n % 3]), "given")


def test_drawn_classes_without_training_photos_are_left_out() -> None:
    assigned, _ = split(make_album({f"class {n}": 1 for n in range(50)}), "fraction")
    p = params.Split(by="fraction", **SIZES["fraction"], exclude=[])
    kept, left_out = splits.leave_out_untrained(assigned, p)
    trained = assigned.table[assigned.table["split"] == "train"]
    assert {*kept.classes} == {*trained["label"]}
    assert kept.table["file"].tolist() == trained["file"].tolist()
    assert left_out == dict.fromkeys({*assigned.table["file"]} - {*trained["file"]}, splits.UNTRAINED)


def test_classes_with_few_test_photos_are_named() -> None:
    counts = pd.DataFrame({"test": {f"class {n}": 49 + n for n in range(3)}})
    assert splits.warn_about_few(counts)[0].startswith("Few test photos: class 0 (49). One mistake")
    assert "class 0 (47), class 1 (48), class 2 (49). One" in splits.warn_about_few(counts - 2)[0]
    assert splits.warn_about_few(counts + 50) == []
    notes = splits.warn_about_few(counts - 50)
    assert notes[0] == "These classes have no test photos, and are not measured: class 1."
