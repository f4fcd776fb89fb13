"""Splits by count, by fraction and as given: disjoint, in numeric order, with every class, copied.

test_properties.py has what holds of splits by fraction whatever the photos are.
"""

import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from smallset.datasets import lists, splits
from smallset.images import decoding
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

Draw = Callable[..., Path]
COUNTS = {"train": 2, "validation": 1, "test": 1}
FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
ENOUGH = 40  # photos of a class, of which each split has some with the seeds used here


def subset(raw: Path, by: str = "count", sizes: dict[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    p = params.Subset(by=by, **(sizes or dict.fromkeys(COUNTS)))  # type: ignore[arg-type]
    return splits.copy_subset(raw, raw.parent / f"subset{seed}", p, seed)


def copies(raw: Path, seed: int = 0) -> dict[str, list[str]]:
    """<class>/<file> by split."""
    return {split: list(lists.find(raw.parent / f"subset{seed}" / split).files) for split in COUNTS}


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Make raw/<class>/ with plain 1 px photos 0.png, 1.png, …, so many a class, each of a colour of its own."""

    def plain(**counts: int) -> Path:
        for label, count in counts.items():
            (tmp_path / "raw" / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (1, 1), (ord(label[0]), 0, number)).save(tmp_path / "raw" / label / f"{number}.png")
        return tmp_path / "raw"

    return plain


def know(raw: Path, **columns: Callable[[str], str]) -> None:
    """Write photos.csv with columns made from each file's name."""
    files = lists.find(raw).files
    known = {name: [rule(file) for file in files] for name, rule in columns.items()}
    labels = [file.partition("/")[0] for file in files]
    pd.DataFrame({"file": files, "label": labels, **known}).to_csv(raw / "photos.csv", index=False)


def number(file: str) -> int:
    return int(Path(file).stem)


def test_the_first_photos_go_to_train_the_next_to_validation_the_next_to_test(draw: Draw) -> None:
    raw = draw(cat=12, dog=12)
    record = subset(raw, "count", {"train": 9, "validation": 2, "test": 1})
    assert copies(raw) == {
        "train": [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(9)],
        "validation": [f"{label}/{number}.png" for label in ("cat", "dog") for number in (9, 10)],
        "test": [f"{label}/11.png" for label in ("cat", "dog")],
    }
    assert record == {
        "photos": {"train": {"cat": 9, "dog": 9}, "validation": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}},
        "left_out": {},
    }


def test_a_copy_shares_nothing_with_the_original(drawn: lists.Photos) -> None:
    subset(drawn.folder, "count", COUNTS)
    original, copy = drawn.folder / "cat/cat.0.jpg", drawn.folder.parent / "subset0/train/cat/cat.0.jpg"
    assert original.read_bytes() == copy.read_bytes()
    assert not original.samefile(copy)


@pytest.mark.parametrize(("by", "sizes"), [("count", COUNTS), ("fraction", FRACTIONS), ("given", None)])
def test_a_photo_that_does_not_decode_is_left_out_with_its_reason(draw: Draw, by: str, sizes: Any) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    (raw / "cat/0.png").write_bytes(b"")
    know(raw, split=lambda file: [*COUNTS][number(file) % 3])
    record = subset(raw, by, sizes)
    assert [*record["left_out"]] == ["cat/0.png"]
    assert "cat/0.png" not in [file for files in copies(raw).values() for file in files]
    assert (raw / "cat/0.png").exists()
    said = splits.summary(record)
    assert re.match(
        r"\d+ photos of 2 classes: .* test; 1 left out, one by one in metrics/subset.json: 1 does not decode .*\n", said
    )


def test_each_photo_is_decoded_once_and_no_more_than_are_needed(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    seen: list[Path] = []
    monkeypatch.setattr(decoding, "decode", seen.append)
    subset(raw, "count", COUNTS)
    assert len(seen) == 8
    record = subset(raw, "fraction", {"train": 0.2, "validation": 0.2, "test": 0.2}, seed=1)
    assert len({*seen[8:]}) == len(seen[8:]) == sum(sum(own.values()) for own in record["photos"].values()) < 80


def test_too_few_photos_says_how_many_there_are(drawn: lists.Photos) -> None:
    message = r"cat: expected 9 photos that decode \(7 train \+ 1 validation \+ 1 test\), found 5. Lower the counts"
    with pytest.raises(SmallsetError, match=message):
        subset(drawn.folder, "count", COUNTS | {"train": 7})


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("fractions", [FRACTIONS, {"train": 0.4, "validation": 0.1, "test": 0.2}])
def test_fractions_are_near_disjoint_and_in_numeric_order(
    draw: Draw, seed: int, grouped: bool, fractions: dict[str, float]
) -> None:
    sizes = {"cat": 50, "dog": 110, "horse": 200}
    raw = draw(**sizes)
    if grouped:  # twos and threes, and every fifth photo alone
        know(raw, group=lambda file: "" if number(file) % 5 == 4 else f"{file[0]}{number(file) // 5}{number(file) % 2}")
    record = subset(raw, "fraction", fractions, seed)
    chosen = copies(raw, seed)
    files = [file for files in chosen.values() for file in files]
    assert len({*files}) == len(files)
    for split, fraction in fractions.items():
        assert chosen[split] == [file for file in lists.find(raw).files if file in chosen[split]]
        for label, count in sizes.items():  # within 4 standard deviations; of groups of 2, those are larger
            spread = 4 * (count * fraction * (1 - fraction) * (2 if grouped else 1)) ** 0.5
            assert abs(record["photos"][split][label] - fraction * count) <= spread
    if grouped:
        listed = pd.read_csv(raw / "photos.csv", keep_default_na=False).set_index("file")
        groups = [group for files in chosen.values() for group in {*listed.loc[files, "group"]} - {""}]
        assert len({*groups}) == len(groups)


def test_what_happens_to_other_photos_moves_none(draw: Draw) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    subset(raw, "fraction", FRACTIONS, seed=1)
    before = {file: split for split, files in copies(raw, seed=1).items() for file in files}
    again = raw.parent / "again"
    shutil.copytree(raw / "dog", again / "wolf")  # a class of another name
    shutil.copytree(raw / "cat", again / "cat")
    for name in ("0.png", "7.png"):
        (again / "wolf" / name).unlink()
    (again / "wolf/1.png").rename(again / "cat/from the wolves.png")
    for n in range(ENOUGH):
        (again / "newt").mkdir(exist_ok=True)
        Image.new("RGB", (1, 1), (0, 1, n)).save(again / f"newt/{n}.png")
    p = params.Subset(by="fraction", **FRACTIONS, exclude=["cat/3.png"])
    splits.copy_subset(again, raw.parent / "subset2", p, 1)
    after = {file: split for split, files in copies(raw, seed=2).items() for file in files}
    moved = {"cat/from the wolves.png": "dog/1.png"}
    old = {file: moved.get(file, file.replace("wolf", "dog")) for file in after if not file.startswith("newt")}
    assert {old[file]: after[file] for file in old} == {
        file: split for file, split in before.items() if file not in ("dog/0.png", "dog/7.png", "cat/3.png")
    }


def test_a_copy_that_a_group_puts_into_another_split_is_left_out_and_moves_no_photo(draw: Draw) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    know(raw, group=lambda file: f"{number(file) // 4}")
    subset(raw, "fraction", FRACTIONS, seed=1)
    before = copies(raw, seed=1)
    first = next(file for file in before["test"] if file.startswith("cat"))
    other = next(file for file in before["train"] if f"{number(file) // 4}" > f"{number(first) // 4}")
    groups = {file: f"{number(file) // 4}" for files in before.values() for file in files}
    groups |= {"cat/alone.png": "", "dog/copy.png": groups[other]}
    for file in ("cat/alone.png", "dog/copy.png"):
        shutil.copy(raw / first, raw / file)
    know(raw, group=groups.__getitem__)
    shutil.rmtree(raw.parent / "subset1")
    left_out = subset(raw, "fraction", FRACTIONS, seed=1)["left_out"]
    reason = f"the same bytes as {first}, which its group, {groups[first]}, puts into another split"
    assert left_out["dog/copy.png"] == reason
    assert left_out.get("cat/alone.png", reason) == reason
    after = copies(raw, seed=1)
    assert all({*files} <= {*after[split]} for split, files in before.items())
    assert ("cat/alone.png" in after["test"]) != ("cat/alone.png" in left_out)


def test_a_group_with_photos_of_two_classes_stays_whole(draw: Draw) -> None:
    raw = draw(cat=120, dog=120)
    know(raw, group=lambda file: f"{number(file) // 4}")  # four cats and four dogs in each of thirty groups
    subset(raw, "fraction", FRACTIONS)
    groups = [{number(file) // 4 for file in files} for files in copies(raw).values()]
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 30
    for table in splits.listed(raw.parent / "subset0", raw, {}).values():
        assert list(table) == ["file", "label", "digest", "group"]
        assert table["group"].tolist() == [f"{number(file) // 4}" for file in table["file"]]


def test_given_splits_are_taken_as_they_are(draw: Draw) -> None:
    raw = draw(cat=12, dog=12)
    know(raw, split=lambda file: {0: "test", 1: "validation"}.get(number(file) % 4, "train"))
    record = subset(raw, "given")
    assert record["photos"]["train"] == {"cat": 6, "dog": 6}
    assert copies(raw)["test"] == [f"{label}/{number}.png" for label in ("cat", "dog") for number in (0, 4, 8)]


@pytest.fixture
def five(draw: Draw) -> Path:
    return draw(cat=5, dog=5)


@pytest.mark.parametrize(("by", "sizes"), [("count", COUNTS), ("fraction", FRACTIONS), ("given", None)])
def test_an_excluded_photo_is_left_out_with_its_reason(draw: Draw, by: str, sizes: Any) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    know(raw, split=lambda file: [*COUNTS][number(file) % 3])
    subset(raw, by, sizes, seed=1)
    before = copies(raw, seed=1)
    out = before["train"][0]
    sizes = (sizes or dict.fromkeys(COUNTS)) | {"exclude": [out]}
    record = splits.copy_subset(raw, raw.parent / "subset2", params.Subset(by=by, **sizes), 1)  # type: ignore[arg-type]
    assert record["left_out"] == {out: "excluded in params.yaml"}
    if by == "count":  # the next one takes its place
        assert copies(raw, seed=2)["train"][:2] == ["cat/1.png", "cat/2.png"]
    else:  # no other photo moves
        assert copies(raw, seed=2) == before | {"train": before["train"][1:]}


def test_an_excluded_photo_may_be_typed_in_either_spelling(five: Path) -> None:
    whole, apart = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    (five / "cat/0.png").rename(five / "cat" / apart)
    (five / "dog/0.png").rename(five / "dog" / whole)
    names = [f"cat/{whole}", f"dog/{apart}"]
    assert [*splits.excluded(lists.find(five), names)] == [f"cat/{apart}", f"dog/{whole}"]


def test_an_excluded_photo_that_is_not_there_is_an_error(five: Path) -> None:
    with pytest.raises(SmallsetError, match="params.yaml: subset: exclude: no photo in .*raw is called cat/9.png, 9"):
        subset(five, "count", COUNTS | {"exclude": ["cat/0.png", "cat/9.png", "9"]})


def test_given_without_splits_names_the_cure(five: Path) -> None:
    with pytest.raises(SmallsetError, match="subset: by: given expects folders .* found neither. Set by: fraction"):
        subset(five, "given")


def test_counts_do_not_divide_groups(five: Path) -> None:
    know(five, group=lambda _: "a")
    with pytest.raises(SmallsetError, match="by: count would divide the groups .* Set by: fraction"):
        subset(five, "count", COUNTS)


def test_a_class_that_is_not_in_every_split_says_its_counts_and_the_cure(draw: Draw) -> None:
    raw = draw(cat=4, dog=ENOUGH)
    with pytest.raises(SmallsetError, match="raw: expected photos of each class in each split; cat has") as found:
        subset(raw, "fraction", FRACTIONS)
    text = str(found.value)
    counts = [int(word.split()[0]) for word in text.partition("cat has ")[2].partition(".")[0].split(", ")]
    assert sum(counts) == 4
    assert 0 in counts
    assert "Add photos of it, or give the split a larger share" in text
    seed = int(text.partition("set seed: ")[2].partition(":")[0])
    assert min(own["cat"] for own in subset(raw, "fraction", FRACTIONS, seed)["photos"].values()) > 0


def test_two_photos_are_too_few_with_any_seed(draw: Draw) -> None:
    with pytest.raises(SmallsetError, match="groups are not divided.$"):
        subset(draw(cat=2, dog=ENOUGH), "fraction", FRACTIONS)


@pytest.mark.parametrize(("by", "sizes"), [("fraction", FRACTIONS), ("given", None)])
def test_a_class_of_which_none_decodes_is_an_error(draw: Draw, by: str, sizes: Any) -> None:
    raw = draw(cat=ENOUGH, dog=ENOUGH)
    know(raw, split=lambda file: [*COUNTS][number(file) % 3])
    for path in (raw / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SmallsetError, match="cat has 0 train, 0 validation, 0 test. Add photos of it"):
        subset(raw, by, sizes)


def test_few_test_photos_are_named_with_the_cure() -> None:
    counts = pd.DataFrame({"test": {f"class {n}": 49 + n for n in range(3)}})
    assert splits.few(counts)[0].startswith("Few test photos: class 0 (49). One mistake")
    counts["test"] -= 2
    assert "class 0 (47), class 1 (48), class 2 (49). One" in splits.few(counts)[0]
    assert splits.few(counts + 50) == []


def test_classes_are_named_up_to_a_few() -> None:
    assert splits.named(list("abcdef")) == "a, b, c, d, e, f"
    assert splits.named(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_an_index_of_other_photos_is_an_error(five: Path) -> None:
    know(five, split=lambda _: "train")
    (five / "cat/3.png").unlink()
    with pytest.raises(SmallsetError, match="photos.csv: expected a line for each photo and no other; found none for"):
        subset(five, "given")
