"""Issues: photos that are there twice, however they were changed, or in two splits, unusual photos, wrong labels."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import arrays
import numpy as np
import pandas as pd
import projects
import pytest
import yaml
from PIL import Image, ImageEnhance, ImageFilter

from smallset.datasets import synthetic
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.datasets.measure import measure
from smallset.evaluation import issues, label_issues
from smallset.features.store import Features
from smallset.images import decoding
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

TRAIN, TEST = "train/cat/cat.0.jpg", "test/cat/copy.png"
TRANSPOSED = {
    "rotated by 90°": Image.Transpose.ROTATE_90,
    "rotated by 180°": Image.Transpose.ROTATE_180,
    "rotated by 270°": Image.Transpose.ROTATE_270,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "mirrored and rotated by 90°": Image.Transpose.TRANSPOSE,
    "mirrored and rotated by 180°": Image.Transpose.FLIP_TOP_BOTTOM,
    "mirrored and rotated by 270°": Image.Transpose.TRANSVERSE,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Generated photos, all different: 5 of each class for training, 3 for validation, 3 for testing."""
    for seed, (split, count) in enumerate({"train": 5, "validation": 3, "test": 3}.items()):
        synthetic.draw(tmp_path / split, count, 160, seed)
    return tmp_path


def read(folder: Path) -> tuple[Dataset, Features]:
    """The photos with their properties, sorted by name; their features do not depend on brightness and contrast."""
    paths = sorted(path.relative_to(folder) for path in folder.glob("*/*/*.*"))
    rows = [(str(path), path.parts[1], path.parts[0]) for path in paths]
    table = pd.DataFrame(rows, columns=["file", "label", "split"]).assign(group="")
    dataset, _ = measure(Dataset(table, ("cat", "dog"), folder))
    thumbnails = np.stack([thumbnail(path) for path in dataset.paths])
    quantiles = np.quantile(thumbnails, np.linspace(0, 1, 16), axis=(1, 2)).T.astype(float)
    quantiles = (quantiles - quantiles.mean(axis=1, keepdims=True)) / (1 + quantiles.std(axis=1, keepdims=True))
    return dataset, replace(arrays.features(dataset, quantiles), thumbnails=thumbnails)


def thumbnail(path: Path) -> np.ndarray:
    image = Image.fromarray(decoding.decode(path)).resize((128, 128), Image.Resampling.BILINEAR)
    return np.asarray(image.convert("L").resize((64, 64), Image.Resampling.LANCZOS))


def find(folder: Path) -> pd.DataFrame:
    """The duplicates."""
    table = issues.find_issues(*read(folder))
    return table[table["kind"].isin(issues.DUPLICATES)]


def pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["file"], table["other_file"], strict=True))


def test_the_same_bytes_are_an_exact_duplicate_and_different_photos_are_none(folder: Path) -> None:
    assert len(find(folder)) == 0
    shutil.copy(folder / TRAIN, folder / TEST)
    [row] = find(folder).to_dict("records")
    names = ["file", "split", "label", "other_file", "kind", "score", "suggestion", "detail"]
    expected = [TRAIN, "train", "cat", TEST, "exact_duplicate", 0, "leave out", "the same file"]
    assert [row[name] for name in names] == expected


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda image: image, ""),  # saved as PNG
        (lambda image: image.resize((100, 100)), ""),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.8), ""),
        (lambda image: image.convert("L"), ""),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((120, 100)), ", mirrored"),
        *((lambda image, by=by: image.transpose(by), f", {name}") for name, by in TRANSPOSED.items()),
    ],
)
def test_a_changed_copy_is_a_near_duplicate(
    folder: Path, change: Callable[[Image.Image], Image.Image], detail: str
) -> None:
    with Image.open(folder / TRAIN) as image:
        change(image).save(folder / TEST)
    [row] = find(folder).to_dict("records")
    assert (row["file"], row["other_file"], row["kind"]) == (TRAIN, TEST, "near_duplicate")
    assert row["detail"] == f"nearly the same picture{detail}"
    assert row["score"] < 0.02


def test_copies_are_paired_with_a_test_photo_and_suggestions_depend_on_split_and_label(folder: Path) -> None:
    copies = ["train/dog/again.jpg", "validation/cat/other.jpg", "test/cat/copy.jpg"]
    for copy in copies:
        shutil.copy(folder / TRAIN, folder / copy)
    table = find(folder)
    assert pairs(table) == [(copies[0], copies[2]), (TRAIN, copies[2]), (copies[1], copies[2])]
    assert issues.crosses(table, "split").all()
    assert issues.crosses(table, "label").tolist() == [True, False, False]
    for copy in copies[1:]:
        (folder / copy).unlink()
    shutil.copy(folder / "train/dog/dog.1.jpg", folder / "train/dog/twice.jpg")
    assert find(folder)["suggestion"].tolist() == ["relabel", "keep"]


