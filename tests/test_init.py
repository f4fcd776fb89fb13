"""`smallset init` creates a git and DVC repository with the photos and a pipeline, completely or not at all."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import ExifTags, Image
from projects import IDENTITY, draw, identify, run, skip_dvc

from smallset.cli import init
from smallset.datasets import corrections, folders
from smallset.pipeline import files, git, params
from smallset.pipeline.errors import SmallsetError

ROOT, PYTHON = Path(__file__).parents[1], sys.executable


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working folder, in no repository."""
    identify(monkeypatch)
    skip_dvc(monkeypatch)
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos in class folders; one class is called like markup."""
    draw(tmp_path / "내 사진/heron", 19)
    draw(tmp_path / "내 사진/r|<b>n", 50, seed=1)
    return tmp_path / "내 사진"


def test_git_tracks_the_pipeline_and_dvc_the_photos(
    place: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", PYTHON)  # this test runs `dvc add`
    before = {path: path.lstat() for path in photos.rglob("*.jpg")}
    summary = init.create(Path("my birds"), photos, None)
    folder = place / "my birds"
    assert set(run(folder, "git", "ls-files").splitlines()) == {*init.template(None), "README.md", "photos.dvc"}
    assert run(folder, "git", "status", "--porcelain") == ""
    assert run(folder, "git", "log", "--format=%s") == "Photos and pipeline\n"
    assert run(folder, "dvc", "data", "status").strip() == "No changes."
    assert len(run(folder, "dvc", "stage", "list").splitlines()) == 8
    copies = {path.relative_to(folder / "photos"): path.read_bytes() for path in (folder / "photos").rglob("*.jpg")}
    assert copies == {path.relative_to(photos): path.read_bytes() for path in before}
    assert {path.stat().st_nlink for path in (folder / "photos").rglob("*.jpg")} == {2}  # one copy, also in DVC's cache
    after = {path: path.lstat() for path in before}
    assert all(after[path][:7] == stat[:7] and after[path][8] == stat[8] for path, stat in before.items())  # only read
    assert git.run(folder, "grep", "--fixed-strings", str(place.parent), check=False) == b""  # no path of this machine
    assert (folder / ".git/hooks/post-checkout").read_text() == git.HOOK
    assert "  cd 'my birds'\n  dvc repro" in summary
    assert "Copying 69 photos" in capsys.readouterr().err  # progress, although stderr is no terminal
    for name in ("data/x", "models/x", "plots/x", "dvc_plots/x", "photos/x", ".part.x", ".dvc/cache/x"):
        assert git.is_ignored(folder, Path(name)), name
    assert not git.is_ignored(folder, Path("metrics/x.json"))


def test_the_summary_and_the_readme_say_what_was_found(place: Path, photos: Path) -> None:
    (photos / "heron/notes.txt").write_text("not a photo")
    summary = init.create(Path("birds"), photos, None)
    readme = (place / "birds/README.md").read_text()
    assert summary.startswith("birds: a project with 69 photos of 2 classes\n")
    for name, cell, count in (("heron", "heron", 19), ("r|<b>n", r"r\|\<b\>n", 50)):
        counts = re.search(rf"{re.escape(name)}: {count} photos: (\d+) train, (\d+) validation, (\d+) test\n", summary)
        assert counts is not None
        assert f"| {cell} | {count} | {' | '.join(counts.groups())} |" in readme
    few, other = "Few test photos: heron (", "1 of type .txt (heron/notes.txt)"
    for words in (
        r"Unbalanced: 50 photos of r\|\<b\>n, 19 of heron",
        "The splits are 60/20/20 % on average",
        few,
        other,
    ):
        assert words in readme
        assert words.replace("\\", "") in summary
    assert re.search(r"The first run will take (about|\d+ to) \d+ minutes? on this machine", summary)


def test_what_the_split_stage_will_refuse_is_said_instead_of_a_duration(tmp_path: Path) -> None:
    draw(tmp_path / "photos/heron", 1)
    draw(tmp_path / "photos/robin", 2)
    (tmp_path / "photos/robin/0.jpg").write_bytes((tmp_path / "photos/robin/1.jpg").read_bytes()[:300])
    summary = init.create(Path("birds"), tmp_path / "photos", None)
    assert "The first run would stop in the stage split. Correct this first, in birds:\n  photos: expected " in summary
    assert "minute" not in summary
    assert "The stage `split` would stop: photos: expected " in (tmp_path / "place/birds/README.md").read_text()
    assert "Some photos do not decode; the stage split leaves out all such photos: 1 does not decode" in summary


def test_a_table_is_copied_and_its_splits_and_groups_are_used(place: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos/all", 40)
    names = ["train", "train", "val", "test"]
    rows = [f"{n}.jpg,{'heron' if n % 2 else 'robin'},{names[n // 4 % 4]},{n // 4}" for n in range(40)]
    (place / "labels.tsv").write_text("\n".join(["file,label,split,group", *rows]))
    summary = init.create(Path("birds"), Path("../photos"), Path("labels.tsv"))
    assert "The splits are as the folders or the table say, groups undivided" in summary
    split = yaml.safe_load((place / "birds/params.yaml").read_text())["split"]
    shares = {"train": None, "validation": None, "test": None}
    assert split == {"by": "given", **shares, "exclude": [], "table": "labels.tsv"}
    assert (place / "birds/labels.tsv").read_bytes() == (place / "labels.tsv").read_bytes()
    assert (place / "birds/photos/all/39.jpg").is_file()
    stages = yaml.safe_load((place / "birds/dvc.yaml").read_text())["stages"]
    assert stages["split"]["deps"] == ["photos", "labels.tsv", "corrections.csv"]


@pytest.mark.parametrize("table", ["photos/_classes.csv", "labels.csv"])
def test_the_project_reads_the_photos_as_init_does(place: Path, tmp_path: Path, table: str) -> None:
    draw(tmp_path / "photos", 20)
    (tmp_path / "photos/20.jpg").write_text("not a photo")
    lines = {
        "photos/_classes.csv": [
            "filename,heron,robin",
            *(f"{n}.jpg,{n % 2},{1 - n % 2}" for n in range(20)),
        ],  # Roboflow's
        "labels.csv": ["file,label", *(f"{n}.jpg,{'robin' if n % 2 else 'heron'}" for n in range(21))],
    }
    (tmp_path / table).write_text("\n".join(lines[table]))
    path = tmp_path / table if table == "labels.csv" else None
    before, _ = folders.read_folder(tmp_path / "photos", path)
    init.create(Path("birds"), tmp_path / "photos", path)
    name = yaml.safe_load((place / "birds/params.yaml").read_text())["split"]["table"]
    after, _ = folders.read_folder(place / "birds/photos", place / "birds" / name)
    pd.testing.assert_frame_equal(before.table, after.table)


def test_odd_names_are_replaced_and_unreadable_photos_left_out(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("heron", "robin"):
        draw(tmp_path / "photos" / name, 3)
    for byte in (b"\xe9", b"\xe8"):
        shutil.copy(tmp_path / "photos/heron/0.jpg", tmp_path / "photos/heron" / os.fsdecode(byte + b".jpg"))
    sha256 = files.sha256

    def read_or_fail(path: Path) -> str:
        if path.name == "2.jpg":
            raise OSError(5, "Input/output error")
        return sha256(path)

    monkeypatch.setattr(files, "sha256", read_or_fail)
    summary = init.create(Path("birds"), tmp_path / "photos", None)
    names = {path.name for path in (place / "birds/photos/heron").iterdir()}
    assert names == {"0.jpg", "1.jpg", "\ufffd.jpg", "\ufffd_.jpg"}
    assert "2 cannot be read: Input/output error (heron/2.jpg, robin/2.jpg)" in summary


def test_options_read_a_table_as_it_is_and_the_project_reads_the_same(place: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos", 60)
    rows = [f"p{n // 2},{'rare' if n > 57 else 'ab'[n % 2]},{n}.jpg" for n in range(60)]
    (place / "metadata.csv").write_text("\n".join(["patientid,finding,filename", *rows, "p0,a,gone.jpg", "p9,a,0.jpg"]))
    arguments = Path("../photos"), Path("metadata.csv")
    with pytest.raises(SmallsetError, match=r"File is filename. Likely: --label finding, --group patientid"):
        init.create(Path("birds"), *arguments)
    columns = {"label": "finding", "group": "patientid"}
    with pytest.raises(SmallsetError, match=r"line 62: 'gone.jpg'. Correct .*--skip-missing"):
        init.create(Path("birds"), *arguments, init.Choices(columns))
    with pytest.raises(SmallsetError, match=r"expected a column for label: findings; found patientid, finding"):
        init.create(Path("birds"), *arguments, init.Choices({"label": "findings"}))
    summary = init.create(Path("birds"), *arguments, init.Choices(columns, skip_missing=True, min_photos=3))
    assert "metadata.csv: 1 lines are left out, because their files are missing: gone.jpg." in summary
    assert "These groups are merged, because metadata.csv lists a photo in both: p0 + p9." in summary
    assert "Left out, because they have fewer than 3 different photos: rare (2)." in summary
    dataset, _ = folders.read_folder(place / "birds/photos", place / "birds/labels.csv")
    assert dataset.table.groupby("group")["file"].count().to_dict()["p0"] == 4
    assert (len(dataset), dataset.classes) == (58, ("a", "b"))
    summary = init.create(Path("ungrouped"), *arguments, init.Choices({"label": "finding"}, skip_missing=True))
    assert "the column patientid has 30 values for 62 lines. If photos with the same value belong together" in summary


def test_bursts_are_named_and_grouped_and_copies_count_once(place: Path, photos: Path) -> None:
    for number in range(3):
        shutil.copy(photos / f"heron/{number}.jpg", photos / f"heron/IMG_0001_{number}.jpg")
    summary = init.create(Path("birds"), photos, None)
    assert "Copies: 3 files with the same bytes as another one do not count again." in summary
    assert "heron: 19 photos" in summary
    assert "Bursts: 3 photos of 1 burst (" in summary
    assert not (place / "birds/labels.csv").exists()
    summary = init.create(Path("grouped"), photos, None, init.Choices(group_bursts=True))
    assert "Groups: 3 photos of 1 burst (" in summary
    groups = pd.read_csv(place / "grouped/labels.csv", keep_default_na=False)["group"]
    assert groups.value_counts().to_dict() == {"": 69, "heron/IMG_0001": 3}


def test_photos_with_positions_are_counted_and_shared_unchanged(place: Path, photos: Path) -> None:
    plain, exif = Image.open(photos / "heron/0.jpg"), Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSVersionID] = b"\2\3\0\0"
    plain.save(photos / "heron/no position.jpg", exif=exif)
    assert "GPS" not in init.create(Path("none"), photos, None)
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (37.0, 33.0, 59.0)
    for name in ("a.jpg", "b.png", "c.webp"):
        plain.save(photos / "heron" / name, exif=exif)
    (photos / "heron/broken.jpg").write_bytes(b"\xff\xd8\xff\xe1\0\x10Exif\0\0MM\0*")
    summary = init.create(Path("birds"), photos, None)
    assert "GPS positions: the Exif of 3 photos of 74 says where it was taken." in summary
    assert (place / "birds/photos/heron/a.jpg").read_bytes() == (photos / "heron/a.jpg").read_bytes()


def test_given_splits_with_copies_on_both_sides_are_said(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        for label in "ab":
            draw(tmp_path / "photos" / split / label, 5, seed=2 * seed + (label == "a"))
    shutil.copy(tmp_path / "photos/train/a/0.jpg", tmp_path / "photos/test/a/9.jpg")
    summary = init.create(Path("birds"), tmp_path / "photos", None)
    assert "by: given: 1 picture in two splits (" in summary
    assert "minutes" not in summary


def test_the_template_fits_the_package() -> None:
    texts = init.template("a b.csv")
    document, stages = yaml.safe_load(texts["params.yaml"]), yaml.safe_load(texts["dvc.yaml"])["stages"].values()
    assert document["smallset"] == metadata.version("smallset")
    assert document["split"]["table"] == "a b.csv"
    keys = {key.partition(".")[0] for stage in stages for key in stage["params"]}
    assert params.parse(document).model_fields_set == keys
    assert all("smallset" in stage["params"] for stage in stages)
    assert texts["corrections.csv"] == f"{corrections.HEADER}\n"
    assert all(texts[path] == (ROOT / path).read_text() for path in texts if path.startswith(".dvc/"))
    plots = [settings for stage in stages for plot in stage.get("plots", []) for settings in plot.values()]
    copied = {Path(path).stem for path in texts if path.startswith(".dvc/plots/")}
    assert {plot["template"] for plot in plots} == copied | {"scatter", "bar_horizontal", "confusion"}  # DVC's own
    assert all(plot["cache"] is False for plot in plots)  # which git keeps


def test_requirements_pin_the_installed_packages() -> None:
    pins = dict(line.split("==") for line in init.pin_requirements().splitlines() if "==" in line)
    for name in ("dvc", "numpy", "tensorflow", "keras", "pygit2"):
        assert pins[name] == metadata.version(name)
    assert not {"ray", "ultralytics", "pytest", "tf2onnx"} & set(pins)  # of the extras


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ({}, "smallset==1.2"),
        ({"url": "file:///home/me/clone", "dir_info": {}}, "smallset==1.2"),
        ({"url": "https://a.org/s.git", "vcs_info": {"commit_id": "0a"}}, "smallset @ git+https://a.org/s.git@0a"),
        ({"url": "https://a.org/s.whl", "archive_info": {}}, "smallset @ https://a.org/s.whl"),
    ],
)
def test_requirements_name_the_source_of_smallset(url: Any, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution = SimpleNamespace(version="1.2", read_text=lambda _: json.dumps(url))
    monkeypatch.setattr(metadata, "distribution", lambda _: distribution)
    text = init._name_source()
    assert text.splitlines()[-1] == expected
    assert "/home" not in text


def test_the_user_s_own_settings_of_git_do_no_harm(place: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ignored").write_text("dvc*\n*.yaml\n")
    configure(monkeypatch, f"[core]\n\texcludesFile = {place / 'ignored'}\n")
    init.create(Path("mine"), photos, None)
    assert {"dvc.yaml", "params.yaml"} < set(run(place / "mine", "git", "ls-files").splitlines())


def test_a_repository_around_the_project_must_ignore_it(
    place: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, "git", "init", "--quiet")
    with pytest.raises(SmallsetError, match="mine: is in the git repository .*place, and a project is a repository"):
        init.create(Path("mine"), photos, None)
    (place / ".gitignore").write_text("/mine\n")
    monkeypatch.setenv("HOME", str(photos.parent))
    init.create(Path("~/place/mine"), Path("~") / photos.name, None)  # as in --photos=~/photos
    assert run(place / "mine", "git", "rev-parse", "--show-toplevel").strip() == str(place / "mine")


def configure(patch: pytest.MonkeyPatch, text: str) -> None:
    """Let git read this as the user's settings."""
    Path("gitconfig").write_text(text)
    patch.setenv("GIT_CONFIG_GLOBAL", str(Path("gitconfig").absolute()))


