"""The audit: photos that are there twice, however they were changed, what it says of them, and odd ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageEnhance, ImageFilter
from pipelines import ROOT

from smallset.datasets import lists, splits, synthetic
from smallset.evaluation import duplicates
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

NEAR = 8
TRAIN, TEST = "train/cat/cat.0.jpg", "test/cat/copy.png"
TRANSPOSED = {
    "rotated 90": Image.Transpose.ROTATE_90,
    "rotated 180": Image.Transpose.ROTATE_180,
    "rotated 270": Image.Transpose.ROTATE_270,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "mirrored and rotated 90": Image.Transpose.TRANSPOSE,
    "mirrored and rotated 180": Image.Transpose.FLIP_TOP_BOTTOM,
    "mirrored and rotated 270": Image.Transpose.TRANSVERSE,
}


@pytest.fixture
def subset(tmp_path: Path) -> Path:
    """Drawn pictures, all different: 5 of each class for training, 3 for validation, 3 for the test."""
    for seed, (split, count) in enumerate({"train": 5, "validation": 3, "test": 3}.items()):
        synthetic.draw(tmp_path / "data/subset" / split, count, 80, seed)
    return tmp_path / "data/subset"


def look(subset: Path) -> duplicates.Looks:
    return duplicates.look({split: lists.find(subset / split) for split in splits.SPLITS})


def pairs(subset: Path) -> pd.DataFrame:
    return duplicates.pairs(look(subset), NEAR)


def names(table: pd.DataFrame) -> list[tuple[str, str]]:
    return [
        (f"{row['split']}/{row['file']}", f"{row['other_split']}/{row['other_file']}")
        for row in table.to_dict("records")
    ]


def test_different_pictures_are_no_pairs(tmp_path: Path) -> None:
    for seed, split in enumerate(splits.SPLITS):
        synthetic.draw(tmp_path / split, 20, 80, seed)
    table = duplicates.pairs(look(tmp_path), 16)
    assert table.empty
    assert [*table.columns] == [
        *["kind", "transform", "distance", "correlation", "file", "split", "class"],
        *["other_file", "other_split", "other_class", "crosses_splits", "crosses_classes", "words"],
    ]


def test_the_same_bytes_are_found(subset: Path) -> None:
    shutil.copy(subset / TRAIN, subset / TEST)
    [row] = pairs(subset).to_dict("records")
    assert (row["kind"], row["transform"], row["distance"], row["correlation"]) == ("bytes", "none", 0, 1)
    assert (row["class"], row["crosses_splits"], row["crosses_classes"]) == ("cat", True, False)


@pytest.mark.parametrize(
    ("change", "kind", "transform"),
    [
        (lambda image: image, "pixels", "none"),  # saved as PNG
        (lambda image: image.resize((50, 50)), "near", "none"),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.8), "near", "none"),
        (lambda image: image.convert("L"), "near", "none"),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((120, 100)), "near", "mirrored"),
        *((lambda image, by=by: image.transpose(by), "near", name) for name, by in TRANSPOSED.items()),
    ],
)
def test_a_changed_copy_is_found(
    subset: Path, change: Callable[[Image.Image], Image.Image], kind: str, transform: str
) -> None:
    with Image.open(subset / TRAIN) as image:
        change(image).save(subset / TEST)
    found = pairs(subset)
    assert names(found) == [(TRAIN, TEST)]
    assert found[["kind", "transform"]].to_numpy().tolist() == [[kind, transform]]
    assert found["distance"].max() <= NEAR
    assert found["correlation"].min() > 0.98


def test_of_several_copies_each_is_paired_with_one_for_the_test(subset: Path) -> None:
    copies = ["train/dog/again.jpg", "validation/cat/other.jpg", "test/cat/copy.jpg"]
    for copy in copies:
        shutil.copy(subset / TRAIN, subset / copy)
    found = pairs(subset)
    assert set(names(found)) == {(TRAIN, copies[2]), (copies[0], copies[2]), (copies[1], copies[2])}
    assert found["crosses_splits"].all()
    assert found["crosses_classes"].tolist() == [True, False, False]  # a dog that is a cat in the test comes first
    excluded = duplicates.exclusions(found, {"cat/bad.jpg": "does not decode", "dog/x.jpg": splits.EXCLUDED})
    assert excluded == ["dog/x.jpg", "dog/again.jpg", "cat/cat.0.jpg", "cat/other.jpg"]


def test_pictures_of_one_colour_are_alike_only_when_they_are_equal(subset: Path) -> None:
    for name, (colour, side) in {"a": ("white", 40), "b": ("white", 40), "c": ("white", 41), "d": ("grey", 40)}.items():
        Image.new("RGB", (side, side), colour).save(subset / f"train/cat/{name}.png")
    assert names(pairs(subset)) == [("train/cat/a.png", "train/cat/b.png")]


def test_many_near_copies_of_a_photo_stay_few_rows_and_those_across_splits_are_among_them(
    subset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "MOST", 2)
    with Image.open(subset / TRAIN) as image:
        for side in range(70, 78):
            image.resize((side, side)).save(subset / f"train/cat/{side}.png")
        image.resize((60, 60)).save(subset / TEST)
    found = pairs(subset)
    assert 9 <= len(found) <= 2 * 9
    assert len({file for file, other in names(found) if other == TEST}) == 9


def leaks(count: int) -> pd.DataFrame:
    """Pairs across splits, and one within."""
    rows: list[dict[str, Any]] = [
        {"kind": "near", "transform": "mirrored", "file": f"cat/{number}.jpg", "other_file": f"cat/x{number}.jpg"}
        for number in range(count + 1)
    ]
    crossing = [True] * count + [False]
    words = duplicates.likeness("near", "mirrored")
    return pd.DataFrame(rows).assign(
        words=words, split="train", other_split="test", crosses_splits=crossing, crosses_classes=False
    )


def test_a_leak_is_one_message_with_the_photos_and_a_line_to_paste() -> None:
    with pytest.raises(SmallsetError) as raised:
        duplicates.judge(leaks(12), {"dog/d.jpg": splits.EXCLUDED}, "error")
    first, *lines = str(raised.value).splitlines()
    assert first.startswith("12 pairs of photos alike in two splits (metrics/audit/pairs.csv, plots/audit.png)")
    assert lines[0] == "- train cat/0.jpg and test cat/x0.jpg: nearly the same picture, mirrored"
    assert lines[9:11] == ["- train cat/9.jpg and test cat/x9.jpg: nearly the same picture, mirrored", "- and 2 more"]
    assert yaml.safe_load(lines[-2])["exclude"] == ["dog/d.jpg", *(f"cat/{number}.jpg" for number in range(12))]
    assert lines[-1] == "Or let them be: set duplicates.leakage: warning."
    assert duplicates.judge(leaks(1), {}, "warning").startswith("Warning: 1 pair of photos alike in two splits")
    assert "- train cat/0.jpg and test cat/x0.jpg" in duplicates.judge(leaks(1), {}, "warning")
    odd = leaks(1).assign(file="cat/\x1b[2J\n.jpg")
    assert r"- train cat/\x1b[2J\n.jpg and" in duplicates.judge(odd, {}, "warning")
    assert yaml.safe_load(duplicates.judge(odd, {}, "warning").splitlines()[-1])["exclude"] == ["cat/\x1b[2J\n.jpg"]
    assert duplicates.judge(leaks(0), {}, "error") == "No photo was found in two splits."


def test_photos_unlike_the_rest_are_flagged(tmp_path: Path) -> None:
    for seed, split in enumerate(splits.SPLITS):
        synthetic.draw(tmp_path / split, 12, 80, seed)
    with Image.open(tmp_path / "train/cat/cat.0.jpg") as image:
        for flag, odd in {
            "dark": ImageEnhance.Brightness(image).enhance(0.1),
            "blurred": image.filter(ImageFilter.GaussianBlur(12)),
            "greyscale": image.convert("L"),
            "tiny": image.resize((16, 16)),
            "extreme_aspect": image.resize((200, 80)),
        }.items():
            odd.save(tmp_path / f"train/dog/{flag}.jpg")
    table = duplicates.flagged(look(tmp_path).table)
    for flag in duplicates.FLAGS:
        flagged = table.loc[table[flag], "file"].tolist()
        assert f"dog/{flag}.jpg" in flagged
        assert set(flagged) <= {f"dog/{other}.jpg" for other in duplicates.FLAGS}
    counts = duplicates.summary(table, leaks(1), {"cat/a.jpg": "empty", "cat/b.jpg": "empty"})
    assert counts["photos"] == {"train": 29, "validation": 24, "test": 24}
    assert counts["pairs"] == {"bytes": 0, "pixels": 0, "near": 2, "crosses_splits": 1, "crosses_classes": 0}
    assert counts["left_out"] == {"empty": 2}


@pytest.mark.parametrize("side", [28, 100, 400])
def test_no_photo_is_blurred_for_being_small(side: int) -> None:
    random = np.random.default_rng(0)
    sharp = [Image.fromarray(random.integers(0, 2, (side, side), np.uint8) * 200) for _ in range(3)]
    blur = [duplicates.blur(np.asarray(image, np.float64)) for image in sharp]
    soft = [duplicates.blur(np.asarray(image.filter(ImageFilter.GaussianBlur(3)), np.float64)) for image in sharp]
    assert max(blur) < duplicates.SOFT < min(soft)


def test_white_on_black_is_not_dark() -> None:
    table = pd.DataFrame({"luminance": [0.1] * 9 + [0.02], "blur": 0.2, "width": 28, "height": 28, "aspect": 1.0})
    flags = duplicates.flagged(table.assign(bytes="", pixels="", greyscale=True))
    assert flags["dark"].tolist() == [False] * 9 + [True]


def test_measures_are_in_their_units() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 100:] = 255
    found = duplicates.measures(pixels, Image.fromarray(pixels).resize((duplicates.THUMBNAIL, duplicates.THUMBNAIL)))
    assert (found["width"], found["height"], found["aspect"], found["greyscale"]) == (200, 100, 2, True)
    assert found["luminance"] == pytest.approx(0.5, abs=0.01)


def test_a_photo_that_does_not_decode_is_named(subset: Path) -> None:
    (subset / TEST).write_bytes(b"no photo")
    with pytest.raises(SmallsetError, match="test/cat/copy.png: does not decode as a photo"):
        look(subset)


def test_the_stage_leaves_all_its_results_then_stops_and_needs_no_tensorflow(subset: Path) -> None:
    folder = subset.parents[1]
    shutil.copy(subset / TRAIN, subset / TEST)
    shutil.copy(ROOT / "dvc.yaml", folder)
    own = {"seed": 0, "precision": "auto", "image": {"side": 80}, "audit": {"leakage": "error", "near": NEAR}}
    (folder / "params.yaml").write_text(yaml.safe_dump(own))
    (folder / "metrics").mkdir()
    (folder / "metrics/subset.json").write_text('{"left_out": {}}')
    for split, table in splits.listed(subset, subset / "train", {}).items():
        files.write_csv(folder / f"metrics/subset/{split}.csv", table)
    script = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('slow:', {'tensorflow', 'keras'} & set(sys.modules)))\n"
        f"runpy.run_path({str(ROOT / 'stages/audit.py')!r})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env=os.environ | {"DVC_STAGE": "audit", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "- train cat/cat.0.jpg and test cat/copy.png: the same file" in done.stderr
    assert "Traceback" not in done.stderr
    assert "slow: set()" in done.stdout
    written = {str(path.relative_to(folder)) for path in folder.rglob("*audit*") if path.is_file()}
    assert written == {"metrics/audit.json", "plots/audit.png"}
    assert len(pd.read_csv(folder / "metrics/audit/pairs.csv")) == 1
    assert len(pd.read_csv(folder / "metrics/audit/photos.csv")) == 23