def test_photos_of_a_single_color_are_duplicates_only_when_they_are_equal(folder: Path) -> None:
    for name, (color, size) in {"a": ("white", 40), "b": ("white", 40), "c": ("white", 41), "d": ("gray", 40)}.items():
        Image.new("RGB", (size, size), color).save(folder / f"train/cat/{name}.png")
    assert pairs(find(folder)) == [("train/cat/a.png", "train/cat/b.png")]


def leaks(count: int, file: str = "photos/cat/{}.jpg") -> pd.DataFrame:
    """So many pairs across splits, and one within a split."""
    rows = [(file.format(number), f"photos/cat/x{number}.jpg") for number in range(count + 1)]
    table = pd.DataFrame(rows, columns=["file", "other_file"]).assign(label="cat", other_label="cat", split="train")
    detail = "nearly the same picture, mirrored"
    return table.assign(other_split=["test"] * count + ["train"], kind="near_duplicate", detail=detail)


def test_photos_in_two_splits_are_an_error_or_a_warning_with_the_line_that_excludes_them() -> None:
    with pytest.raises(SmallsetError) as raised:
        issues.check_leakage(leaks(12), "error")
    first, *lines = str(raised.value).splitlines()
    assert first.startswith("12 pairs of duplicate photos in two splits (metrics/issues.csv).")
    words = "nearly the same picture, mirrored"
    assert lines[0] == f"- photos/cat/0.jpg (train) and photos/cat/x0.jpg (test): {words}"
    assert lines[10] == "- and 2 more"
    assert yaml.safe_load(lines[-2])["exclude"] == [f"photos/cat/{number}.jpg" for number in range(12)]
    assert lines[-1] == "Or accept them: set issues.leakage: warning."
    message = issues.check_leakage(leaks(1, "cat/\x1b[2J\n{}.jpg"), "warning")
    assert message.startswith("Warning: 1 pair of duplicate photos in two splits")
    assert r"- cat/\x1b[2J\n0.jpg (train) and" in message
    assert yaml.safe_load(message.splitlines()[-1])["exclude"] == ["cat/\x1b[2J\n0.jpg"]
    assert issues.check_leakage(leaks(0), "error").startswith("No copies were found in two splits. The search finds")


def test_unusual_photos_are_found_and_nothing_else(tmp_path: Path) -> None:
    for seed, split in enumerate(SPLITS):
        synthetic.draw(tmp_path / split, 12, 80, seed)
    with Image.open(tmp_path / TRAIN) as image:
        for kind, changed in {
            "dark": ImageEnhance.Brightness(image).enhance(0.1),
            "blurry": image.filter(ImageFilter.GaussianBlur(12)),
            "grayscale": image.convert("L"),
            "odd_size": image.resize((16, 16)),
            "odd_aspect_ratio": image.resize((200, 80)),
        }.items():
            changed.save(tmp_path / f"train/dog/{kind}.jpg")
    table = issues.find_issues(*read(tmp_path))
    rows = table[table["suggestion"] == "review"].set_index("kind")
    kinds = {"blurry", "dark", "grayscale", "odd_size", "odd_aspect_ratio"}
    found = rows.drop("outlier", errors="ignore")["file"]
    assert set(found) == {f"train/dog/{kind}.jpg" for kind in kinds}
    assert kinds <= {kind for kind, file in found.items() if file == f"train/dog/{kind}.jpg"}
    assert rows["score"].between(0, 1).all()
    assert rows.loc["odd_aspect_ratio", "detail"] == "200 x 80 px"
    counts = issues.summarize(table, 3, label_issues.WrongLabels(10, 2, 1, 4))
    assert [counts[key] for key in ("grayscale", "label_issues", "across_splits", "wrong_labels")] == [1, 3, 0, 2]


def test_what_most_photos_are_is_no_issue() -> None:
    photos = arrays.dataset([0, 1] * 5)  # like digits: all grayscale, and white on black
    photos = replace(photos, table=photos.table.assign(saturation=0.0, brightness=[0.1] * 9 + [0.02]))
    [row] = issues.find_issues(photos, arrays.features(photos, np.eye(10))).to_dict("records")
    assert (row["kind"], row["file"], row["score"], row["detail"]) == (
        "dark",
        "photos/b/9.jpg",
        0.02,
        "brightness 0.02",
    )


def test_outliers_among_training_and_test_photos_are_found() -> None:
    photos = arrays.dataset(np.arange(300) % 2, ["train"] * 150 + ["validation"] * 100 + ["test"] * 50)
    values = np.random.default_rng(0).normal(size=(300, 3)) @ np.eye(3, 32) + 0.01
    strange = [7, 290]
    values[strange] = 0.01
    values[strange, [20, 21]] = 3.0  # outside the directions of the others
    table = issues.find_issues(photos, arrays.features(photos, values))
    rows = table[table["kind"] == "outlier"]
    assert set(photos.table["file"][strange]) <= set(rows["file"])
    assert len(rows) < 10
    assert (rows["score"] < 1).all()


