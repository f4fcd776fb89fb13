"""smallset's way, by the functions that its stages call and the params of params.yaml."""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np

from benchmarks import arithmetic
from benchmarks.rounds import Setup, Work
from smallset.backbones import registry
from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.images import augmentation, batches
from smallset.models import convnets, engine, heads, precision
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import fitting

P = params.read(Path(__file__).parents[1] / "params.yaml")
SHARE = 4  # a photo and its views are as much work as nine photos: this part of the photos is enough


def prepare() -> None:
    """Seed, deterministic kernels, and bfloat16 products where the CPU has them.

    A stage traces its graphs once for thousands of photos; so that rounds of a few do not count it, they keep them.
    """
    precision.prepare(P.seed, P.precision)
    engine.compiled = cache(engine.compiled)


def parts(setup: Setup) -> tuple[keras.Model, keras.Model]:
    """VGG16 as trunk and top, with random weights, which are as fast."""
    tensors = registry.plain("VGG16").get_weights()
    return registry.split(registry.build("VGG16", tensors, setup.size), "VGG16", None)


def convnet(setup: Setup) -> Work:
    """An epoch of the stage convnet."""
    return from_pixels(convnets.convnet(setup.size, 2, P.convnet), setup, P.convnet)


def convnet_augmented(setup: Setup) -> Work:
    """An epoch of the stage convnet_augmented."""
    model = convnets.convnet(setup.size, 2, P.convnet_augmented)
    return from_pixels(model, setup, P.convnet_augmented, P.augmentation)


def features(setup: Setup) -> Work:
    """Photos through trunk and top, float16 on disk: the stages activations and features without views."""
    trunk, top = parts(setup)
    found = photos(setup, "train")
    activations, target = setup.scratch / "activations/photos.npy", setup.scratch / "features/photos.npy"
    checkpoint = new_backup(setup)

    def run() -> None:
        extraction.from_photos(trunk, found, {activations: extraction.PLAIN}, checkpoint)
        checkpoint.remove()
        extraction.from_cache(top, caches.read(activations, found), target)

    count = len(found.files)
    return Work(run, count, count * (arithmetic.flop(trunk) + arithmetic.flop(top)) / 1e9)


def bank(setup: Setup) -> Work:
    """The same with all augmented views of each photo."""
    trunk, top = parts(setup)
    drawn = [augmentation.view(P.augmentation, setup.size, P.seed, number) for number in range(P.activations.views)]
    found = photos(setup, "train")
    found = found.at(found.spread(len(found.files) // SHARE))
    activations, target = setup.scratch / "activations", setup.scratch / "features"
    plain, views, checkpoint = "plain.npy", "views.npy", new_backup(setup)

    def run() -> None:
        wanted = {activations / plain: extraction.PLAIN, activations / views: drawn}
        extraction.from_photos(trunk, found, wanted, checkpoint)
        checkpoint.remove()
        for name in (plain, views):
            extraction.from_cache(top, caches.read(activations / name, found), target / name)

    flop = arithmetic.flop(trunk) + arithmetic.flop(top)
    return Work(run, len(found.files), len(found.files) * (1 + P.activations.views) * flop / 1e9)


def classifier(setup: Setup) -> Work:
    """An epoch of the stage classifier, on features of the chapter's photos."""
    return from_features(setup, P.classifier, ())


def augmented(setup: Setup) -> Work:
    """An epoch of the stage augmented, on features of all views of the chapter's photos."""
    return from_features(setup, P.augmented, (P.activations.views,))


def from_features(setup: Setup, own: params.HeadTraining, views: tuple[int, ...]) -> Work:
    """An epoch of a head on cached features."""
    shape = parts(setup)[1].output_shape[1:]
    train = random_cache(setup, "train", setup.rows["train"], shape, views)
    validation = random_cache(setup, "validation", setup.rows["validation"], shape)
    return epoch(heads.book(shape, 2, own.units, own.dropout), caches.load, train, validation, own, setup)


def fine_tune(setup: Setup) -> Work:
    """An epoch of the stage fine_tune: top and head on the trunk's activations, views of them as well."""
    trunk, top = parts(setup)
    head = heads.book(top.output_shape[1:], 2, P.augmented.units, P.augmented.dropout)
    counts = {split: len(lists.find(setup.folder / split).files) for split in setup.rows}
    train = random_cache(setup, "train", counts["train"], trunk.output_shape[1:], (P.activations.views,))
    validation = random_cache(setup, "validation", counts["validation"], trunk.output_shape[1:])
    return epoch(convnets.chain([top, head], "tuned"), caches.load, train, validation, P.fine_tune, setup)


def random_cache(
    setup: Setup, split: str, rows: int, shape: tuple[int, ...], views: tuple[int, ...] = ()
) -> caches.Cache:
    """A cache of random values for `rows` photos, repeated if need be. Written past this process's memory."""
    found = photos(setup, split)
    found = found.at(np.arange(rows) % len(found.files))
    path = setup.scratch / f"random/{split}.npy"
    values = caches.create(path, found, shape, views)
    random = np.random.default_rng(0)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - values.nbytes)
        for _ in range(values.size // int(np.prod(shape))):
            file.write(random.random(shape, np.float32).astype(np.float16).tobytes())
    return caches.read(path, found)


def from_pixels(
    model: keras.Model, setup: Setup, own: params.Training, augment: params.Augmentation | None = None
) -> Work:
    """An epoch on the photos."""
    train, validation = (photos(setup, split) for split in ("train", "validation"))
    return epoch(model, partial(batches.load, size=setup.size, augment=augment), train, validation, own, setup)


def photos(setup: Setup, split: str) -> lists.Photos:
    """Those of a split, as `subset` lists them."""
    return lists.digested(lists.find(setup.folder / split))


def epoch(
    model: keras.Model,
    load: fitting.Load,
    train: fitting.Labelled,
    validation: fitting.Labelled,
    own: params.Training,
    setup: Setup,
) -> Work:
    """An epoch as fitting.fit has it, validation and checkpoint included, of a model that is compiled once."""
    fitting.compiled(model, own, batches.passing(len(train.labels), own.batch))
    callbacks = [*fitting.averaging(own), fitting.Progress(model, own, fitting.Run(P.seed, new_backup(setup)))]

    def run() -> None:
        model.fit(
            load(train, batch=own.batch, seed=P.seed),
            validation_data=load(validation, batch=own.batch),
            steps_per_epoch=batches.passing(len(train.labels), own.batch),
            callbacks=callbacks,
            shuffle=False,
            verbose=2,
        )

    return Work(run, len(train.labels))


def new_backup(setup: Setup) -> Checkpoint:
    """What a run that was killed would go on from: writing it is part of the work."""
    return Checkpoint(Path(tempfile.mkdtemp(dir=setup.scratch)) / "checkpoint.npz", "benchmark")


CASES: dict[str, Callable[[Setup], Work]] = {
    "product": lambda _: arithmetic.product(),
    "convnet": convnet,
    "convnet_augmented": convnet_augmented,
    "extraction": features,
    "bank": bank,
    "classifier": classifier,
    "augmented": augmented,
    "fine_tune": fine_tune,
}
