"""Corrections: a decision follows a photo's bytes, moves nothing else, and is taken back with its row."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from smallset.datasets import corrections, lists, splits
from smallset.datasets.corrections import KEEP, LEAVE_OUT, RELABEL, Correction, Corrections
from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
SIZES: dict[str, Any] = {
    "count": {"train": 20, "validation": 8, "test": 8},
    "fraction": FRACTIONS,
    "given": dict.fromkeys(FRACTIONS),
}
ROOT = Path(__file__).parents[1]
HEAD = "digest,file,decision,label,when,queue\n"
Rows = dict[str, tuple[str, str, str]]  # of each photo, by its digest: split, label, file


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Forty photos of each of two classes, called alike, in pairs that belong together, with given splits."""
    lines = ["file,label,split,group"]
    for label in ("cat", "dog"):
        (tmp_path / "raw" / label).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (2, 2), (ord(label[0]), 0, number)).save(tmp_path / f"raw/{label}/{number}.png")
            split = [*FRACTIONS][number // 2 % 3]
            lines.append(f"{label}/{number}.png,{label},{split},{label}-{number // 2}")
    (tmp_path / "raw/photos.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "raw"


def run(raw: Path, by: str, decided: Corrections) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record and the lists of the stage subset."""
    target = raw.parent / "subset"
    shutil.rmtree(target, ignore_errors=True)
    if by == "count":
        (raw / "photos.csv").unlink(missing_ok=True)  # it divides groups
    p = params.Subset(by=by, **SIZES[by])  # type: ignore[arg-type]
    record = splits.copy_subset(raw, target, p, 0, decided)
    return record, splits.listed(target, raw, record)


def rows(listed: dict[str, Any]) -> Rows:
    return {
        row["digest"]: (split, row["label"], row["file"])
        for split, table in listed.items()
        for row in table.to_dict("records")
    }


def decide(raw: Path, file: str, decision: str, label: str = "") -> Corrections:
    digest = files.sha256(raw / file)
    return {digest: Correction(digest, file, decision, label, "2026-01-31T12:00:00Z", "suspects")}


@pytest.mark.parametrize("by", [*SIZES])
def test_a_correction_moves_nothing_else_and_is_taken_back_with_its_row(raw: Path, by: str) -> None:
    record, listed = run(raw, by, {})
    before = rows(listed)
    decided = decide(raw, "cat/2.png", RELABEL, "dog") | decide(raw, "dog/3.png", LEAVE_OUT)
    decided |= decide(raw, "cat/0.png", KEEP)
    moved, out, _ = decided
    changed, after = run(raw, by, decided)
    now = rows(after)
    assert now.pop(moved) == (before[moved][0], "dog", "dog/cat-2.png")  # dog/2.png is there, and stays
    assert {digest: row for digest, row in before.items() if digest not in (moved, out)} == now
    assert changed["left_out"] == {"dog/3.png": corrections.REASON}
    split, out_of = before[moved][0], before[out][0]
    assert changed["corrections"]["photos"][split]["relabelled"] == 1
    assert changed["corrections"]["photos"][out_of]["left_out"] == 1
    assert (raw.parent / "subset" / split / "dog/cat-2.png").read_bytes() == (raw / "cat/2.png").read_bytes()
    if by != "count":  # its group goes with it
        [group] = after[split].loc[after[split]["digest"] == moved, lists.GROUP]
        assert group == "cat-1"
    assert corrections.said(decided, raw, changed, after) == [
        "corrections.csv: 1 relabelled, 1 left out, 1 kept as they are"
    ]
    again, back = run(raw, by, decide(raw, "cat/0.png", KEEP))
    assert (again, rows(back)) == (record, before)


def test_a_decision_holds_wherever_the_photo_moves_and_only_for_its_bytes(raw: Path) -> None:
    decided = decide(raw, "cat/2.png", RELABEL, "dog")
    (raw / "photos.csv").unlink()
    (raw / "cat/2.png").rename(raw / "dog/other.png")
    shutil.copy(raw / "cat/4.png", raw / "cat/2.png")  # another photo under its name
    record, listed = run(raw, "fraction", decided)
    [moved] = decided
    assert rows(listed)[moved][1:] == ("dog", "dog/other.png")
    assert "corrections" not in record  # its folder says so now
    (raw / "dog/other.png").unlink()
    record, listed = run(raw, "fraction", decided)
    assert corrections.said(decided, raw, record, listed) == [
        "corrections.csv: 0 relabelled, 0 left out, 0 kept as they are; 1 of photos that are not in the splits any more"
    ]


def test_a_photo_that_comes_takes_no_name_of_one_that_stays(raw: Path) -> None:
    (raw / "photos.csv").unlink()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(raw / "dog/cat-2.png")  # what cat/2.png would be called there
    _, before = run(raw, "fraction", {})
    decided = decide(raw, "cat/2.png", RELABEL, "dog")
    _, after = run(raw, "fraction", decided)
    old, now = rows(before), rows(after)
    [moved] = decided
    assert now.pop(moved)[1:] == ("dog", "dog/cat-2-2.png")
    assert now == {digest: row for digest, row in old.items() if digest != moved}


def test_a_class_can_be_new_or_gone_by_corrections(raw: Path) -> None:
    decided: Corrections = {}
    for number in range(40):
        decided |= decide(raw, f"cat/{number}.png", RELABEL, "lynx")
    record, listed = run(raw, "given", decided)
    assert [*record["photos"]["test"]] == ["dog", "lynx"]
    assert "lynx/0.png" in {*listed["train"]["file"]}
    assert corrections.said(decided, raw, record, listed)[1] == "New classes by corrections.csv: lynx"
    with pytest.raises(
        SmallsetError, match=r"^corrections.csv: expected photos of each class in each split; lynx has 1 "
    ):
        run(raw, "given", decide(raw, "cat/0.png", RELABEL, "lynx"))
    with pytest.raises(SmallsetError, match=r"corrections.csv: Dog \(cat/0.png\) is another class in other letters"):
        run(raw, "given", decide(raw, "cat/0.png", RELABEL, "Dog"))


def test_what_is_written_is_what_is_read(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    assert corrections.read(path) == {}
    decided = decide(raw, "cat/1.png", RELABEL, 'a "b", <i>é') | decide(raw, "cat/2.png", KEEP)
    corrections.write(path, decided)
    assert corrections.read(path) == decided
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # by way of a spreadsheet
    assert corrections.read(path) == decided
    corrections.write(path, {})
    assert path.read_text() == HEAD


@pytest.mark.parametrize(
    ("name", "written"),
    [("a\n=======b", "a\\n=======b"), ("a\rb", "a\\rb"), ("a\udcff", "a\\xff"), ("=a,'\"", "=a,'\"")],
)
def test_no_name_of_a_photo_breaks_the_table(tmp_path: Path, name: str, written: str) -> None:
    path = tmp_path / "corrections.csv"
    corrections.write(path, {A: Correction(A, f"cat/{name}.jpg", KEEP, "", "", "suspects")})
    [one] = corrections.read(path).values()
    assert one.file == f"cat/{written}.jpg"


A, B = "a" * 64, "b" * 64
EARLIER, LATER = "2026-01-31T12:00:00Z", "2026-02-01T09:00:00Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digest,file\n", "line 1: expected the columns digest,file,decision,label,when,queue; found digest,file"),
        (f"{HEAD}{A},f,keep\n", "line 2: expected 6 cells, found 3"),
        (f"{HEAD}{A},f,keep,,,\nA,f,keep,,,\n", "line 3: expected a digest of 64 hex digits, found 'A'"),
        (f"{HEAD}{A},f,kept,,,\n", "line 2: expected keep, relabel or leave out, found 'kept'"),
        (f"{HEAD}{A},f,relabel,,,\n", "line 2: a label goes with relabel, and with nothing else"),
        (f"{HEAD}{A},f,keep,dog,,\n", "line 2: a label goes with relabel, and with nothing else"),
        (f"{HEAD}{A},f,relabel,../dog,,\n", "line 2: the label '../dog' cannot be the name of a folder"),
        (
            f"{HEAD}{A},f,keep,,,\n{B},f,keep,,,\n{A},g,leave out,,,\n",
            "line 4: g is decided twice, not alike, and no time",
        ),
        (
            f"{HEAD}{A},f,keep,,31/01/2026,\n{A},f,leave out,,{LATER},\n",
            "line 3: f is decided twice, not alike, and no",
        ),
        (f"{A},f,keep,,,\n", f"line 1: expected the columns digest,file,decision,label,when,queue; found {A}"),
        (f"{HEAD}<<<<<<< HEAD\n{A},f,keep,,,\n=======\n", "line 2: a merge left <<<<<<< there. Keep the rows of both"),
        (f'{HEAD}{A},"f,keep,,,\n', "line 2: unexpected end of data. Mend the line"),
    ],
)
def test_a_broken_table_is_one_error_with_line_and_cure(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(SmallsetError) as caught:
        corrections.read(path)
    assert f"{path}: {message}" in str(caught.value)


def test_both_sides_of_a_merge_may_have_decided_alike(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    for rows in ([f"{A},f,keep,,1,one", f"{A},f,keep,,2,two"], [f"{A},f,keep,,2,two", f"{A},f,keep,,1,one"]):
        path.write_text(HEAD + "\n".join(rows))
        assert [one.queue for one in corrections.read(path).values()] == ["two"]


def test_what_a_person_or_a_spreadsheet_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    rows = [
        f"label,digest,when,queue,decision,file\r\n dog,{B} ,,, relabel ,cat/1.jpg\r\n",
        f"\r\n,{A},,,keep,f\r\n,,,,,",
    ]
    path.write_bytes("\ufeff".encode() + "".join(rows).encode())
    assert corrections.read(path) == {
        A: Correction(A, "f", KEEP, "", "", ""),
        B: Correction(B, "cat/1.jpg", RELABEL, "dog", "", ""),
    }


@pytest.mark.parametrize("common", [0, 200])
def test_the_decisions_of_two_branches_merge_and_the_later_one_holds(tmp_path: Path, common: int) -> None:
    def one(number: int, decision: str = KEEP, when: str = EARLIER) -> Correction:
        digest = hashlib.sha256(f"{number}".encode()).hexdigest()
        return Correction(digest, f"cat/{number}.jpg", decision, "", when, "suspects")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(rows: list[Correction]) -> None:
        corrections.write(path, corrections.read(path) | {row.digest: row for row in rows})
        git("add", "--all")
        git("commit", "--quiet", "--message", "decided")

    path, known = tmp_path / "corrections.csv", [one(number) for number in range(common)]
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    git("init", "--quiet", "--initial-branch=main")
    commit(known)
    git("switch", "--quiet", "--create", "theirs")
    theirs = [one(number) for number in range(1000, 1020)] + [one(1, LEAVE_OUT, LATER)]
    commit(theirs)
    git("switch", "--quiet", "main")
    ours = [one(number) for number in range(2000, 2020)] + [one(1, KEEP)]
    commit(ours)
    git("merge", "--quiet", "theirs", "--message", "both")
    expected = {row.digest: row for row in [*known, *ours, *theirs]}
    assert corrections.read(path) == expected
    commit([])  # the next decision leaves a row for each photo
    assert path.read_text().count("\n") == 1 + len(expected)
