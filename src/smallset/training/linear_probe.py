"""A small head for a pretrained base, solved and not trained: logistic regression on the base's pooled output."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from smallset.features import caches
from smallset.models import convnets, engine, limits, temperature
from smallset.models.limits import Limits
from smallset.pipeline import bulk, params, progress
from smallset.training import streaming, transfer

GRID = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of C, from the flattest on
ITERATIONS = 1000
TINY = 1e-6  # below the root, where its slope would be endless


@dataclass(frozen=True)
class Rows:
    """What a head's last layer is given: in memory, or of many photos in a file."""

    inputs: bulk.Rows  # (n, d)
    labels: NDArray[np.int64]  # (n,)

    def at(self, which: slice | NDArray[np.int64]) -> "Rows":
        """Those of them, in memory, float32."""
        return Rows(bulk.read(self.inputs, which), self.labels[which])

    def few(self) -> "Rows":
        """All of them; of a file as many as are held in memory, evenly spaced."""
        if not bulk.in_file(self.inputs):
            return self
        return self.at(bulk.sample(self.labels, bulk.held(self.inputs)))


@dataclass(frozen=True)
class Linear:
    """A model from pixels to probabilities, and how it came about."""

    model: keras.Model
    temperature: float
    history: pd.DataFrame  # one row, as of one epoch: epoch, accuracy, loss, val_accuracy, val_loss
    choice: pd.DataFrame  # a row for each C that was tried: C, val_loss, val_accuracy, chosen
    limits: Limits


def fit(trunk: keras.Model, top: keras.Model, data: caches.Data, p: params.Linear) -> Linear:
    """Solve the head for the cached outputs of the trunk, all views of them, and put it on the base.

    SmallsetError when the model on pixels and on the cached rows differ. The measures are of before the temperature,
    as those of an epoch are.
    """
    head = unsolved(top.output_shape[1:], len(data.train.photos.classes))
    part, whole = convnets.chain([top, head], "tuned"), transfer.join([trunk, top], [head])
    with transfer.agreeing([trunk], part, whole, data):
        train, validation = (rows(top, head, cache) for cache in (data.train, data.validation))
        solved, choice = choose(train, validation, p)
        put(solved, head.layers[-1])
        degree = calibrated(head.layers[-1], validation) if p.calibrate else 1.0
    known = {f"val_{name}": value for name, value in measures(solved, validation, p).items()}
    history = pd.DataFrame([{"epoch": 1} | measures(solved, train, p) | known])
    plain = Rows(train.inputs[: len(data.train.labels)], data.train.labels)
    return Linear(whole, degree, history, choice, bounded(head, plain, validation))


