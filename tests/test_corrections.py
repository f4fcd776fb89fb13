"""Corrections: a decision follows the bytes of a photo, changes nothing else, and ends with its row."""

import subprocess
from pathlib import Path

import pytest
from albums import digest, make_album
from conftest import ROOT

from smallset.datasets import corrections
from smallset.datasets.corrections import KEEP, LEAVE_OUT, RELABEL, Correction, Corrections
from smallset.datasets.dataset import SPLITS
from smallset.pipeline.errors import SmallsetError

HEAD = "sha256,file,decision,label,when,queue\n"
A, B = "a" * 64, "b" * 64
EARLIER, LATER = "2026-01-31T12:00:00Z", "2026-02-01T09:00:00Z"
PHOTOS = make_album({"cat": 9, "dog": 9}, lambda n: SPLITS[n % 3], lambda n: f"group {n // 2}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corrections.csv"


def decide(photo: str, decision: str, label: str = "") -> Corrections:
    """A decision about a photo, as cat 7."""
    return {digest(photo): Correction(digest(photo), photo, decision, label, EARLIER, "label issues")}


def test_corrections_are_a_join_that_changes_nothing_else() -> None:
    decisions = decide("cat 2", RELABEL, "dog") | decide("dog 3", LEAVE_OUT)
    decisions |= decide("cat 0", KEEP) | decide("gone", RELABEL, "dog")
    corrected, summary = corrections.apply(PHOTOS, decisions)
    before, after = (dataset.table.set_index("file") for dataset in (PHOTOS, corrected))
    expected = before.drop("photos/dog/3.png")
    expected.loc["photos/cat/2.png", "label"] = "dog"
    assert after.equals(expected)
    nothing = {"relabeled": 0, "left_out": 0}
    expected_summary = {"train": nothing | {"left_out": 1}, "validation": nothing, "test": nothing | {"relabeled": 1}}
    assert summary == expected_summary
    assert corrections.describe(PHOTOS, decisions) == [
        "corrections.csv: 1 relabeled, 1 left out, 1 kept; 1 are about photos that are not in the dataset"
    ]


def test_decisions_without_effect_leave_no_record() -> None:
    for decisions in ({}, decide("cat 0", KEEP), decide("dog 0", RELABEL, "dog")):
        corrected, summary = corrections.apply(PHOTOS, decisions)
        assert summary == {}
        assert corrected.table.equals(PHOTOS.table)
    assert corrections.describe(PHOTOS, {}) == []


def test_classes_may_appear_and_disappear() -> None:
    decisions: Corrections = {}
    for number in range(9):
        decisions |= decide(f"cat {number}", RELABEL, "lynx")
    assert corrections.apply(PHOTOS, decisions)[0].classes == ("dog", "lynx")
    assert corrections.describe(PHOTOS, decisions)[1].startswith("New classes in corrections.csv: lynx. If one")
    corrections.check(decisions, PHOTOS.classes)
    with pytest.raises(SmallsetError, match=r"corrections.csv: the label Dog \(cat 0\) also occurs in another"):
        corrections.check(decide("cat 0", RELABEL, "Dog"), PHOTOS.classes)


def test_a_renamed_class_keeps_its_corrections() -> None:
    decisions = decide("cat 2", RELABEL, "hound") | decide("cat 4", RELABEL, "lynx")
    before = {digest(f"dog {number}"): "hound" for number in range(9)}  # photos/hound is now photos/dog
    followed, notes = corrections.follow_renames(decisions, PHOTOS, before, {})
    assert [row.label for row in followed.values()] == ["dog", "lynx"]
    assert notes[0].startswith("corrections.csv: 1 relabeled as hound, now called dog, which they follow.")
    assert corrections.apply(PHOTOS, followed)[0].classes == ("cat", "dog", "lynx")
    # After the next commit, the table has the new name, and only this photo tells it.
    again = {digest("cat 2"): "dog", digest("cat 4"): "lynx"}
    earlier = {key: row.label for key, row in decisions.items()}
    assert corrections.follow_renames(decisions, PHOTOS, again, earlier)[0] == followed
    # Another photo of the old class, which somebody has decided about, tells it without git.
    kept = {digest("dog 0"): Correction(digest("dog 0"), "photos/hound/0.png", KEEP, "", EARLIER, "")}
    assert corrections.follow_renames(decisions | kept, PHOTOS, {}, {})[0] == followed | kept
    # A new decision for a new class is no rename, and neither is a class whose photos are in two classes now.
    for table in ({digest("cat 2"): "cat"}, {digest("dog 0"): "hound", digest("cat 0"): "hound"}):
        assert corrections.follow_renames(decisions, PHOTOS, table, {}) == (decisions, [])


def test_a_file_is_read_as_it_was_written(path: Path) -> None:
    assert corrections.read(path) == {}
    decisions = decide("cat/1.jpg", RELABEL, 'a "b", <i>é') | decide("=a,'\"", KEEP)
    corrections.write(path, decisions)
    assert corrections.read(path) == dict(sorted(decisions.items()))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # saved by a spreadsheet
    assert corrections.read(path) == dict(sorted(decisions.items()))
    corrections.write(path, {})
    assert path.read_text() == HEAD


@pytest.mark.parametrize(
    ("name", "written"), [("a\n=======b", "a\\n=======b"), ("a\rb", "a\\rb"), ("a\udcff", "a\\xff")]
)
def test_the_name_of_a_photo_cannot_break_the_file(path: Path, name: str, written: str) -> None:
    corrections.write(path, {A: Correction(A, name, KEEP, "", "", "label issues")})
    assert [row.file for row in corrections.read(path).values()] == [written]


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
        (
            f"{HEAD}<<<<<<< HEAD\n{A},f,keep,,,\n=======\n",
            "line 2: expected 6 cells, found 1: <<<<<<< HEAD; of a confl",
        ),
        (f'{HEAD}{A},"f,keep,,,\n', "line 2: unexpected end of data. Correct or remove the line"),
        (f"{HEAD}{A},\udcff,keep,,,\n", "line 1: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_an_error_names_the_line_and_the_fix(path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SmallsetError) as caught:
        corrections.read(path)
    assert f"{path}: {message}" in str(caught.value)
    assert str(caught.value).endswith(f"or restore it: git checkout {path}")


def test_the_later_of_two_equal_decisions_holds(path: Path) -> None:
    for rows in ([f"{A},f,keep,,1,x", f"{A},f,keep,,2,y"], [f"{A},f,keep,,2,y", f"{A},f,keep,,1,x"]):
        path.write_text(HEAD + "\n".join(rows))
        assert [row.queue for row in corrections.read(path).values()] == ["y"]


def test_files_of_0_2_0_and_of_spreadsheets_are_read(path: Path) -> None:
    rows = f"label,digest,when,queue,decision,file\r\n dog,{B} ,,, relabel ,cat/1.jpg\r\n\r\n,{A},,,keep,f\r\n,,,,,"
    path.write_bytes("\ufeff".encode() + rows.encode())
    expected = {A: Correction(A, "f", KEEP, "", "", ""), B: Correction(B, "cat/1.jpg", RELABEL, "dog", "", "")}
    assert corrections.read(path) == expected


@pytest.mark.parametrize("common", [0, 200])
def test_the_decisions_of_two_branches_merge(path: Path, common: int) -> None:
    def row(number: int, decision: str = KEEP, when: str = EARLIER) -> Correction:
        return Correction(digest(f"{number}"), f"cat/{number}.jpg", decision, "", when, "label issues")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=path.parent, check=True, capture_output=True)

    def commit(rows: list[Correction]) -> None:
        corrections.write(path, corrections.read(path) | {row.sha256: row for row in rows})
        git("add", "--all")
        git("commit", "--quiet", "--message", "decided")

    shared = [row(number) for number in range(common)]
    (path.parent / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
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
