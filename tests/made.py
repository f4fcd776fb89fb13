"""What a pipeline leaves, made up in a second: tables of the right columns about drawn pictures, and a small model."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers

from smallset.datasets import lists, synthetic
from smallset.evaluation import comparison, cross_validation, duplicates, learning_curve, significance
from smallset.models import model_file
from smallset.pipeline import files, provenance

MODELS = ["convnet", "convnet_augmented", "classifier", "augmented", "fine_tune", "linear", "pooled"]
SKILLS = [0.3, 0.6, 1.0, 1.4, 1.2, 0.8, 1.3]  # how far a model tells the classes apart: logits of mean ± skill
SPLITS = ["train", "validation", "test"]
BINS = 15


def pipeline(folder: Path, photos_each: int = 12, side: int = 96) -> lists.Photos:
    """All that the chapter's pipeline has when the report's turn comes; returns its test photos."""
    for number, split in enumerate(SPLITS):
        synthetic.draw(folder / "data/subset" / split, photos_each, side, seed=number)
    synthetic.draw(folder / "plots", 1, side, seed=9)
    (folder / "plots/cat/cat.0.jpg").rename(folder / "plots/augmented.png")
    test = lists.find(folder / "data/subset/test")
    models(folder, test)
    data(folder, photos_each)
    graph = "stages: {subset: {}, convnet: {}, report: {cmd: python stages/report.py}}\n"
    (folder / "dvc.yaml").write_text(graph, encoding="utf-8")
    (folder / "params.yaml").write_text("seed: 1337  # of every random draw, <b>\n", encoding="utf-8")
    stages, record = ("subset", "convnet", "report"), folder / "metrics/provenance.json"
    for name in stages:
        provenance.record(record, name, provenance.facts(), "0", stages)
    return test


def models(folder: Path, test: lists.Photos) -> None:
    """Seven models, of which only the files differ that the report reads: measures, tables, and the network itself."""
    metrics, random = folder / "metrics", np.random.default_rng(0)
    measures: dict[str, Any] = {}
    history, predictions = {}, {}
    for name, skill in zip(MODELS, SKILLS, strict=True):
        logits = random.normal(skill * (2 * test.labels - 1), 1.0)
        dog = 1 / (1 + np.exp(-2.2 * logits))
        probability = np.stack([1 - dog, dog], axis=1)
        measures[name] = metrics.measures(test.labels, probability) | {"brier": 0.1, "ece": 0.0312}
        measures[name] |= {"val_accuracy": 0.9, "val_loss": 0.5 / skill, "unlike": 0.013}
        history[name] = training(1 if name == "linear" else 20, skill, random)
        predictions[name] = metrics.predictions(test, probability)
        for kind, table in {
            "history": history[name],
            "predictions": predictions[name],
            "roc": metrics.roc(test, probability),
            "reliability": reliability(random),
            "sets": pd.DataFrame({"coverage": [0.9, 0.95], "covered": [0.91, 0.951], "labels": 1.3, "single": 0.8}),
            "unlike": pd.DataFrame(
                {"split": SPLITS, "file": "dog/dog.2.jpg", "class": "dog", "unlikeness": 1.234, "unlike": True}
            ),
            "calibration": pd.DataFrame(
                {"when": ["before", "after"], "temperature": [1, 1.7], "loss": 0.3, "brier": 0.1, "ece": [0.09, 0.0312]}
            ),
        }.items():
            files.write_csv(metrics / name / f"{kind}.csv", table)
        model_file.save(network(name), folder / f"models/{name}.keras", test.classes)
    files.write_csv(metrics / "pairs.csv", significance.pairs(predictions))
    repeated = [name for name in MODELS[2:] if name != "linear"]  # a pipeline repeats no convnet
    runs = pd.DataFrame(
        [(name, seed, measures[name]["accuracy"] - 0.002 * seed) for name in repeated for seed in range(5)],
        columns=["model", "seed", "accuracy"],
    )
    files.write_csv(metrics / "seeds.csv", significance.over_seeds(runs))
    files.write_csv(metrics / "compare.csv", comparison.table(measures, history, runs))


def network(name: str) -> keras.Model:
    """One convolution of random weights, and a sigmoid."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((48, 48, 3))
    x = layers.Conv2D(8, 5, strides=2, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)), name=name)


