"""`smallset init`: a folder that DVC runs, with params of its own and every comment; whole or not at all."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.tools import initialising

ROOT = Path(__file__).parents[1]
SPLITS = ("train", "validation", "test")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without git, as the working folder."""
    folder = tmp_path / "clone"
    for name in ("stages", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Photos of 20 cats and 50 dogs in class folders, which must stay as they are."""
    folder = tmp_path / "내 사진"
    draw(folder / "cat", 20)
    draw(folder / "dog", 50)
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


def draw(folder: Path, count: int, size: tuple[int, int] = (200, 190)) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size).save(folder / f"{number}.jpg")


def snapshot(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {
        path: (stat.st_mtime_ns, stat.st_mode, stat.st_nlink)
        for path in folder.rglob("*")
        if (stat := path.lstat()) and not path.is_dir()
    }


def test_only_the_values_for_these_photos_change_and_every_comment_stays(clone: Path, own: Path) -> None:
    initialising.create(Path("mine"), own, None)
    before, after = ((folder / "params.yaml").read_text("utf-8").splitlines() for folder in (clone, clone / "mine"))
    changed = [(was, now) for was, now in zip(before, after, strict=True) if was != now]
    keys = ["source", "folder", "by", *SPLITS, "ema_momentum", "ema_momentum"]
    assert [now.split()[0].rstrip(":") for _, now in changed] == keys
    for was, now in changed:
        assert re.findall("#.*", was) == re.findall("#.*", now)
    old, new = (params.read(folder / "params.yaml") for folder in (clone, clone / "mine"))
    assert (new.download.source, new.download.folder, new.download.table) == ("folder", str(own), None)
    assert new.subset.model_dump() == {"by": "fraction", "train": 0.6, "validation": 0.2, "test": 0.2, "exclude": []}
    same = set(params.Params.model_fields) - {"download", "subset", "convnet", "convnet_augmented"}
    assert all(getattr(new, key) == getattr(old, key) for key in same)


def test_photos_that_the_clone_s_params_exclude_are_others(clone: Path, own: Path) -> None:
    text = (clone / "params.yaml").read_text("utf-8").replace("exclude: [] ", "exclude: [dog/dog.980.jpg] ")
    (clone / "params.yaml").write_text(text, "utf-8")
    initialising.create(Path("mine"), own, None)
    assert [len(params.read(folder / "params.yaml").subset.exclude) for folder in (clone, clone / "mine")] == [1, 0]


def test_the_graph_runs_the_clone_s_stages_and_what_dvc_makes_is_ignored(clone: Path, own: Path) -> None:
    initialising.create(Path("mine"), own, None)
    assert (clone / "mine/dvc.yaml").read_bytes() == (ROOT / "sample/dvc.yaml").read_bytes()
    assert not [path for path in (clone / "mine").rglob("*") if path.is_symlink() or path.is_dir()]
    assert {"/data/", "/models/", "/plots/"} <= {*(clone / "mine/.gitignore").read_text().splitlines()}
    assert not list(clone.glob(".part.*"))


@pytest.mark.parametrize(("photos", "expected"), [(300, 0.93), (150, 0.87), (2000, 0.99), (9000, 0.99)])
def test_the_average_of_the_weights_spans_as_many_epochs_as_in_the_reference(photos: int, expected: float) -> None:
    p = params.read(ROOT / "params.yaml").convnet
    assert initialising.momentum(p, photos) == expected
    assert initialising.momentum(p.model_copy(update={"ema_momentum": None}), photos) is None


@pytest.mark.usefixtures("clone")
def test_it_says_what_it_found_and_what_comes_next(tmp_path: Path) -> None:
    own = tmp_path / "own"
    draw(own / "cat", 19)
    draw(own / "dog", 50)
    (own / "cat/notes.txt").write_text("no photo")
    said = initialising.create(Path("my photos"), own, None)
    for text in (
        f"my photos: a pipeline for 69 photos of 2 classes in {own} (shorter side 190 px in the median",
        "cat: 19 photos: 11 train, 4 validation, 4 test",
        "dog: 50 photos: 30 train, 10 validation, 10 test",
        "Unbalanced: 50 photos of dog, 19 of cat",
        "Few test photos: cat (4), dog (10)",
        "Not counted, no photos: 1 .txt files (cat/notes.txt).",
        "by fraction",
        "dvc --cd 'my photos' repro ",
        "smallset predict 'my photos'/models/pooled.keras PHOTO",
    ):
        assert text in said


@pytest.mark.usefixtures("clone")
def test_folders_in_class_folders_may_be_the_classes(tmp_path: Path) -> None:
    for name in ("cat/tom", "cat/felix", "dog/rex"):
        draw(tmp_path / "own" / name, 5)
    said = initialising.create(Path("mine"), tmp_path / "own", None)
    assert "Folders in class folders: cat. All photos below count as that class." in said


def test_classes_are_named_up_to_a_few() -> None:
    assert initialising.listed(list("abcdef")) == "a, b, c, d, e, f"
    assert initialising.listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_a_home_folder_is_found_without_the_shell(clone: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own.parent))
    initialising.create(Path("mine"), Path("~") / own.name, None)
    assert params.read(clone / "mine/params.yaml").download.folder == str(own)


def test_dvc_runs_there(clone: Path, own: Path) -> None:
    initialising.create(Path("mine"), own, None)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    names = {"PATH": path, "PYTHONPATH": str(clone / "src"), "DVC_NO_ANALYTICS": "1"}
    command = ["dvc", "--cd", "mine", "repro", "subset"]
    done = subprocess.run(command, env=os.environ | names, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((clone / "mine/metrics/subset.json").read_text())
    assert record["photos"] == {
        "train": {"cat": 12, "dog": 30},
        "validation": {"cat": 4, "dog": 10},
        "test": {"cat": 4, "dog": 10},
    }


def test_splits_that_are_there_are_kept(clone: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        draw(tmp_path / "own" / split / "cat", 2)
        draw(tmp_path / "own" / split / "dog", 3)
    said = initialising.create(Path("mine"), tmp_path / "own", None)
    assert "cat: 6 photos: 2 train, 2 validation, 2 test" in said
    assert "Splits: as given" in said
    subset = yaml.safe_load((clone / "mine/params.yaml").read_text())["subset"]
    assert subset == {"by": "given", "train": None, "validation": None, "test": None, "exclude": []}


def test_a_table_is_named_by_its_whole_path(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "own", 40)
    rows = [f"{number}.jpg,{'cat' if number % 2 else 'dog'},{number // 4}" for number in range(40)]
    (clone / "labels.csv").write_text("\n".join(["file,label,group", *rows]))
    monkeypatch.chdir(clone)
    said = initialising.create(Path("mine"), Path("../own"), Path("labels.csv"))
    download = params.read(clone / "mine/params.yaml").download
    assert (download.folder, download.table) == (str(tmp_path / "own"), str(clone / "labels.csv"))
    assert "cat: 20 photos: 12 train, 4 validation, 4 test" in said
    assert "by fraction, drawn with the seed, groups undivided" in said


@pytest.mark.parametrize(
    ("sides", "expected"), [((300, 200), 180), ((179, 400), 179), ((400, 100), 100), ((30, 30), 78)]
)
def test_small_photos_are_not_enlarged(clone: Path, tmp_path: Path, sides: tuple[int, int], expected: int) -> None:
    for name in ("cat", "dog"):
        draw(tmp_path / "own" / name, 5, sides)
    initialising.create(Path("mine"), tmp_path / "own", None)
    own = params.read(clone / "mine/params.yaml")
    assert own.image.side == expected
    assert own.larger.side == round(expected * 256 / 180)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sub/mine", "sub/mine: expected a plain name, without a slash or a leading dot"),
        ("..", "expected a plain name"),
        (".", "expected a plain name"),
        (".mine", "expected a plain name"),
        ("/mine", "expected a plain name"),
        ("stages", "stages: exists already. Choose another name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(clone: Path, own: Path, name: str, message: str) -> None:
    with pytest.raises(SmallsetError, match=message):
        initialising.create(Path(name), own, None)
    assert (clone / "stages/subset.py").exists()


def test_outside_a_clone_it_says_where_to_go(clone: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initialising.create(Path("mine"), own, None)
    for folder, missing in (
        (clone / "mine", "found no .dvc, stages, src. Change"),
        (own.parent, "found no .dvc, params.yaml, dvc."),
    ):
        monkeypatch.chdir(folder)
        with pytest.raises(SmallsetError, match=f"expected the top folder of a clone of .*{missing}"):
            initialising.create(Path("other"), own, None)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (lambda own, _: shutil.rmtree(own / "dog"), "expected two classes or more, found cat"),
        (
            lambda own, _: [draw(own / "fox", 1), *[(own / f"cat/{n}.jpg").unlink() for n in range(3, 20)]],
            r"Too few .*: cat: 3 \(2 train, 0 validation, 1 test\); fox: 1 \(",
        ),
        (
            lambda own, _: [p.write_text("x") for p in own.glob("*/*")],
            "expected photos, found none. Not read: 70 does not decode as a photo: it begins with b'x'",
        ),
        (
            lambda own, _: [p.write_bytes(p.read_bytes()[:20]) for p in own.glob("*/*")],
            "no photo opens of 70 that were looked at: 70 does not decode as a photo: a JPEG whose header is broken",
        ),
        (lambda own, _: shutil.rmtree(own), "own: expected a folder of photos, found nothing. Name one with --photos"),
        (
            lambda own, _: own.rename(own / "../old") and own.write_bytes(b""),
            "found a file. .* unpack",
        ),
        (lambda own, patch: patch.setattr(Path, "cwd", lambda: own / "cat"), "this clone is in it. Move the photos"),
    ],
)
def test_what_goes_wrong_leaves_no_folder(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Any, message: str
) -> None:
    for name, count in {"cat": 20, "dog": 50}.items():
        draw(tmp_path / "own" / name, count)
    with monkeypatch.context() as patch:
        trouble(tmp_path / "own", patch)
        with pytest.raises(SmallsetError, match=message):
            initialising.create(Path("mine"), tmp_path / "own", None)
    assert {path.name for path in clone.iterdir()} == {".dvc", ".dvcignore", "dvc.yaml", "params.yaml", "src", "stages"}
