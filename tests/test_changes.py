"""What has become of the photos: by the lists of two runs, and by running `subset` twice under DVC."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pipelines import Pipeline

from smallset.datasets import lists, synthetic
from smallset.evaluation import changes

SEEN = ": the models of that run have seen these"
BEFORE = {
    "heron/1.jpg": ("a", "train"),
    "heron/2.jpg": ("b", "test"),
    "robin/1.jpg": ("c", "train"),
    "robin/2.jpg": ("d", "test"),
    "robin/3.jpg": ("e", "validation"),
    "wren/1.jpg": ("f", "train"),
    "wren/2.jpg": ("f", "train"),  # the same photo again
}
Album = dict[str, tuple[str, str]]  # <class>/<name> to digest and split


def listed(album: Album) -> changes.Lists:
    rows = [(file, file.partition("/")[0], digest, split) for file, (digest, split) in album.items()]
    table = pd.DataFrame(rows, columns=[*lists.COLUMNS, "split"])
    return {split: table[table["split"] == split].drop(columns="split") for split in changes.SPLITS}


def without(*names: str) -> Album:
    return {file: photo for file, photo in BEFORE.items() if file not in names}


def moved(**names: str) -> Album:
    """Classes by other names."""
    return {
        f"{names.get(label, label)}/{name}": photo
        for file, photo in BEFORE.items()
        for label, _, name in [file.partition("/")]
    }


@pytest.mark.parametrize(
    ("album", "expected"),
    [
        (BEFORE, []),
        (dict(reversed(BEFORE.items())), []),
        (
            BEFORE | {"heron/3.jpg": ("g", "test"), "heron/4.jpg": ("h", "train"), "heron/5.jpg": ("i", "train")},
            ["+3 photos of heron: 2 train, 0 validation, 1 test"],
        ),
        (BEFORE | {"owl/1.jpg": ("g", "validation")}, ["+1 photo of owl, a new class: 0 train, 1 validation, 0 test"]),
        (without("robin/3.jpg"), ["-1 photo of robin: 0 train, 1 validation, 0 test"]),
        (without("wren/2.jpg"), ["-1 photo of wren: 1 train, 0 validation, 0 test"]),
        (
            without("heron/1.jpg", "heron/2.jpg"),
            ["-2 photos of heron, a class no more: 1 train, 0 validation, 1 test"],
        ),
        (without("robin/1.jpg") | {"wren/9.jpg": ("c", "train")}, ["1 photo moved from robin to wren"]),
        (without("heron/2.jpg") | {"heron/two.jpg": ("b", "test")}, ["1 photo renamed"]),
        (moved(heron="crane"), ["class heron is called crane now"]),
        (
            without("wren/1.jpg", "wren/2.jpg") | {"robin/1.jpg": ("f", "train"), "robin/4.jpg": ("c", "train")},
            [
                "-1 photo of wren, a class no more: 1 train, 0 validation, 0 test",
                "1 photo moved from wren to robin",
                "1 photo renamed",
            ],
        ),
        (
            {f"bird/{number}": photo for number, photo in enumerate(BEFORE.values())},
            [
                "2 photos moved from heron to bird",
                "3 photos moved from robin to bird",
                "2 photos moved from wren to bird",
            ],
        ),
        (
            BEFORE | {"heron/1.jpg": ("a", "test"), "heron/2.jpg": ("b", "train")},
            ["2 of 7 photos went to another split, 1 of them to the test photos" + SEEN],
        ),
        (BEFORE | {"heron/2.jpg": ("b", "train")}, ["1 of 7 photos went to another split"]),
    ],
)
def test_what_has_changed_is_said_class_by_class(album: Album, expected: list[str]) -> None:
    assert changes.between(listed(BEFORE), listed(album)) == expected


def test_lists_that_are_not_all_there_are_none(tmp_path: Path) -> None:
    assert changes.read(tmp_path, {tmp_path / "train.csv": "file,label,digest\n"}.get) is None


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """The stage `subset` alone, by fraction, over 40 drawn photos of each of two classes in photos/."""
    pipeline = Pipeline(tmp_path)
    graph = (tmp_path / "dvc.yaml").read_text().replace("data/raw", "photos")
    stage = yaml.safe_load(graph)["stages"]["subset"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"vars": [{"root": "."}], "stages": {"subset": stage}}))
    (tmp_path / ".gitignore").write_text("/photos\n/data\n")
    document = yaml.safe_load((tmp_path / "params.yaml").read_text())
    document["subset"] = {"by": "fraction", "train": 0.6, "validation": 0.2, "test": 0.2}
    pipeline.write_params(document)
    synthetic.draw(tmp_path / "photos", 40, 48, seed=1)
    return pipeline


def split_of(pipeline: Pipeline) -> dict[str, str]:
    """Of each photo, by its digest."""
    tables = {split: lists.rows(pipeline.folder / f"metrics/subset/{split}.csv") for split in changes.SPLITS}
    return {digest: split for split, table in tables.items() for digest in table["digest"]}


@pytest.mark.slow
def test_dvc_sees_new_photos_no_other_one_moves_and_subset_says_what_has_changed(pipeline: Pipeline) -> None:
    answer = pipeline.run("dvc", "repro")
    assert changes.NONE in answer
    assert "80 photos of 2 classes: " in answer
    assert "Few test photos: cat (" in answer
    pipeline.commit("the first run")
    before, photos = split_of(pipeline), pipeline.folder / "photos"
    answer = pipeline.run("dvc", "repro", "--force")
    assert changes.SAME in answer
    assert pipeline.run("git", "status", "--porcelain") == ""

    synthetic.draw(pipeline.folder / "more", 40, 48, seed=2)
    for number in range(20):
        shutil.copy(pipeline.folder / f"more/cat/cat.{number}.jpg", photos / f"cat/new.{number}.jpg")
    (pipeline.folder / "more/dog").rename(photos / "fox")
    shutil.rmtree(pipeline.folder / "more")
    (photos / "cat/cat.7.jpg").rename(photos / "dog/cat.7.jpg")
    (photos / "dog/dog.3.jpg").unlink()
    answer = pipeline.run("dvc", "repro")
    after = split_of(pipeline)
    assert len(after) == 80 + 20 + 40 - 1
    assert len(before.keys() & after.keys()) == 79
    assert all(after[digest] == split for digest, split in before.items() if digest in after)
    for line in (
        "Since the committed run:\n  +20 photos of cat: ",
        "  +40 photos of fox, a new class: ",
        "  -1 photo of dog: ",
        "  1 photo moved from cat to dog\n",
    ):
        assert line in answer
    assert "another split" not in answer

    pipeline.commit("more photos")
    document = yaml.safe_load((pipeline.folder / "params.yaml").read_text())
    pipeline.write_params(document | {"seed": 7})
    answer = pipeline.run("dvc", "repro")
    moved = sum(split != after[digest] for digest, split in split_of(pipeline).items())
    assert f"{moved} of 139 photos went to another split, " in answer
    assert SEEN in answer