def unsolved(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Map features (n, h, w, c) to probabilities, by the mean and the maximum of each channel over the photo.

    Of both the signed square root, which keeps a few strong channels from drowning the rest (power normalisation,
    Perronnin et al. 2010). 1,025 weights for VGG16's 512 channels and two classes.
    """
    features = keras.Input(shape, name="features")
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)])
    x = x / ops.sqrt(ops.abs(x) + TINY)
    return keras.Model(features, convnets.probabilities(classes)(x), name="head")


def rows(top: keras.Model, head: keras.Model, cache: caches.Cache) -> Rows:
    """What the head's last layer is given of every view in the cache, one view after the other."""
    inputs = outputs(pool(top, head), cache)
    return Rows(inputs, np.tile(cache.labels, len(cache.views)))


def pool(part: keras.Model, head: keras.Model) -> keras.Model:
    """The part, and all of the head but its last layer."""
    return convnets.chain([part, keras.Model(head.input, head.layers[-1].input, name="pool")], "pooled")


def outputs(part: keras.Model, cache: caches.Cache) -> bulk.Rows:
    """part(row) for every row of every view, one view after the other: (views * n, d)."""
    views, count = cache.views.shape[:2]
    step, starts = engine.compiled(part), range(0, count, engine.BATCH)
    batches = (view[at : at + engine.BATCH] for view in cache.views for at in starts)
    with progress.bar(batches, total=views * len(starts), what="pooling", unit=f" x {engine.BATCH} rows") as bar:
        parts = (step(batch.astype(np.float32)) for batch in bar)
        return bulk.gathered(parts, views * count)


def choose(train: Rows, validation: Rows, p: params.Linear) -> tuple[Pipeline, pd.DataFrame]:
    """Logistic regression with p.C, or where that is None with the C of GRID whose validation loss is lowest.

    Returns with it what each C gives on the validation photos: C, val_loss, val_accuracy, chosen. Of rows in a file
    the evenly spaced ones that are held in memory tell the C, and it is solved once with all. It stays the same: the
    more rows, the less it holds them back, as it should.
    """
    tried, few = GRID if p.C is None else (p.C,), train.few()
    solved = regressions(few, tried, p)
    known = pd.DataFrame([measures(one, validation, p) for one in solved])
    table = pd.DataFrame({"C": tried, "val_loss": known.loss, "val_accuracy": known.accuracy})
    best = int(known.loss.to_numpy().argmin())
    print(f"C {tried[best]:g}: validation loss {known.loss[best]:.4f}, accuracy {known.accuracy[best]:.4f}")
    whole = solved[best] if few is train else regression(train, tried[best], p, solved[best][-1])
    return whole, table.assign(chosen=table.index == best)


def chosen(path: Path) -> float:
    """The C that a table of `choose` says is the best."""
    table = pd.read_csv(path)
    return float(table["C"][table["chosen"]].iloc[0])


def regression(train: Rows, strength: float, p: params.Linear, start: LogisticRegression | None = None) -> Pipeline:
    """Logistic regression on the standardised inputs, with scikit-learn's C; sooner found from one with a near C."""
    return regressions(train, [strength], p, start)[0]


def regressions(
    train: Rows, strengths: Sequence[float], p: params.Linear, start: LogisticRegression | None = None
) -> list[Pipeline]:
    """One for each C, found from the one before."""
    solved: list[Pipeline] = []
    scaler = StandardScaler()
    scaled = None if bulk.in_file(train.inputs) else scaler.fit_transform(train.inputs)
    for strength in strengths:
        found = LogisticRegression(C=strength, class_weight=p.class_weights, max_iter=ITERATIONS, warm_start=True)
        if start is not None:
            found.coef_, found.intercept_ = start.coef_, start.intercept_
        if scaled is None:
            solved.append(streaming.regression(train.inputs, train.labels, found))
        else:
            solved.append(make_pipeline(scaler, found.fit(scaled, train.labels)))
        start = found
    return solved


def measures(solved: Pipeline, known: Rows, p: params.Linear) -> dict[str, float]:
    """Accuracy and loss, in which each class counts alike where p says so: as in training, and in its histories."""
    weights = compute_sample_weight(p.class_weights, known.labels)
    right, loss = 0, 0.0
    for piece in bulk.pieces(known.inputs):
        part = known.at(piece)
        probability = solved.predict_proba(part.inputs)
        right += int((solved.classes_[probability.argmax(axis=1)] == part.labels).sum())
        how = {"normalize": False, "sample_weight": weights[piece], "labels": solved.classes_}
        loss += float(log_loss(part.labels, probability, **how))
    return {"accuracy": right / len(known.labels), "loss": loss / float(weights.sum())}


def put(solved: Pipeline, last: layers.Dense) -> None:
    """Give a head's last layer the weights of the regression, which take its inputs as they are."""
    scaler, found = solved[0], solved[-1]
    kernel = (found.coef_ / scaler.scale_).T
    last.set_weights([kernel, found.intercept_ - scaler.mean_ @ kernel])


def judged(head: keras.Model, known: Rows) -> NDArray[np.float64]:
    """P(class), (n, classes), by what the head's last layer is given."""
    return bulk.each(lambda inputs: convnets.per_class(np.asarray(head.layers[-1](inputs))), known.inputs)


def bounded(head: keras.Model, train: Rows, validation: Rows) -> Limits:
    """Where the word of a model with that head ends, by what its last layer is given of the photos as they are."""
    return limits.fit(train.inputs, validation.inputs, judged(head, validation), validation.labels)


def calibrated(last: layers.Dense, validation: Rows) -> float:
    """Divide a head's last layer by the temperature of the lowest loss on the validation photos; return it.

    Of rows in a file on the `few` of them: one number, of more than ten thousand photos, is known well enough.
    """
    inputs, few = keras.Input(validation.inputs.shape[1:]), validation.few()
    batches = tf.data.Dataset.from_tensor_slices(few.inputs).batch(engine.BATCH)
    return temperature.fit(keras.Model(inputs, last(inputs)), batches, few.labels)
