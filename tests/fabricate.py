"""The results of a pipeline, fabricated in seconds: tables about generated pictures, and small models."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from smallset.datasets import folders, measure, synthetic
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.evaluation import comparison, issues, learning_curve, metrics
from smallset.evaluation.label_issues import WrongLabels
from smallset.models.calibration import Scaling
from smallset.models.classifier import Classifier
from smallset.models.predictions import Predictions
from smallset.models.reference import Reference
from smallset.pipeline import files, provenance

# How well each model separates the classes: the mean of its logits is plus or minus this.
PROJECT = {"linear_probe": 1.0, "fine_tuned": 1.4}
CHAPTER = {"convnet": 0.3, "convnet_augmented": 0.6, "classifier": 1.0, "augmented": 1.2, "fine_tune": 1.4}
TEMPERATURE = 1.7
SCALING = Scaling(TEMPERATURE, np.zeros(2))
SIZE = 48  # px: the models' images


def project(folder: Path, photos_per_class: int = 36) -> Dataset:
    """A user's project in which all stages have run; a third of the photos of each class is in each split."""
    synthetic.draw(folder / "photos", photos_per_class, 96, seed=0)
    shutil.copyfile(folder / "photos/cat/cat.0.jpg", folder / f"photos/cat/cat.{photos_per_class - 1}.jpg")
    (folder / "photos/cat/cat.666.jpg").write_bytes(b"no photo")
    left_out = {"photos/cat/cat.666.jpg": "does not decode as a photo: no format that Pillow knows"}
    dataset = write_photos(folder, "photos")
    fabricate_issues(folder, dataset)
    fabricate_models(folder, dataset, PROJECT)
    wrong = {size: np.stack([np.arange(40) < 40 / (1 + size / 60)] * 2) for size in (20, 40, 100, 200, 400)}
    table = learning_curve.extrapolate(wrong, 2, seed=0)
    files.write_csv(folder / "metrics/linear_probe/learning_curve.csv", table)
    search = pd.DataFrame({"image_size": [128, 192], "val_loss": [0.4, 0.5], "selected": [True, False]})
    files.write_csv(folder / "metrics/features/search.csv", search)
    none = {"relabeled": 0, "left_out": 0}
    corrections = {"train": {"relabeled": 3, "left_out": 1}, "validation": none, "test": none}
    files.write_json(folder / "metrics/split.json", {"left_out": left_out, "corrections": corrections, "notes": []})
    return dataset


def chapter(folder: Path) -> Dataset:
    """The book's chapter, likewise: five models, three of them with several seeds; it does not check the photos."""
    for number, split in enumerate(SPLITS):
        synthetic.draw(folder / "data/subset" / split, 8, 96, seed=number)
    synthetic.draw(folder / "plots", 1, 96, seed=9)
    (folder / "plots/cat/cat.0.jpg").rename(folder / "plots/augmented.png")
    dataset = write_photos(folder, "data/subset")
    fabricate_models(folder, dataset, CHAPTER, [*CHAPTER][2:])
    source = {"source": "dogs-vs-cats", "archive": "a.zip", "sha256": "7" * 64}
    files.write_json(folder / "metrics/download.json", source)
    files.write_json(folder / "metrics/subset.json", {"left_out": {"data/raw/cat/cat.666.jpg": "does not decode"}})
    return dataset


def write_photos(folder: Path, name: str) -> Dataset:
    """Write metrics/photos.csv about the photos in a folder."""
    dataset, _ = folders.read_folder(folder / name)
    table = dataset.table.assign(file=f"{name}/" + dataset.table["file"])
    dataset, _ = measure.measure(Dataset(table, dataset.classes, folder))
    if (dataset.table["split"] == "").all():
        position = dataset.table.groupby("label").cumcount() / dataset.table.groupby("label")["file"].transform("size")
        dataset.table["split"] = [SPLITS[int(3 * share)] for share in position]
    dataset.write(folder / "metrics/photos.csv")
    return dataset


