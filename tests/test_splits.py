"""Splits by count, by fraction and as given: disjoint, in numeric order, with every class, copied."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from smallset.photos import decoding, lists
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.sources import splits

Draw = Callable[..., Path]
COUNTS = {"train": 2, "validation": 1, "test": 1}
FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def subset(raw: Path, by: str = "count", sizes: dict[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    p = params.Subset(by=by, **(sizes or dict.fromkeys(COUNTS)))  # type: ignore[arg-type]
    return splits.copy_subset(raw, raw.parent / f"subset{seed}", p, seed)


def copies(raw: Path, seed: int = 0) -> dict[str, list[str]]:
    """<class>/<file> by split."""
    return {split: list(lists.find(raw.parent / f"subset{seed}" / split).files) for split in COUNTS}


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Make raw/<class>/ with plain 1 px photos 0.png, 1.png, …, so many a class."""

    def plain(**counts: int) -> Path:
        for label, count in counts.items():
            (tmp_path / "raw" / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (1, 1)).save(tmp_path / "raw" / label / f"{number}.png")
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
    raw = draw(cat=6, dog=6)
    (raw / "cat/0.png").write_bytes(b"")
    know(raw, split=lambda file: ["train", "validation", "test"][number(file) // 2])
    record = subset(raw, by, sizes)
    assert [*record["left_out"]] == ["cat/0.png"]
    assert "cat/0.png" not in [file for files in copies(raw).values() for file in files]
    assert (raw / "cat/0.png").exists()


def test_each_photo_is_decoded_once_and_no_more_than_are_needed(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = draw(cat=9, dog=9)
    seen: list[Path] = []
    monkeypatch.setattr(decoding, "decode", seen.append)
    subset(raw, "count", COUNTS)
    assert len(seen) == 8
    subset(raw, "fraction", FRACTIONS, seed=1)
    assert len(seen) == 8 + 18
    assert len({*seen[8:]}) == 18


def test_too_few_photos_says_how_many_there_are(drawn: lists.Photos) -> None:
    message = r"cat: expected 9 photos that decode \(7 train \+ 1 validation \+ 1 test\), found 5. Lower the counts"
    with pytest.raises(SmallsetError, match=message):
        subset(drawn.folder, "count", COUNTS | {"train": 7})


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("fractions", [FRACTIONS, {"train": 0.4, "validation": 0.1, "test": 0.2}])
def test_fractions_are_of_each_class_disjoint_and_in_numeric_order(
    draw: Draw, seed: int, grouped: bool, fractions: dict[str, float]
) -> None:
    raw = draw(cat=20, dog=50, horse=110)
    if grouped:  # twos and threes, and every fifth photo alone
        know(raw, group=lambda file: "" if number(file) % 5 == 4 else f"{file[0]}{number(file) // 5}{number(file) % 2}")
    record = subset(raw, "fraction", fractions, seed)
    chosen = copies(raw, seed)
    files = [file for files in chosen.values() for file in files]
    assert len({*files}) == len(files)
    for split, fraction in fractions.items():
        assert chosen[split] == [file for file in lists.find(raw).files if file in chosen[split]]
        for label, count in {"cat": 20, "dog": 50, "horse": 110}.items():
            assert abs(record["photos"][split][label] - fraction * count) <= 3 * grouped
    if grouped:
        listed = pd.read_csv(raw / "photos.csv", keep_default_na=False).set_index("file")
        groups = [group for files in chosen.values() for group in {*listed.loc[files, "group"]} - {""}]
        assert len({*groups}) == len(groups)


def test_one_seed_draws_the_same_photos_and_another_others(draw: Draw) -> None:
    raw = draw(cat=20, dog=20)
    table = splits.index(lists.find(raw))
    one, again, other = (splits.by_fraction(table, FRACTIONS, seed).tolist() for seed in (0, 0, 1))
    assert one == again != other


def test_more_photos_of_one_class_move_none_of_another() -> None:
    def cats(dogs: int) -> list[str]:
        files = [f"cat/{number}" for number in range(20)] + [f"dog/{number}" for number in range(dogs)]
        table = pd.DataFrame({"file": files, "label": [file[:3] for file in files]})
        return splits.by_fraction(table, FRACTIONS, 0)[:20].tolist()

    assert cats(20) == cats(50)


def test_four_photos_of_a_class_are_enough_for_three_splits(draw: Draw) -> None:
    record = subset(draw(cat=4, dog=40), "fraction", FRACTIONS)
    assert [count["cat"] for count in record["photos"].values()] == [2, 1, 1]


def test_a_group_with_photos_of_two_classes_stays_whole(draw: Draw) -> None:
    raw = draw(cat=40, dog=40)
    know(raw, group=lambda file: f"{number(file) // 4}")  # four cats and four dogs in each of ten groups
    subset(raw, "fraction", FRACTIONS)
    groups = [{number(file) // 4 for file in files} for files in copies(raw).values()]
    assert [len(group) for group in groups] == [6, 2, 2]
    assert len(set.union(*groups)) == 10


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
    raw = draw(cat=12, dog=12)
    know(raw, split=lambda file: ["train", "validation", "test"][number(file) // 4])
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


@pytest.mark.parametrize(
    ("broken", "group", "message"),
    [
        (range(2), None, "cat: no photo of it for validation: 3 photos of this class decode. Add photos"),
        (range(5), None, "cat: no photo of it for train: 0 photos"),
        ((), lambda file: file[:3], "cat: no photo of it for validation: 5 photos .*Groups are not divided"),
    ],
)
def test_a_class_that_is_not_in_every_split_is_an_error(
    five: Path, broken: Any, group: Callable[[str], str] | None, message: str
) -> None:
    for number in broken:
        (five / f"cat/{number}.png").write_bytes(b"")
    if group:
        know(five, group=group)
    with pytest.raises(SmallsetError, match=message):
        subset(five, "fraction", FRACTIONS)


def test_no_photo_that_decodes_is_an_error(five: Path) -> None:
    for path in lists.find(five).paths():
        Path(path).write_bytes(b"")
    with pytest.raises(SmallsetError, match="cat: no photo of it for train: 0 photos"):
        subset(five, "fraction", FRACTIONS)


def test_an_index_of_other_photos_is_an_error(five: Path) -> None:
    know(five, split=lambda _: "train")
    (five / "cat/3.png").unlink()
    with pytest.raises(SmallsetError, match="photos.csv: expected a line for each photo and no other; found none for"):
        subset(five, "given")