@pytest.mark.parametrize("rare", [1, 10])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.05])
def test_wrong_labels_are_listed_and_their_number_is_in_the_interval(share: float, rare: int) -> None:
    listed, swapped, both, covered = 0, 0, 0, 0
    for seed in range(5):
        random = np.random.default_rng(seed)
        true = np.repeat([0, 1, 2], [200 // rare, 200, 200])
        wrong = random.random(len(true)) < share
        labels = (true + wrong * random.integers(1, 3, len(true))) % 3
        features = arrays.separable(arrays.dataset(true), 6, seed)
        photos = arrays.dataset(labels, np.resize(["train", "train", "train", "validation", "test"], len(true)))
        table, count = label_issues.judge_labels(replace(features, dataset=photos), seed)
        found, wrong = photos.table["file"].isin(table["file"]), wrong & (photos.table["split"] != "test").to_numpy()
        listed, swapped, both = listed + len(table), swapped + wrong.sum(), both + (found & wrong).sum()
        covered += count.wrong_labels_low <= wrong.sum() <= count.wrong_labels_high
        assert count.checked_labels == (photos.table["split"] != "test").sum()
        assert "test" not in set(table["split"])
        assert table["label_quality"].is_monotonic_increasing
        assert (table["given_label"] != table["predicted_label"]).all()
    assert covered >= 4
    assert both >= 0.8 * swapped
    assert listed <= 2 * both + 10


def test_a_class_without_a_trusted_label_keeps_all_of_them() -> None:
    photos = arrays.dataset(np.repeat([0, 1], [100, 10]))
    values = arrays.separable(photos, 9, 0).values.astype(np.float32)
    trusted, all_of_them = (
        label_issues.predict_out_of_fold(photos, values, used, 0) for used in (photos.labels == 0, photos.labels >= 0)
    )
    np.testing.assert_array_equal(trusted, all_of_them)
    assert trusted.max() < 1  # each photo is judged


def test_labels_that_features_do_not_explain_are_not_listed() -> None:
    random = np.random.default_rng(0)
    photos = arrays.dataset(random.choice(3, 300, p=[0.45, 0.45, 0.1]))
    table, count = label_issues.judge_labels(arrays.features(photos, random.normal(size=(300, 4))), 0)
    assert len(table) == 0
    assert count.wrong_labels_low == 0


def test_the_photos_of_a_group_do_not_confirm_each_other() -> None:
    true, group = np.arange(50) % 2, np.repeat(np.arange(50), 4)
    values = np.repeat(arrays.separable(arrays.dataset(true), 12, 0, dimensions=400).values, 4, axis=0)
    labels = np.repeat(np.where(np.arange(50) < 3, 1 - true, true), 4)  # wrong for all photos of three groups
    alone = label_issues.find_label_issues(arrays.features(arrays.dataset(labels), values), 0)
    photos = arrays.dataset(labels, group=group.astype(str))
    grouped = label_issues.find_label_issues(arrays.features(photos, values), 0)
    assert set(grouped["file"]) == set(photos.table["file"][:12])
    assert set(alone["file"]) < set(grouped["file"])


def test_a_class_that_only_one_fold_has_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, rows = arrays.dataset([0] * 10 + [1] * 10 + [2] * 2), np.arange(22)
    monkeypatch.setattr(label_issues, "split_folds", lambda *_: [(rows[:20], rows[20:])])
    table, count = label_issues.judge_labels(arrays.separable(photos, 9, 0), 0)
    assert table.empty
    assert count == label_issues.WrongLabels(22, 0, 0, 0)


def test_the_stage_writes_all_results_before_it_fails_and_needs_no_tensorflow(folder: Path) -> None:
    shutil.copy(folder / TRAIN, folder / TEST)
    dataset, features = read(folder)
    dataset.write(folder / "metrics/photos.csv")
    features.write(folder / "data/features.npz")
    params = {"seed": 0, "precision": "auto", "issues": {"leakage": "error"}}
    files.write_text(folder / "params.yaml", yaml.safe_dump(params))
    graph = {"stages": {"issues": {"cmd": "smallset run issues", "params": ["seed", "issues"]}}}
    files.write_text(folder / "dvc.yaml", yaml.safe_dump(graph))
    script = (
        "import os, sys\nos.environ['DVC_STAGE'] = 'issues'\nfrom smallset.stages import issues\n"
        "try:\n    issues.main()\nexcept Exception as error:\n    print(error)\n"
        "print('imported:', {'tensorflow', 'keras'} & set(sys.modules))"
    )
    output = projects.run(folder, sys.executable, "-W", "error", "-c", script)
    assert f"- {TRAIN} (train) and {TEST} (test): the same file" in output
    assert output.endswith("imported: set()\n")
    assert pd.read_csv(folder / "metrics/label_issues.csv").columns[0] == "file"
    assert pd.read_csv(folder / "metrics/issues.csv")["kind"].tolist()[0] == "exact_duplicate"
    assert {"exact_duplicate", "wrong_labels_high"} <= json.loads((folder / "metrics/issues.json").read_text()).keys()
    assert "of the 16 training and validation labels are wrong" in output
