"""smallset's way: the functions that the chapter's stages call, with the params of params.yaml."""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np

from benchmarks import arithmetic, pictures
from benchmarks.rounds import Setup, Work
from smallset.backbones import registry
from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.images import augmentation, batches
from smallset.models import convnets, engine, precision
from smallset.pipeline import params, process
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import fitting

P = params.read(Path(__file__).parents[1] / "params.yaml")
SHARE = 4  # one in so many photos is enough for `bank`: a photo and its views are as much work as nine photos


def prepare() -> None:
    """Set the seed, deterministic kernels, and bfloat16 convolutions where the CPU has them.

    A stage compiles a network once for thousands of photos. The rounds have few photos, so they reuse it.
    """
    process.prepare()
    precision.prepare(P.seed, P.precision)
    engine.compile_network = cache(engine.compile_network)


def split_backbone(setup: Setup) -> tuple[keras.Model, keras.Model]:
    """VGG16 as its frozen layers and its last block, with random weights, which are as fast."""
    tensors = registry.get("VGG16").create().get_weights()
    return registry.split_at(registry.build_backbone("VGG16", tensors, setup.size), "VGG16", "auto")


def convnet(setup: Setup) -> Work:
    """An epoch of the stage convnet."""
    return from_pixels(convnets.convnet(setup.size, 2, P.convnet), setup, P.convnet)


def convnet_augmented(setup: Setup) -> Work:
    """An epoch of the stage convnet_augmented."""
    network = convnets.convnet(setup.size, 2, P.convnet_augmented)
    return from_pixels(network, setup, P.convnet_augmented, P.augmentation)


def features(setup: Setup) -> Work:
    """The stages activations and features without views: photos to float16 values on the disk."""
    frozen, last_block = split_backbone(setup)
    dataset = pictures.read(setup.folder / "train")
    source, target = setup.scratch / "activations/photos.npy", setup.scratch / "features/photos.npy"
    checkpoint = new_checkpoint(setup)

    def run() -> None:
        activations.from_photos(frozen, dataset, {source: activations.PLAIN}, checkpoint)
        checkpoint.remove()
        activations.from_cache(last_block, activations.read(source, dataset), target)

    flop = arithmetic.flop(frozen) + arithmetic.flop(last_block)
    return Work(run, len(dataset), len(dataset) * flop / 1e9)


def bank(setup: Setup) -> Work:
    """The same with all augmented views of each photo."""
    frozen, last_block = split_backbone(setup)
    views = [augmentation.view(P.augmentation, setup.size, P.seed, number) for number in range(P.activations.views)]
    dataset = pictures.read(setup.folder / "train")
    dataset = dataset.take(dataset.spread(len(dataset) // SHARE))
    source, target, checkpoint = setup.scratch / "activations", setup.scratch / "features", new_checkpoint(setup)

    def run() -> None:
        outputs = {source / "plain.npy": activations.PLAIN, source / "views.npy": views}
        activations.from_photos(frozen, dataset, outputs, checkpoint)
        checkpoint.remove()
        for path in outputs:
            activations.from_cache(last_block, activations.read(path, dataset), target / path.name)

    flop = arithmetic.flop(frozen) + arithmetic.flop(last_block)
    return Work(run, len(dataset), len(dataset) * (1 + P.activations.views) * flop / 1e9)


def classifier(setup: Setup) -> Work:
    """An epoch of the stage classifier, on as many features as the chapter has photos."""
    return from_features(setup, P.classifier, ())


def augmented(setup: Setup) -> Work:
    """An epoch of the stage augmented, on the features of all views of as many photos as the chapter has."""
    return from_features(setup, P.augmented, (P.activations.views,))


def from_features(setup: Setup, p: params.Head, views: tuple[int, ...]) -> Work:
    """An epoch of a head on cached features."""
    shape = split_backbone(setup)[1].output_shape[1:]
    train = random_cache(setup, "train", setup.rows["train"], shape, views)
    validation = random_cache(setup, "validation", setup.rows["validation"], shape)
    head = convnets.book_head(shape, 2, p.dense_units, p.dropout)
    return epoch(head, activations.load, train, validation, p, setup)


def fine_tune(setup: Setup) -> Work:
    """An epoch of the stage fine_tune: the last block and the head, on cached activations of augmented views."""
    frozen, last_block = split_backbone(setup)
    head = convnets.book_head(last_block.output_shape[1:], 2, P.augmented.dense_units, P.augmented.dropout)
    counts = {split: len(pictures.read(setup.folder / split)) for split in setup.rows}
    train = random_cache(setup, "train", counts["train"], frozen.output_shape[1:], (P.activations.views,))
    validation = random_cache(setup, "validation", counts["validation"], frozen.output_shape[1:])
    network = convnets.join([last_block, head], "trainable")
    return epoch(network, activations.load, train, validation, P.fine_tune, setup)


def random_cache(
    setup: Setup, split: str, rows: int, shape: tuple[int, ...], views: tuple[int, ...] = ()
) -> activations.Cache:
    """A cache of random values for `rows` photos, which are repeated if there are fewer.

    The values are written to the file and not to its mapping, which would count as memory of this process.
    """
    dataset = pictures.read(setup.folder / split)
    dataset = dataset.take(np.arange(rows) % len(dataset))
    path = setup.scratch / f"random/{split}.npy"
    path.parent.mkdir(exist_ok=True)
    size = np.lib.format.open_memmap(path, "w+", np.float16, (*views, rows, *shape)).nbytes
    random = np.random.default_rng(0)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - size)
        for _ in range(rows * int(np.prod(views))):
            file.write(random.random(shape, np.float32).astype(np.float16).tobytes())
    return activations.Cache(np.load(path, mmap_mode="r"), dataset)


def from_pixels(
    network: keras.Model, setup: Setup, p: params.Training, augment: params.Augmentation | None = None
) -> Work:
    """An epoch on the photos."""
    train, validation = (pictures.read(setup.folder / split) for split in ("train", "validation"))
    load = partial(batches.load, image_size=setup.size, augment=augment)
    return epoch(network, load, train, validation, p, setup)


def epoch(
    network: keras.Model,
    load: fitting.Load,
    train: Dataset | activations.Cache,
    validation: Dataset | activations.Cache,
    p: params.Training,
    setup: Setup,
) -> Work:
    """An epoch as in `fitting.fit`, with validation and checkpoint, of a network that is compiled once."""
    steps = batches.passing(len(train.labels), p.batch_size)
    fitting._compile(network, p, steps, p.batch_size)
    averaging = [keras.callbacks.SwapEMAWeights()] if p.ema_momentum is not None else []
    keeper = fitting.Keeper(network, p, fitting.Run(P.seed, new_checkpoint(setup)))

    def run() -> None:
        network.fit(
            load(train, batch_size=p.batch_size, seed=P.seed),
            validation_data=load(validation, batch_size=p.batch_size),
            steps_per_epoch=steps,
            callbacks=[*averaging, keeper],
            shuffle=False,
            verbose=2,
        )

    return Work(run, len(train.labels))


def new_checkpoint(setup: Setup) -> Checkpoint:
    """From which a run would continue after a kill. Writing it is part of the work."""
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
