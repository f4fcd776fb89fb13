"""Corrections: a decision follows the bytes of a photo, changes nothing else, and ends with its row."""

import hashlib
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from smallset.datasets import corrections
from smallset.datasets.corrections import KEEP, LEAVE_OUT, RELABEL, Correction, Corrections
from smallset.datasets.dataset import COLUMNS, SPLITS, Dataset
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]
HEAD = "sha256,file,decision,label,when,queue\n"
A, B = "a" * 64, "b" * 64
EARLIER, LATER = "2026-01-31T12:00:00Z", "2026-02-01T09:00:00Z"


def digest(file: str) -> str:
    return hashlib.sha256(file.encode()).hexdigest()


@pytest.fixture
def photos() -> Dataset:
    files = [f"photos/{label}/{number}.png" for label in ("cat", "dog") for number in range(9)]
    rows = [(file, file.split("/")[1], SPLITS[n % 3], f"group {n // 2}", digest(file)) for n, file in enumerate(files)]
    return Dataset(pd.DataFrame(rows, columns=[*COLUMNS], dtype=object), ("cat", "dog"))


def decide(file: str, decision: str, label: str = "") -> Corrections:
    return {digest(file): Correction(digest(file), file, decision, label, EARLIER, "label issues")}


def test_corrections_are_a_join_that_changes_nothing_else(photos: Dataset) -> None:
    decisions = decide("photos/cat/2.png", RELABEL, "dog") | decide("photos/dog/3.png", LEAVE_OUT)
    decisions |= decide("photos/cat/0.png", KEEP) | decide("photos/gone.png", RELABEL, "dog")
    corrected, summary = corrections.apply(photos, decisions)
    before, after = (dataset.table.set_index("file") for dataset in (photos, corrected))
    assert {*before.index} - {*after.index} == {"photos/dog/3.png"}
    assert after.loc["photos/cat/2.png", "label"] == "dog"
    rest = after.index.drop("photos/cat/2.png")
    assert after.loc[rest].equals(before.loc[rest])
    assert after.drop(columns="label").equals(before.loc[after.index].drop(columns="label"))
    assert summary == {
        "train": {"relabeled": 0, "left_out": 1},
        "validation": {"relabeled": 0, "left_out": 0},
        "test": {"relabeled": 1, "left_out": 0},
    }
    assert corrections.describe(photos, decisions) == [
        "corrections.csv: 1 relabeled, 1 left out, 1 kept; 1 are about photos that are not in the dataset"
    ]


def test_decisions_without_effect_leave_no_record(photos: Dataset) -> None:
    for decisions in ({}, decide("photos/cat/0.png", KEEP), decide("photos/dog/0.png", RELABEL, "dog")):
        corrected, summary = corrections.apply(photos, decisions)
        assert summary == {}
        assert corrected.table.equals(photos.table)
    assert corrections.describe(photos, {}) == []


def test_classes_may_appear_and_disappear(photos: Dataset) -> None:
    decisions: Corrections = {}
    for number in range(9):
        decisions |= decide(f"photos/cat/{number}.png", RELABEL, "lynx")
    assert corrections.apply(photos, decisions)[0].classes == ("dog", "lynx")
    assert corrections.describe(photos, decisions)[1] == "New classes in corrections.csv: lynx"
    corrections.check(decisions, photos.classes)
    with pytest.raises(
        SmallsetError, match=r"corrections.csv: the label Dog \(photos/cat/0.png\) also occurs in another"
    ):
        corrections.check(decide("photos/cat/0.png", RELABEL, "Dog"), photos.classes)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    assert corrections.read(path) == {}
    decisions = decide("cat/1.png", RELABEL, 'a "b", <i>é') | decide("cat/2.png", KEEP)
    corrections.write(path, decisions)
    assert corrections.read(path) == decisions
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # saved by a spreadsheet
    assert corrections.read(path) == decisions
    corrections.write(path, {})
    assert path.read_text() == HEAD


