"""Fine-tuning: train the backbone together with the linear probe's head, from pixels, and keep what is better."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset.backbones import registry
from smallset.datasets.dataset import Dataset
from smallset.images import augmentation, batches
from smallset.models import calibration, engine, reference
from smallset.models.classifier import Classifier
from smallset.models.predictions import Predictions
from smallset.pipeline import params, progress
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting, transfer
from smallset.training.linear_probe import split_folds

MAX_CACHE = 2**33  # bytes of resized photos in a temporary file; photos of more bytes are decoded in every epoch
MICRO_BATCH = 8  # photos; with all 32 of a batch at once, their activations take a gigabyte or more
MAX_WEIGHTS = 10_000_000  # an epoch that trains all layers of a larger backbone takes too long for `auto`
MIN_ERROR_RATE = 0.01  # with fewer errors, training all layers loses more than it gains
FOLDS = 5  # of the validation photos, for their calibration
MIN_PROBABILITY = 1e-7  # in a loss, as in Keras


@dataclass(frozen=True)
class FineTuned:
    """The better one of probe and fine-tuned classifier, its predictions for all photos, a row per epoch, `compare`."""

    classifier: Classifier
    predictions: Predictions
    history: pd.DataFrame
    search: pd.DataFrame


def fine_tune(
    probe: Classifier,
    dataset: Dataset,
    p: params.FineTuning | None = None,
    augment: params.Augmentation | None = None,
    run: fitting.Run | None = None,
    predictions: Predictions | None = None,
    class_prior: str | Mapping[str, float] = "training",
) -> FineTuned:
    """Train a copy of the probe's network on the training photos; the validation photos decide whether it is better.

    Args:
        probe: A classifier from `LinearProbe.to_classifier`.
        dataset: All photos. Each is decoded once, into a temporary file, unless that would exceed MAX_CACHE bytes.
        p: p.trainable is `all` layers, the `last_block`, the name of the last layer that stays frozen, or `auto`: `all`
            for at most MAX_WEIGHTS and an error rate of the probe above MIN_ERROR_RATE, else `last_block`. The default
            is that of a new project, `params.new_project().fine_tune`.
        augment: How the training photos vary from epoch to epoch; by default as in a new project.
        run: The seed, the checkpoint, beside which the temporary file is, and the history file; by default seed 0, and
            no file stays.
        predictions: Those of the probe, if they are known.
        class_prior: The shares of the classes for which the probabilities hold, as in `LinearProbe`.

    Examples:
        >>> tuned = smallset.fine_tune(classifier, photos)
        3,354,049 trainable weights
        Epoch 1/6
        ...
        >>> tuned.search["trainable"].tolist()
        ['frozen', 'all']
        >>> tuned.classifier.save("pets.keras")
    """
    if run is None:
        with tempfile.TemporaryDirectory() as folder:
            run = fitting.Run(0, Checkpoint(Path(folder, "checkpoint.npz"), ""))
            return fine_tune(probe, dataset, p, augment, run, predictions, class_prior)
    p, augment = p or params.new_project().fine_tune, augment or params.new_project().augmentation
    predictions = predictions or probe.predict_dataset(dataset)
    labels, before, _ = predictions.of("validation")
    network = keras.models.clone_model(probe.network)
    network.set_weights(probe.network.get_weights())
    if probe.bias and p.class_weight == "balanced":  # training would have to unlearn the bias
        calibration.Scaling(1.0, -np.array(probe.bias)).scale_network(network)
    trainable = _unfreeze(network, p.trainable, float((before.argmax(axis=1) != labels).mean()))
    load = _make_loader(dataset, probe.image_size, augment, run.checkpoint.path.parent)
    uncalibrated = p.model_copy(update={"calibrate": False})
    fitted = fitting.fit(network, load, dataset.train, dataset.validation, uncalibrated, run, MICRO_BATCH)
    scaling, after = _calibrate(network, load, dataset, p, class_prior)
    seen = probe.seen.union(dataset.train.sha256, dataset.validation.sha256)
    tuned = Classifier(network, probe.classes, scaling.temperature, seen, bias=tuple(scaling.bias.tolist()))
    search = compare(before, after, labels, trainable, len(fitted.history))
    search = search.assign(passes=[0.0, fitted.passes], out_of_time=[False, fitted.passes < p.epochs])
    if search["selected"][0]:
        return FineTuned(probe, predictions, fitted.history, search)
    features, probabilities = _infer(tuned, load, dataset)
    train, validation = (features[dataset.table["split"] == split] for split in ("train", "validation"))
    tuned.reference = reference.fit_reference(train, validation, after, labels)
    predictions = Predictions(dataset, probabilities, tuned.reference.ood_score(features))
    return FineTuned(tuned, predictions, fitted.history, search)


def compare(
    before: NDArray[np.float64], after: NDArray[np.float64], labels: NDArray[np.int64], trainable: str, epochs: int
) -> pd.DataFrame:
    """Compare the probabilities (n, classes) for validation photos before (row `frozen`) and after fine-tuning.

    delta_loss is how the loss of a photo changes on average, se its standard error. Fine-tuning is selected if it
    lowers the loss by more than one standard error (Breiman et al. 1984).
    """
    rows = np.arange(len(labels))
    losses = [-np.log(np.clip(values[rows, labels], MIN_PROBABILITY, 1)) for values in (before, after)]
    change = losses[1] - losses[0]
    table = pd.DataFrame({"trainable": ["frozen", trainable], "epochs": [0, epochs]})
    table["val_loss"] = [values.mean() for values in losses]
    table["val_accuracy"] = [(values.argmax(axis=1) == labels).mean() for values in (before, after)]
    table["delta_loss"] = [0.0, change.mean()]
    table["se"] = [0.0, change.std() / np.sqrt(len(labels))]
    better = bool(-table["delta_loss"][1] > table["se"][1])
    return table.assign(selected=[not better, better])


def _calibrate(
    network: keras.Model,
    load: fitting.Load,
    dataset: Dataset,
    p: params.FineTuning,
    class_prior: str | Mapping[str, float],
) -> tuple[calibration.Scaling, NDArray[np.float64]]:
    """Scale the network in place; return the scaling, and P(class) of validation photos that did not fit it."""
    batches, labels = load(dataset.validation, batch_size=p.batch_size), dataset.validation.labels
    bias = calibration.prior_bias(class_prior, dataset.train.labels, dataset.classes)
    if p.calibrate:
        folds = split_folds(dataset.validation, FOLDS, seed=0)
        return calibration.calibrate_classes(network, batches, labels, folds, bias)
    scaling = calibration.Scaling(1.0, bias)
    probabilities = scaling.apply(calibration.compute_logits(network, batches))
    scaling.scale_network(network)
    return scaling, probabilities


def _make_loader(dataset: Dataset, image_size: int, augment: params.Augmentation, folder: Path) -> fitting.Load:
    """A function like batches.load for parts of the dataset, whose photos have been decoded and resized to uint8."""
    if len(dataset) * image_size**2 * 3 > MAX_CACHE:
        print(f"The {len(dataset):,} photos do not fit in the cache of pixels. Each epoch decodes them again.")
        return partial(batches.load, image_size=image_size, augment=augment)
    cached = _cache_pixels(dataset, image_size, folder)
    row_of = {digest: row for row, digest in enumerate(dataset.sha256)}

    def load(part: Dataset, batch_size: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
        def read(rows: NDArray[np.int64], number: int) -> NDArray[np.float32]:
            photos, epoch = part.take(rows), number // batches.passing(len(part), batch_size)
            pixels = cached[[row_of[digest] for digest in photos.sha256]].astype(np.float32)
            if seed is not None:
                pixels = augmentation.view(augment, image_size, seed, epoch)(pixels, photos)
            return np.asarray(pixels)

        return batches.gather(read, cached.shape[1:], part.labels, batch_size, seed, start)

    return load


def _cache_pixels(dataset: Dataset, image_size: int, folder: Path) -> NDArray[np.uint8]:
    """The pixels of all photos, (n, image_size, image_size, 3), in a file without a name that ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(prefix=".part.", dir=folder) as file:
        for pixels in engine.predict_batches(lambda pixels: pixels, dataset, image_size, "decoding"):
            file.write(np.rint(pixels).astype(np.uint8).data)
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(len(dataset), image_size, image_size, 3))


