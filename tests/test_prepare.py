"""From a folder to metrics/photos.csv: the stages split (of a project) and subset (of the chapter)."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from smallset.datasets import corrections, prepare, sources, splits
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.pipeline import files, params, stage
from smallset.pipeline.errors import SmallsetError
from smallset.stages import split as split_stage

FRACTION = params.Split(by="fraction", train=0.6, validation=0.2, test=0.2, exclude=[])
TABLE = Path("table.csv")


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/cat and photos/dog with forty photos each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (2, 2), (ord(label[0]), 0, number)).save(f"photos/{label}/{number}.png")
    return Path("photos")


def decide(file: str, decision: str, label: str = "") -> None:
    sha256 = files.sha256(Path(file))
    row = corrections.Correction(sha256, file, decision, label, "2026-01-31T12:00:00Z", "")
    corrections.write(corrections.FILE, corrections.read(corrections.FILE) | {sha256: row})


def write_table(count: int) -> None:
    rows = [f"{label}/{n}.png,{label},{SPLITS[n % 3]}" for label in ("cat", "dog") for n in range(count)]
    TABLE.write_text("\n".join(["file,label,split", *rows]))


def run(p: params.Split = FRACTION, table: Path | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The label, split and digest of each photo, and the record."""
    dataset, record = prepare.prepare(Path("photos"), table, p, seed=1)
    return dataset.table.set_index("file")[["label", "split", "sha256"]], record


def test_the_stage_split_writes_the_table_and_the_record(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "cat/0.png").write_bytes(b"")
    (photos / "cat/1.png").write_bytes((photos / "cat/2.png").read_bytes()[:40])
    (photos / "notes.txt").write_text("not a photo")
    p = params.Split(**FRACTION.model_dump() | {"exclude": ["cat/3.png"]})
    monkeypatch.setattr(stage, "load_params", lambda: params.Params.model_construct(seed=1, split=p))
    split_stage.main()
    dataset, record = Dataset.read(), json.loads(split_stage.RECORD.read_text())
    assert len(dataset) == 77
    assert all(path.is_file() for path in dataset.paths)
    assert dataset.table["file"].iloc[0] == "photos/cat/2.png"
    counts = pd.crosstab(dataset.table["label"], dataset.table["split"]).to_dict()
    assert (record["photos"], record["corrections"]) == (counts, {})
    assert record["left_out"].keys() == {"photos/cat/0.png", "photos/cat/1.png", "photos/cat/3.png"}
    assert record["left_out"]["photos/cat/3.png"] == "excluded in params.yaml"
    output = capsys.readouterr().out
    for text in (
        *("77 photos of 2 classes: ", "  cat: ", "Left out, see metrics/split.json: 1 ", "Few test photos: cat ("),
        "Other files: 1 of type .txt (notes.txt).",
    ):
        assert text in output
    assert "Unreadable: " not in output


@pytest.mark.parametrize("by", ["count", "fraction", "given"])
def test_a_correction_changes_the_label_and_nothing_else(by: str) -> None:
    sizes: dict[str, Any] = {"count": dict(zip(SPLITS, (20, 8, 8), strict=True)), "given": dict.fromkeys(SPLITS)}
    p = params.Split(by=by, **sizes.get(by, FRACTION.shares), exclude=[])  # type: ignore[arg-type]
    write_table(40)
    before, _ = run(p, TABLE)
    decide("photos/cat/2.png", corrections.RELABEL, "dog")
    decide("photos/dog/3.png", corrections.LEAVE_OUT)
    after, record = run(p, TABLE)
    expected = before.drop("photos/dog/3.png")
    expected.loc["photos/cat/2.png", "label"] = "dog"
    assert after.equals(expected)
    assert record["left_out"] == {"photos/dog/3.png": corrections.REASON}
    assert sum(counts["relabeled"] for counts in record["corrections"].values()) == 1
    assert "corrections.csv: 1 relabeled, 1 left out, 0 kept" in record["notes"]


def test_a_class_needs_a_training_photo(photos: Path) -> None:
    before, _ = run()
    file = before.index[(before["label"] == "cat") & (before["split"] == "test")][0]
    decide(file, corrections.RELABEL, "lynx")
    table, record = run()
    assert table.drop(columns="label").equals(before.drop(file).drop(columns="label"))
    assert record["left_out"] == {file: splits.UNTRAINED}
    assert "Classes that are left out, because no photo of them is in train: lynx" in record["notes"]
    for path in (photos / "cat").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        SmallsetError, match="^photos: expected training photos of at least two classes; cat has none. Add"
    ):
        run()


def test_the_summary_is_short_with_5000_classes() -> None:
    counts = {f"class\n{number}": 60 for number in range(5000)}
    left_out = {f"{n}.jpg": f"{n}" for n in range(999)}
    record = {"photos": dict.fromkeys(SPLITS, counts), "left_out": left_out, "notes": []}
    lines = prepare.describe(record, Path("metrics/split.json")).splitlines()
    assert lines[0] == "900,000 photos of 5,000 classes: 300,000 train, 300,000 validation, 300,000 test"
    assert lines[1] == r"  class\n0: 60 train, 60 validation, 60 test"
    assert "  and 4,980 more classes, see metrics/split.json" in lines
    assert max(map(len, lines)) < 400
    assert len(lines) < 30


def test_a_notebook_reads_a_folder_with_or_without_splits(photos: Path) -> None:
    dataset = Dataset.from_folder(photos, seed=1)
    assert dataset.table["split"].tolist() == run()[0]["split"].tolist()
    assert dataset.sha256[0] == files.sha256(photos / "cat/0.png")
    write_table(39)
    with pytest.warns(UserWarning, match="Left out, because table.csv does not list them: 2 photos"):
        dataset = Dataset.from_table("table.csv", photos)
    assert len(dataset.train) == len(dataset.test) == 26


def test_the_tables_of_sources_are_read_again() -> None:
    rows = [f"{label}/{n}.png,{name}" for label, name in (("cat", "train"), ("dog", "test")) for n in range(40)]
    TABLE.write_text("\n".join(["file,label", *rows]))  # the classes have names like splits
    Path("raw").mkdir()
    sources.fill(Path("raw"), params.Download(source="folder", folder="photos", table="table.csv"), 0)
    dataset, _ = prepare.prepare(Path("raw"), Path("raw") / sources.TABLE, FRACTION, 1)
    assert dataset.classes == ("test", "train")