@pytest.mark.parametrize(
    ("name", "written"),
    [("a\n=======b", "a\\n=======b"), ("a\rb", "a\\rb"), ("a\udcff", "a\\xff"), ("=a,'\"", "=a,'\"")],
)
def test_the_name_of_a_photo_cannot_break_the_file(tmp_path: Path, name: str, written: str) -> None:
    path = tmp_path / "corrections.csv"
    corrections.write(path, {A: Correction(A, f"cat/{name}.jpg", KEEP, "", "", "label issues")})
    (row,) = corrections.read(path).values()
    assert row.file == f"cat/{written}.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sha256,file\n", "line 1: expected the columns sha256,file,decision,label,when,queue; found sha256,file"),
        (f"{HEAD}{A},f,keep\n", "line 2: expected 6 cells, found 3"),
        (f"{HEAD}{A},f,keep,,,\nA,f,keep,,,\n", "line 3: expected a sha256 of 64 hex digits, found 'A'"),
        (f"{HEAD}{A},f,kept,,,\n", "line 2: expected keep, relabel, leave out, found 'kept'"),
        (f"{HEAD}{A},f,relabel,,,\n", "line 2: expected a label with relabel, and only there"),
        (f"{HEAD}{A},f,keep,dog,,\n", "line 2: expected a label with relabel, and only there"),
        (f"{HEAD}{A},f,relabel,../dog,,\n", "line 2: the label '../dog' cannot be a folder"),
        (f"{HEAD}{A},f,keep,,,\n{B},f,keep,,,\n{A},g,leave out,,,\n", "line 4: g has two different decisions, and"),
        (f"{HEAD}{A},f,keep,,31/01/2026,\n{A},f,leave out,,{LATER},\n", "line 3: f has two different decisions"),
        (f"{A},f,keep,,,\n", f"line 1: expected the columns {HEAD.strip()}; found {A}"),
        (f"{HEAD}<<<<<<< HEAD\n{A},f,keep,,,\n=======\n", "line 2: found git's mark <<<<<<<. Keep the rows of both"),
        (f'{HEAD}{A},"f,keep,,,\n', "line 2: unexpected end of data. Correct the line"),
    ],
)
def test_an_error_names_the_line_and_the_fix(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(SmallsetError) as caught:
        corrections.read(path)
    assert f"{path}: {message}" in str(caught.value)


def test_the_later_of_two_equal_decisions_holds(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    for rows in ([f"{A},f,keep,,1,x", f"{A},f,keep,,2,y"], [f"{A},f,keep,,2,y", f"{A},f,keep,,1,x"]):
        path.write_text(HEAD + "\n".join(rows))
        assert [row.queue for row in corrections.read(path).values()] == ["y"]


def test_files_of_0_2_0_and_of_spreadsheets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    rows = f"label,digest,when,queue,decision,file\r\n dog,{B} ,,, relabel ,cat/1.jpg\r\n\r\n,{A},,,keep,f\r\n,,,,,"
    path.write_bytes("\ufeff".encode() + rows.encode())
    expected = {A: Correction(A, "f", KEEP, "", "", ""), B: Correction(B, "cat/1.jpg", RELABEL, "dog", "", "")}
    assert corrections.read(path) == expected


@pytest.mark.parametrize("common", [0, 200])
def test_the_decisions_of_two_branches_merge(tmp_path: Path, common: int) -> None:
    def row(number: int, decision: str = KEEP, when: str = EARLIER) -> Correction:
        return Correction(digest(f"{number}"), f"cat/{number}.jpg", decision, "", when, "label issues")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(rows: list[Correction]) -> None:
        corrections.write(path, corrections.read(path) | {row.sha256: row for row in rows})
        git("add", "--all")
        git("commit", "--quiet", "--message", "decided")

    path, shared = tmp_path / "corrections.csv", [row(number) for number in range(common)]
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    git("init", "--quiet", "--initial-branch=main")
    commit(shared)
    git("switch", "--quiet", "--create", "theirs")
    theirs = [row(number) for number in range(1000, 1020)] + [row(1, LEAVE_OUT, LATER)]
    commit(theirs)
    git("switch", "--quiet", "main")
    ours = [row(number) for number in range(2000, 2020)] + [row(1, KEEP)]
    commit(ours)
    git("merge", "--quiet", "theirs", "--message", "both")
    expected = {row.sha256: row for row in [*shared, *ours, *theirs]}
    assert corrections.read(path) == expected
    commit([])  # the next decision leaves one row for each photo
    assert path.read_text().count("\n") == 1 + len(expected)