def training(epochs: int, skill: float, random: np.random.Generator) -> pd.DataFrame:
    """Curves that bend as those of a real training do."""
    at = np.arange(1, epochs + 1)
    top = 1 - 0.3 / (1 + skill**2)
    climb = 1 - np.exp(-at / 4)
    return pd.DataFrame(
        {
            "epoch": at,
            "accuracy": 0.5 + (top - 0.48) * climb,
            "loss": 1.1 - 0.9 * climb,
            "val_accuracy": 0.5 + (top - 0.5) * climb + random.normal(0, 0.01, epochs),
            "val_loss": 1.1 - 0.8 * climb + 0.004 * at + random.normal(0, 0.02, epochs),
        }
    )


def reliability(random: np.random.Generator) -> pd.DataFrame:
    """Too sure before the temperature, about right after it."""
    confidence = np.sort(random.uniform(0.5, 1, BINS))
    accuracy = 0.5 + 0.8 * (confidence - 0.5) + random.normal(0, 0.01, BINS)
    tables = {"before": confidence, "after": accuracy + random.normal(0, 0.01, BINS)}
    return pd.concat(
        pd.DataFrame({"when": when, "confidence": values.clip(0.5, 1), "accuracy": accuracy.clip(0, 1), "n": 2})
        for when, values in tables.items()
    )


def data(folder: Path, photos_each: int) -> None:
    """What the stages download, subset and audit say of the photos."""
    metrics = folder / "metrics"
    counts = {"cat": photos_each, "dog": photos_each}
    files.write_json(metrics / "download.json", {"source": "dogs-vs-cats", "archive": "a.zip", "sha256": "7" * 64})
    left_out = {"cat/cat.666.jpg": "does not decode as a photo: no format that Pillow knows"}
    files.write_json(metrics / "subset.json", {"photos": dict.fromkeys(SPLITS, counts), "left_out": left_out})
    cat = {"split": "train", "class": "cat", "other_split": "test", "other_class": "cat", "crosses_classes": False}
    near = cat | {"kind": "near", "words": "nearly the same picture, mirrored"}
    pairs = [
        cat | {"kind": "bytes", "words": "the same file", "file": "cat/cat.0.jpg", "other_file": "cat/cat.0.jpg"},
        near | {"file": "cat/cat.1.jpg", "other_file": "cat/cat.2.jpg"},
        near | {"file": "cat/cat.3.jpg", "other_file": "cat/cat.4.jpg", "other_split": "train"},
    ]
    table = pd.DataFrame(pairs).assign(crosses_splits=[True, True, False])
    files.write_csv(metrics / "audit/pairs.csv", table)
    photos = pd.DataFrame({"file": [f"dog/dog.{number}.jpg" for number in range(photos_each)], "split": "train"})
    photos = photos.assign(width=96, height=96, aspect=1, luminance=0.5, blur=photos.index / photos_each)
    photos = photos.assign(**dict.fromkeys(duplicates.FLAGS, False))
    photos = photos.assign(blurred=photos.index > photos_each - 3, greyscale=True)
    files.write_csv(metrics / "audit/photos.csv", photos)
    suspects = {"rank": [1, 2], "file": ["cat/cat.0.jpg", "dog/dog.1.jpg"], "split": ["train", "validation"]}
    labels = {"label": ["cat", "dog"], "suspected": ["dog", "cat"], "probability": [0.0269, 0.7]}
    files.write_csv(metrics / "suspects.csv", pd.DataFrame(suspects | labels))
    wrong = {size: np.arange(40) < 40 / (1 + size / 60) for size in (20, 40, 100, 200, 400)}
    table = learning_curve.table({size: np.stack([several] * 2) for size, several in wrong.items()}, 2, seed=0)
    files.write_csv(metrics / "learning_curve.csv", table)
    crossed = ["linear", 0.8, 0.7, 0.875, 6 * photos_each, 5, 5]
    files.write_csv(metrics / "cross_validation.csv", pd.DataFrame([crossed], columns=cross_validation.COLUMNS))
