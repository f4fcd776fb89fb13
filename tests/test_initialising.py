"""`smallset init`: a git and DVC repository with the photos, the code and a first commit; whole or not at all."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from projects import create, draw, identify, run

from smallset.cli import bringing, initialising
from smallset.pipeline import git, params
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]
SEED = 1337


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty, in no repository."""
    identify(monkeypatch)
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Photos of 20 cats and 50 dogs in class folders, which must stay as they are."""
    folder = tmp_path / "내 사진"
    draw(folder / "cat", 20)
    draw(folder / "dog", 50, shade=99)
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {
        path: (stat.st_mtime_ns, stat.st_mode, stat.st_nlink)
        for path in folder.rglob("*")
        if (stat := path.lstat()) and not path.is_dir()
    }


def test_all_but_the_photos_is_in_the_first_commit_and_they_are_dvc_s(place: Path, own: Path) -> None:
    said = create(Path("my birds"), own)
    folder = place / "my birds"
    tracked = set(run(folder, "git", "ls-files").splitlines())
    assert {
        *bringing.code(chapter=False),
        "README.md",
        "params.yaml",
        "photos.dvc",
        ".smallset.json",
        "corrections.csv",
    } < tracked
    assert run(folder, "git", "status", "--porcelain") == ""
    assert run(folder, "git", "log", "--format=%s%n%an").splitlines() == [
        "Photos and smallset's code",
        "test@example.org",
    ]
    assert sorted(path.name for path in (folder / "photos").iterdir()) == ["cat", "dog"]
    assert run(folder, "dvc", "data", "status").strip() == "No changes."
    assert not [line for line in run(folder, "git", "ls-files", "--stage").splitlines() if line.startswith("120000")]
    assert not list(place.glob(".part.*"))
    assert "'my birds': a project with 70 photos of 2 classes" in said
    assert "  cd 'my birds'\n  dvc repro" in said


def test_no_path_of_this_machine_is_committed(place: Path, own: Path, tmp_path: Path) -> None:
    create(Path("mine"), own)
    done = git.run(place / "mine", "grep", "--fixed-strings", str(tmp_path), code=None)
    assert done == b""


def test_what_dvc_makes_is_ignored(place: Path, own: Path) -> None:
    create(Path("mine"), own)
    for name in ("data/subset/x", "models/x", "plots/x", "dvc_plots/x", "photos/x", ".part.x", ".dvc/cache/x"):
        assert git.ignores(place / "mine", Path(name)), name
    assert not git.ignores(place / "mine", Path("metrics/x.json"))


def test_a_user_s_own_ignore_file_keeps_nothing_out(place: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ignored").write_text("models*\nstages\n*.json\n")
    (place / "gitconfig").write_text(f"[core]\n\texcludesFile = {place / 'ignored'}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place / "gitconfig"))
    create(Path("mine"), own)
    tracked = set(run(place / "mine", "git", "ls-files").splitlines())
    assert set(bringing.code(chapter=False)) < tracked


def test_only_the_values_for_these_photos_change_and_every_comment_stays(own: Path) -> None:
    found = initialising.look(own, None, SEED)
    for chapter, keys in (
        (False, []),
        (True, ["by", "train", "validation", "test", "ema_momentum", "ema_momentum"]),
    ):
        before = bringing.params(chapter)
        after = initialising.written(before, initialising.fitted(found, chapter))
        lines = zip(before.splitlines(), after.splitlines(), strict=True)
        changed = [(was, now) for was, now in lines if was != now]
        assert [now.split()[0].rstrip(":") for _, now in changed] == keys
        for was, now in changed:
            assert re.findall("#.*", was) == re.findall("#.*", now)
        subset = params.parse(yaml.safe_load(after)).subset
        assert subset.model_dump() == {"by": "fraction", "train": 0.6, "validation": 0.2, "test": 0.2, "exclude": []}


@pytest.mark.parametrize(("photos", "expected"), [(300, 0.93), (150, 0.87), (2000, 0.99), (9000, 0.99)])
def test_the_average_of_the_weights_spans_as_many_epochs_as_in_the_reference(photos: int, expected: float) -> None:
    p = params.read(ROOT / "params.yaml").convnet
    assert initialising.momentum(p, photos) == expected
    assert initialising.momentum(p.model_copy(update={"ema_momentum": None}), photos) is None


@pytest.mark.parametrize(
    ("sides", "expected"), [((300, 200), 180), ((179, 400), 179), ((400, 100), 100), ((30, 30), 78)]
)
def test_the_chapter_does_not_enlarge_small_photos(tmp_path: Path, sides: tuple[int, int], expected: int) -> None:
    for name in ("cat", "dog"):
        draw(tmp_path / "own" / name, 5, sides)
    changes = initialising.fitted(initialising.look(tmp_path / "own", None, SEED), chapter=True)
    assert changes["image"] == {"side": expected}
    assert changes["larger"] == {"side": round(expected * 256 / 180)}


def test_it_says_what_it_found_and_so_does_the_readme(place: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    draw(own / "cat", 19)
    draw(own / "d|<b>g", 50)
    (own / "cat/notes.txt").write_text("no photo")
    said = create(Path("mine"), own)
    for text in (
        f"mine: a project with 69 photos of 2 classes from {own}",
        "Splits: 60, 20 and 20 % in the mean, each photo by its bytes. Base: EfficientNetLite0 at 224 to 384 px",
        "The run will take about a minute on this machine",
    ):
        assert text in said
    written = (place / "mine/README.md").read_text()
    dog, plain = "d|<b>g", r"d\|\<b\>g"  # what a class is called is no markup
    for name, cell, count in (("cat", "cat", 19), (dog, plain, 50)):
        found = re.search(rf"{re.escape(name)}: {count} photos: (\d+) train, (\d+) validation, (\d+) test\n", said)
        assert found is not None
        assert f"| {cell} | {count} | {' | '.join(found.groups())} |" in written
    assert "# about a minute on the machine that made this project" in written
    assert f"Unbalanced: 50 photos of {dog}, 19 of cat" in said
    assert f"Unbalanced: 50 photos of {plain}, 19 of cat" in written
    for text in (
        "Few test photos: cat (",
        "Not counted: 1 of type .txt (cat/notes.txt).",
    ):
        assert text in said
        assert text in written


def test_folders_in_class_folders_may_be_the_classes(tmp_path: Path) -> None:
    for name in ("cat/tom", "cat/felix", "dog/rex"):
        draw(tmp_path / "own" / name, 5)
    notes = initialising.look(tmp_path / "own", None, SEED).notes
    assert any(note.startswith("Folders in class folders: cat. All photos below count as") for note in notes)


def test_a_class_without_photos_in_some_split_is_named_before_the_run(tmp_path: Path) -> None:
    draw(tmp_path / "own/cat", 2)
    draw(tmp_path / "own/dog", 50)
    notes = initialising.look(tmp_path / "own", None, SEED).notes
    assert any(
        note.startswith("The stage subset will stop: expected photos of each class in each split; cat has")
        for note in notes
    )


def test_splits_and_groups_of_a_table_come_in_beside_the_photos(place: Path, tmp_path: Path) -> None:
    draw(tmp_path / "own", 40)
    splits = ["train", "train", "val", "test"]
    rows = [f"{n}.jpg,{'cat' if n % 2 else 'dog'},{splits[n // 4 % 4]},{n // 4}" for n in range(40)]
    (place / "labels.csv").write_text("\n".join(["file,label,split,group", *rows]))
    said = create(Path("mine"), Path("../own"), Path("labels.csv"))
    assert "Splits: as given, groups undivided" in said
    assert yaml.safe_load((place / "mine/params.yaml").read_text())["subset"]["by"] == "given"
    assert (place / "mine/photos/photos.csv").read_text().splitlines()[1] == "dog/0.jpg,dog,train,0"
    assert run(place / "mine", "dvc", "repro", "subset", PYTHONPATH=str(ROOT / "src"))
    assert len((place / "mine/metrics/subset/test.csv").read_text().splitlines()) == 1 + 8


def test_a_home_folder_is_found_without_the_shell(place: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own.parent))
    create(Path("~/place/mine"), Path("~") / own.name)
    assert (place / "mine/photos/cat/0.jpg").is_file()


def test_a_folder_of_another_repository_is_refused_unless_that_one_ignores_it(place: Path, own: Path) -> None:
    run(place, "git", "init", "--quiet")
    with pytest.raises(SmallsetError, match="mine: is in the git repository .*place, and a project is a repository of"):
        create(Path("mine"), own)
    assert not (place / "mine").exists()
    (place / ".gitignore").write_text("/mine\n")
    create(Path("mine"), own)
    assert run(place / "mine", "git", "rev-parse", "--show-toplevel").strip() == str(place / "mine")


def test_without_a_name_in_git_it_stops_at_once_with_the_cure(
    place: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name)
    (place / "gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place / "gitconfig"))
    with pytest.raises(
        SmallsetError, match='git config --global user.name "Your Name"\n  git config --global user.email'
    ):
        create(Path("mine"), own)
    assert not (place / "mine").exists()


def test_a_disk_without_room_is_named_before_anything_is_copied(
    place: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(SmallsetError, match=r"place: the photos take 0.0 GB, and this disk has 0.0 GB left. Make room"):
        create(Path("mine"), own)
    assert list(place.iterdir()) == []


def test_what_fails_at_the_end_leaves_nothing(place: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "gitconfig").write_text("[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = /none\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place / "gitconfig"))
    with pytest.raises(SmallsetError, match="git commit ended with exit code 128"):
        create(Path("mine"), own)
    assert [path.name for path in place.iterdir()] == ["gitconfig"]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (lambda own, _: shutil.rmtree(own / "dog"), "expected two classes or more, found cat"),
        (
            lambda own, _: [p.write_text("x") for p in own.glob("*/*")],
            "expected photos, found none. Not read: 70 does not decode as a photo: it begins with b'x'",
        ),
        (
            lambda own, _: [p.write_bytes(p.read_bytes()[:20]) for p in own.glob("*/*")],
            "no photo opens of 70 that were looked at: 70 does not decode as a photo: a JPEG whose header is broken",
        ),
        (lambda own, _: shutil.rmtree(own), "own: expected a folder of photos, found nothing. Name one with --photos"),
        (lambda own, _: own.rename(own / "../old") and own.write_bytes(b""), "found a file. .* unpack"),
        (lambda own, patch: patch.chdir(own / "cat"), "expected a folder of photos alone; .*mine would be in it"),
        (lambda *_: Path("mine").mkdir(), "mine: exists already. Choose another name"),
    ],
)
def test_what_cannot_become_a_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Any, message: str
) -> None:
    for name, count in {"cat": 20, "dog": 50}.items():
        draw(tmp_path / "own" / name, count)
    with monkeypatch.context() as patch:
        trouble(tmp_path / "own", patch)
        with pytest.raises(SmallsetError, match=message):
            create(Path("mine"), tmp_path / "own")
        assert not list(Path().glob("mine/*"))


def test_a_folder_whose_parent_is_missing_is_refused(own: Path) -> None:
    with pytest.raises(SmallsetError, match="nowhere: no such folder. Make it first"):
        create(Path("nowhere/mine"), own)