def forget_the_user(_: Path, patch: pytest.MonkeyPatch) -> None:
    for name in IDENTITY:
        patch.delenv(name)
    configure(patch, "[user]\n\tuseConfigOnly = true\n")


def spoil(change: Callable[[bytes], bytes]) -> Callable[..., None]:
    def spoil_photos(photos: Path, _: pytest.MonkeyPatch) -> None:
        for path in photos.glob("*/*"):
            path.write_bytes(change(path.read_bytes()))

    return spoil_photos


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (lambda photos, _: shutil.rmtree(photos / "heron"), "expected at least two classes"),
        (spoil(lambda _: b"x"), "expected photos, found none. Unreadable: 69"),
        (
            spoil(lambda photo: photo[:20]),
            "No photo of 69 decodes: 69 does not decode as a photo: a JPEG with a broken",
        ),
        (lambda photos, _: shutil.rmtree(photos), "expected a folder of photos, found nothing"),
        (lambda photos, _: photos.rename("old") and photos.write_bytes(b""), "found a file. If it is an archive"),
        (lambda photos, patch: patch.chdir(photos / "heron"), "expected only photos, but .*mine would be inside"),
        (lambda *_: Path("mine").mkdir(), "mine: exists already. Choose another name"),
        (
            lambda _, patch: configure(patch, "[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = /none\n"),
            "git commit failed",
        ),
        (forget_the_user, 'git config --global user.name "Your Name"'),
        (
            lambda _, patch: patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000)),
            r"place: the photos need 0.0 GB, and the disk has 0.0 GB left. Free some",
        ),
    ],
)
def test_what_cannot_become_a_project_is_refused(
    photos: Path, monkeypatch: pytest.MonkeyPatch, trouble: Any, message: str
) -> None:
    with monkeypatch.context() as patch:
        trouble(photos, patch)
        with pytest.raises(SmallsetError, match=message):
            init.create(Path("mine"), photos, None)
        assert not [*Path().glob("mine/*"), *Path().glob(".part*")]