def _infer(
    classifier: Classifier, load: fitting.Load, dataset: Dataset
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Features (n, d), float16, and probabilities (n, classes)."""
    features, probabilities = [], []
    photos = load(dataset, batch_size=engine.BATCH)
    for pixels, _ in progress.bar(photos, total=len(photos), what="predicting", unit=f" x {engine.BATCH} photos"):
        values = classifier.features_and_probabilities(pixels.numpy())
        features.append(values[0].astype(np.float16))
        probabilities.append(values[1])
    return np.concatenate(features), np.concatenate(probabilities)


def _unfreeze(network: keras.Model, trainable: str, error_rate: float) -> str:
    """Let the head and a part of the backbone learn; return `all`, `last_block` or the last frozen layer."""
    backbone = network.layers[1]
    transfer.unfreeze(network.layers[1:])
    if trainable == "auto":
        small = backbone.count_params() <= MAX_WEIGHTS
        trainable = "all" if small and error_rate > MIN_ERROR_RATE else "last_block"
    layer = registry.last_frozen_layer(backbone) if trainable == "last_block" else trainable
    if layer is None or trainable == "all":
        return "all"
    names = [layer.name for layer in backbone.layers]
    if layer not in names:
        expected = f"expected auto, last_block, all or the name of a layer of the {backbone.name}, found {layer!r}"
        raise SmallsetError(f"fine_tune: trainable: {expected}.{params.suggest(layer, ['last_block', *names])}")
    for frozen in backbone.layers[: names.index(layer) + 1]:
        frozen.trainable = False
    return trainable