def fabricate_models(
    folder: Path, dataset: Dataset, skills: dict[str, float], repeated: list[str] | None = None
) -> None:
    """What training, evaluation and comparison write; `repeated` are the models with several seeds."""
    random, random_scores = np.random.default_rng(0), np.random.default_rng(1)
    runs = []
    for name, skill in skills.items():
        logits = 2.2 * random.normal(skill * (2 * dataset.labels - 1), 1.0)
        second = 1 / (1 + np.exp(-logits))
        scores = random_scores.uniform(0, 1, len(dataset))
        predictions = Predictions(dataset, np.stack([1 - second, second], axis=1), scores)
        labels, probabilities, ood_scores = predictions.of("validation")
        reference = None if repeated else Reference.from_scores(ood_scores, probabilities, labels)
        more = {"cv_accuracy": 0.8, "cv_low": 0.7, "cv_high": 0.875, "cv_balanced_accuracy": 0.79, "cv_baseline": 0.5}
        more |= {"cv_photos": len(dataset)}
        more = more if name == "linear_probe" else {}
        metrics.write_evaluation(predictions, reference, SCALING, folder / "metrics", name, **more)
        if name != "linear_probe":
            files.write_csv(folder / f"metrics/{name}/history.csv", fabricate_history(skill, random))
        Classifier(network(name), dataset.classes, TEMPERATURE).save(folder / f"models/{name}.keras")
        runs += [(name, seed, 0.9 - 0.002 * seed) for seed in range(5 if name in (repeated or []) else 0)]
    table = pd.DataFrame(runs, columns=["model", "seed", "accuracy"])
    models = comparison.read_models(folder / "metrics", [*skills])
    comparison.write_comparison(models, folder / "metrics", folder / "plots", table)
    for name in ("split", "report"):
        provenance.record(folder / "metrics/provenance.json", name, provenance.facts(), "0", ["split", "report"])


def network(name: str) -> keras.Model:
    """A backbone of one convolution with random weights, and a sigmoid."""
    keras.utils.set_random_seed(0)
    pixels, inputs = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 5, strides=2, activation="relu")(layers.Rescaling(1 / 255)(pixels))
    backbone = keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="backbone")
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(backbone(inputs)), name=name)


def fabricate_history(skill: float, random: np.random.Generator) -> pd.DataFrame:
    """Twenty epochs with the shape of a real training."""
    epoch = np.arange(1, 21)
    best, progress = 1 - 0.3 / (1 + skill**2), 1 - np.exp(-epoch / 4)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "accuracy": 0.5 + (best - 0.48) * progress,
            "loss": 1.1 - 0.9 * progress,
            "val_accuracy": 0.5 + (best - 0.5) * progress + random.normal(0, 0.01, 20),
            "val_loss": 1.1 - 0.8 * progress + 0.004 * epoch + random.normal(0, 0.02, 20),
        }
    )


def fabricate_issues(folder: Path, dataset: Dataset) -> None:
    """What the stage issues writes: three pairs, two blurry photos, a dark one, an outlier, and one label issue."""
    photos = dataset.table.set_index("file")[["split", "label"]]
    last = f"photos/cat/cat.{len(dataset) // 2 - 1}.jpg"  # a test photo
    rows = [
        ("photos/cat/cat.0.jpg", "exact_duplicate", 0.0, "leave out", last, "the same file"),
        ("photos/cat/cat.1.jpg", "near_duplicate", 0.02, "leave out", last, "nearly the same picture, mirrored"),
        ("photos/cat/cat.3.jpg", "near_duplicate", 0.03, "keep", "photos/cat/cat.4.jpg", "nearly the same picture"),
        ("photos/dog/dog.6.jpg", "outlier", 0.5, "review", "", "1.23 from the other photos"),
        ("photos/dog/dog.2.jpg", "blurry", 0.3, "review", "", "sharpness 0.30"),
        ("photos/dog/dog.1.jpg", "blurry", 0.4, "review", "", "sharpness 0.40"),
        ("photos/dog/dog.1.jpg", "dark", 0.1, "review", "", "brightness 0.10"),
    ]
    table = pd.DataFrame(rows, columns=["file", "kind", "score", "suggestion", "other_file", "detail"])
    table = table.join(photos, on="file").join(photos.add_prefix("other_"), on="other_file").fillna("")
    files.write_csv(folder / "metrics/issues.csv", table[issues.COLUMNS])
    labels = pd.DataFrame({"file": ["photos/cat/cat.0.jpg"], "given_label": ["cat"]})
    labels = labels.assign(predicted_label="dog", label_quality=0.0269).join(photos["split"], on="file")
    files.write_csv(folder / "metrics/label_issues.csv", labels)
    files.write_json(folder / "metrics/issues.json", issues.summarize(table, 1, WrongLabels(80, 1, 0, 3)))
