"""Every source of photos ends as class folders, with a table of what else it says beside them."""

from pathlib import Path
from typing import Any

import pytest
from albums import JPEG, put

from smallset.datasets import folders, sources
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError


def fill(tmp_path: Path, **download: Any) -> dict[str, Any]:
    (tmp_path / "raw").mkdir()
    return sources.fill(tmp_path / "raw", params.Download(**download), seed=0)


def copy(tmp_path: Path, table: str | None = None) -> tuple[dict[str, str], list[str]]:
    """Copy the photos in own/: the original of each copy, and the lines of the table."""
    if table is not None:
        (tmp_path / "table.csv").write_text(table)
    name = str(tmp_path / "table.csv") if table is not None else None
    fill(tmp_path, source="folder", folder=str(tmp_path / "own"), table=name)
    raw = tmp_path / "raw"
    copies = {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*/*") if path.is_file()}
    originals = {file: content.removeprefix(JPEG).decode() for file, content in sorted(copies.items())}
    return originals, (raw / sources.TABLE).read_text().splitlines()


def test_a_folder_is_copied_and_stays_as_it_was(tmp_path: Path, drawn: Dataset) -> None:
    before = [(path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes()) for path in drawn.paths]
    record = fill(tmp_path, source="folder", folder=str(drawn.root), table=None)
    assert record["photos"] == {"cat": 5, "dog": 5}
    copies, _ = folders.read_folder(tmp_path / "raw", tmp_path / "raw" / sources.TABLE)
    assert copies.table[["file", "label"]].equals(drawn.table[["file", "label"]])
    assert [path.stat().st_nlink for path in copies.paths] == [1] * 10
    assert [(path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes()) for path in drawn.paths] == before


def test_what_is_no_photo_or_cannot_be_read_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = ("큰 고양이/9.jpg", "car/1.jpg", "car/b/1.jpg", "car/torn.jpg")
    put(tmp_path / "own", *photos, ".git/x", "car/.hidden.jpg", "@eaDir/car/1.jpg")
    put(tmp_path, "secret.jpg")
    (tmp_path / "own/car/2.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "own/README.txt").write_text("not a photo")
    original = files.copy

    def tear(source: Path, target: Path) -> None:
        if source.name == "torn.jpg":
            target.write_bytes(b"half of it")
            raise OSError(5, "Input/output error")
        original(source, target)

    monkeypatch.setattr(files, "copy", tear)
    originals, table = copy(tmp_path)
    assert [*originals] == ["car/1.jpg", "car/b/1.jpg", "큰 고양이/9.jpg"]
    assert table == ["file,label", "car/1.jpg,car", "car/b/1.jpg,car", "큰 고양이/9.jpg,큰 고양이"]
    output = capsys.readouterr().out
    assert "Copied 3 photos." in output
    assert "Unreadable: 1 a link to a file outside of the folder: replace it by a copy (car/2.jpg)." in output
    assert "Unreadable: 1 cannot be read: Input/output error (car/torn.jpg)." in output


def test_splits_are_written_to_the_table(tmp_path: Path) -> None:
    put(tmp_path / "own", *(f"{split}/{label}/1.jpg" for split in ("train", "val", "test") for label in ("cat", "dog")))
    originals, table = copy(tmp_path)
    assert originals["cat/val/cat/1.jpg"] == "val/cat/1.jpg"
    assert table[:2] == ["file,label,split", "cat/test/cat/1.jpg,cat,test"]


def test_a_table_names_labels_and_groups(tmp_path: Path) -> None:
    put(tmp_path / "own", "a/1.jpg", "b/1.jpg", "2, b.jpg", "unlisted.jpg")
    text = '\ufefffile, label, group\na/1.jpg,cat,x\n"2, b.jpg",개,\n\nb/1.jpg,cat,NA\n'
    originals, table = copy(tmp_path, text)
    assert originals == {"cat/a/1.jpg": "a/1.jpg", "cat/b/1.jpg": "b/1.jpg", "개/2, b.jpg": "2, b.jpg"}
    assert table == ["file,label,group", "cat/a/1.jpg,cat,x", "cat/b/1.jpg,cat,NA", '"개/2, b.jpg",개,']


def test_no_copy_replaces_another(tmp_path: Path) -> None:
    put(tmp_path / "own", "cat/1.jpg", "1.jpg", "2.jpg")
    originals, _ = copy(tmp_path, "file,label\ncat/1.jpg,cat\n1.jpg,cat\n2.jpg,dog\n")
    assert sorted(originals.values()) == ["1.jpg", "2.jpg", "cat/1.jpg"]


@pytest.mark.parametrize(
    ("download", "message"),
    [
        ({"folder": None}, "download: folder: expected a folder of photos, found None"),
        ({"folder": "missing"}, "download: folder: expected a folder of photos, found 'missing'"),
        ({"folder": "own", "table": "missing.csv"}, "missing.csv: there is no such table. Name a CSV or"),
        ({"folder": "."}, "download: folder: expected a folder with photos only, but '.' contains this pipeline"),
    ],
)
def test_a_missing_folder_or_table_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: dict[str, Any], message: str
) -> None:
    put(tmp_path / "own", "cat/1.jpg", "dog/1.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SmallsetError, match=message):
        fill(tmp_path, source="folder", **{"table": None} | download)


def test_synthetic_pictures_have_a_digest_of_their_own(tmp_path: Path) -> None:
    record = fill(tmp_path, source="synthetic", synthetic=params.Synthetic(photos_per_class=2, image_size=32))
    assert record["photos"] == {"cat": 2, "dog": 2}
    assert (record["source"], record["archive"], len(record["sha256"])) == ("synthetic", None, 64)
