"""The classifier: what training saves, and what predicts in notebooks, commands, pages and stages."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.images import decoding, resizing
from smallset.models import engine, model_file, network_cache
from smallset.models.model_file import Network
from smallset.models.predictions import Predictions
from smallset.models.probabilities import to_class_probabilities
from smallset.models.reference import COVERAGE, OOD_RATE, Reference
from smallset.pipeline import files, provenance
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.calibration import Scaling

DIGITS = 16  # of a sha256 that model files keep: two of a million photos agree in them with a probability of 3e-8
NO_ERRORS: Mapping[str, str] = MappingProxyType({})

Photo = str | Path | NDArray[np.uint8]  # a file, or RGB pixels (height, width, 3)
T = TypeVar("T", bound=Photo)
Pixels = NDArray[np.float32]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a classifier says about one photo. With an `error` all other values except `file` are empty.

    Examples:
        >>> classifier.predict("pets/cat/cat.0.jpg")
        Prediction(label=..., probability=0..., prediction_set=(...), ood_score=..., unknown=..., file=..., error='')
    """

    label: str = ""  # the most probable class
    probability: float = math.nan  # P(label)
    probabilities: Values = field(default_factory=lambda: np.zeros(0), repr=False)  # (classes,) in the model's order
    prediction_set: tuple[str, ...] = ()  # most probable first; empty for unknown photos and without reference scores
    ood_score: float = math.nan  # the distance from the training photos; NaN without reference scores
    unknown: bool = False  # whether the photo probably shows none of the classes
    file: str = ""  # the path; empty for pixels
    error: str = ""  # why the file cannot be read
    coordinates: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0), repr=False)  # (k,) see Reference


@dataclass(eq=False)
class Classifier:
    """A network with its class names, and with the reference scores of its validation photos.

    Examples:
        >>> classifier.classes, classifier.image_size
        (('cat', 'dog'), 64)
        >>> [prediction.label in classifier.classes for prediction in classifier.predict(photos.test.paths[:2])]
        [True, True]
    """

    # Pixels (n, size, size, 3), RGB in 0..255, to (n, 1) P(second class), or (n, classes). The network of a file is
    # opened when somebody asks for it, if the cache contains what predictions need.
    network: Network = field(repr=False)
    classes: tuple[str, ...]  # in the order of the outputs
    temperature: float = 1.0  # what the logits have been divided by
    # The sha256, cut to 16 digits, of the photos for training and model selection.
    seen: frozenset[str] = field(default=frozenset(), repr=False)
    # None for a network that does not recognize unknown photos.
    reference: Reference | None = field(default=None, repr=False)
    bias: tuple[float, ...] = field(default=(), repr=False)  # what has been added to the logits then; empty for nothing

    def __post_init__(self) -> None:
        self.classes, self.seen = tuple(self.classes), frozenset(digest[:DIGITS] for digest in self.seen)

    @classmethod
    def load(cls, path: str | Path) -> "Classifier":
        """Open a model file; SmallsetError when it is damaged, unsafe, or not a classifier of photos.

        Examples:
            >>> smallset.load("pets.keras").classes
            ('cat', 'dog')
        """
        path = Path(path)
        metadata, entry, network = model_file.read_metadata(path), network_cache.read(path), None
        if entry.facts:  # the whole file was checked when the entry was written
            arrays = model_file.read_arrays(path)
        else:
            network, metadata, arrays = model_file.open_model(path)
        with model_file.one_error(path):
            reference = Reference.from_arrays(arrays, len(metadata["classes"]))
            width = network.output_shape[1] + len(reference.mean) if network and reference else None
            if width and with_features(network).output_shape[1] != width:
                raise ValueError("its reference scores belong to another network")
        values = (metadata["classes"], metadata["temperature"], metadata["photos"], reference, tuple(metadata["bias"]))
        classifier = cls(network, *values)
        if entry.facts or files.sha256(path) == entry.sha256:  # the file may have been replaced while it was opened
            classifier._entry = entry
        return classifier

    def save(self, path: str | Path) -> None:
        """Write a .keras file, which Keras can load without smallset. Equal networks give equal bytes."""
        metadata = {"classes": list(self.classes), "temperature": self.temperature, "bias": list(self.bias)}
        metadata |= {"photos": sorted(self.seen)}
        model_file.save(self.network, Path(path), metadata, vars(self.reference) if self.reference else {})

    @property
    def image_size(self) -> int:
        """The side, in px, of the square that photos are resized to."""
        return self._facts.image_size

    def has_seen(self, sha256s: Iterable[str]) -> list[bool]:
        """Whether each photo was used for training or model selection; False when the file does not say."""
        return [digest[:DIGITS] in self.seen for digest in sha256s]

    @overload
    def predict(self, photos: Photo, coverage: float = ..., ood_rate: float = ...) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, photos: Sequence[Photo], coverage: float = ..., ood_rate: float = ...) -> list[Prediction]: ...
    def predict(
        self, photos: Photo | Sequence[Photo], coverage: float = COVERAGE, ood_rate: float = OOD_RATE
    ) -> Prediction | list[Prediction]:
        """Predict one photo, or a list of photos; SmallsetError when a file is not a photo.

        Args:
            photos: A path, RGB pixels (height, width, 3) in 0..255, or a list of them.
            coverage: The share of photos, of every class, whose prediction set contains the true label.
            ood_rate: The share of ordinary photos that is flagged as unknown.
        """
        if isinstance(photos, str | Path | np.ndarray):
            return self.predict([photos], coverage, ood_rate)[0]
        return [*self._predict(photos, self.resize, coverage, ood_rate)]

    def predict_paths(
        self,
        paths: Iterable[str],
        errors: Mapping[str, str] = NO_ERRORS,
        coverage: float = COVERAGE,
        ood_rate: float = OOD_RATE,
        batch_size: int = engine.BATCH,
    ) -> Iterator[Prediction]:
        """Predict files as a stream, in their order: memory does not grow with their number.

        A file that cannot be read gives a prediction with an `error`. errors: paths that are not opened, and why.
        """

        def read(path: str) -> Pixels | str:
            try:
                return errors[path] if path in errors else self.resize(path)
            except SmallsetError as error:
                return str(error).removeprefix(f"{path}: ")

        return self._predict(paths, read, coverage, ood_rate, batch_size)

    def predict_dataset(self, dataset: Dataset) -> Predictions:
        """Predict all photos of a dataset; SmallsetError when its classes are not those of the classifier."""
        if dataset.classes != self.classes:
            raise SmallsetError(f"expected photos of the classes {self.classes}, found {dataset.classes}.")
        steps = engine.predict_batches(self._infer, dataset, self.image_size, self._facts.name)
        probabilities, ood_scores = (np.concatenate(parts) for parts in [*zip(*steps, strict=True)][:2])
        return Predictions(dataset, probabilities, ood_scores)

    def features_and_probabilities(self, pixels: Pixels) -> tuple[Pixels, Values]:
        """The input of the last layer, (n, d), and P(class), (n, classes), from one pass; d is 0 without such input."""
        values, outputs = self._step(pixels), self._facts.outputs
        return values[:, outputs:], to_class_probabilities(values[:, :outputs])

    def resize(self, photo: Photo) -> Pixels:
        """A photo as the network takes it, (size, size, 3), exactly as `images.batches` prepares it for training."""
        pixels = photo if isinstance(photo, np.ndarray) else decoding.decode(photo)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise SmallsetError(f"expected RGB pixels (height, width, 3), found an array of {pixels.shape}.")
        return resizing.resize(pixels, self.image_size)

    def _set_network(self, network: Network) -> None:
        self._network: Network = network
        self._entry: network_cache.Entry | None = None

    def _get_network(self) -> Network:
        """The network. From now on the cache is not used, because the caller may change the weights."""
        if self._network is None and self._entry:
            self._network = self._entry.open_network()
        self._entry = None
        return self._network

    @cached_property
    def _step(self) -> engine.Step:
        entry = self._entry
        if entry and self._network is None:
            if step := entry.compile():
                return step
            self._network = entry.open_network()
        keep = partial(entry.write, self._facts) if entry else None
        return engine.compile_network(with_features(self._network), keep)

    @property
    def scaling(self) -> "Scaling":
        """What has calibrated the model."""
        from smallset.models.calibration import Scaling  # here, because it imports scipy.optimize

        return Scaling(self.temperature, np.array(self.bias or 0.0))

    @property
    def _facts(self) -> network_cache.Facts:
        network, entry = self._network, self._entry
        if entry and entry.facts:
            return entry.facts
        return network_cache.Facts(network.name, int(network.input_shape[1]), int(network.output_shape[1]))

    def _infer(self, pixels: Pixels) -> tuple[Values, Values, NDArray[np.floating]]:
        """Probabilities (n, classes), OOD scores (n,) and coordinates (n, k)."""
        features, probabilities = self.features_and_probabilities(pixels)
        if self.reference is None:
            return probabilities, np.full(len(pixels), np.nan), np.zeros((len(pixels), 0))
        return probabilities, self.reference.ood_score(features), self.reference.coordinates(features)

    def _predict(
        self,
        photos: Iterable[T],
        read: Callable[[T], Pixels | str],
        coverage: float,
        ood_rate: float,
        batch_size: int = engine.BATCH,
    ) -> Iterator[Prediction]:
        """Predict photos from what `read` returns for them: their pixels, or the reason why they have none."""
        remaining, limits = iter(photos), np.zeros(0)
        if self.reference:
            limits = self.reference.thresholds(len(self.classes), coverage)
        with ThreadPoolExecutor(provenance.threads()) as pool:
            while batch := list(islice(remaining, batch_size)):
                contents = [*pool.map(read, batch)]
                pixels = [content for content in contents if not isinstance(content, str)]
                values = zip(*self._infer(np.stack(pixels)), strict=True) if pixels else iter(())
                for photo, content in zip(batch, contents, strict=True):
                    name = "" if isinstance(photo, np.ndarray) else str(photo)
                    if isinstance(content, str):
                        yield Prediction(file=name, error=content)
                    else:
                        yield self._describe(name, *next(values), limits, ood_rate)

    def _describe(
        self, file: str, probabilities: Values, ood_score: float, coordinates: Values, limits: Values, ood_rate: float
    ) -> Prediction:
        order, unknown, labels = np.argsort(-probabilities, kind="stable"), False, ()
        if self.reference:
            unknown = bool(self.reference.is_unknown(ood_score, ood_rate))
            selected = (1 - probabilities <= limits) & (not unknown)
            labels = tuple(self.classes[label] for label in order if selected[label])
        best, probability = self.classes[order[0]], float(probabilities[order[0]])
        return Prediction(best, probability, probabilities, labels, float(ood_score), unknown, file, "", coordinates)


Classifier.network = property(Classifier._get_network, Classifier._set_network)  # a dataclass cannot declare it
load = Classifier.load  # smallset.load("models/fine_tuned.keras")


def with_features(network: Network) -> Network:
    """The network with the input of its last layer beside its output: (n, outputs + d).

    The last layer may be part of an inner model, as in the chapter's networks. d is 0 when its input is not (n, d).
    """
    import keras

    operation, node, _ = network.output._keras_history
    below = operation._inbound_nodes[node].input_tensors
    if isinstance(operation, keras.Model):
        output = with_features(operation)(below[0])
    elif [len(tensor.shape) for tensor in below] == [2]:
        output = keras.layers.Concatenate()([network.output, below[0]])
    else:
        output = network.output
    return keras.Model(network.input, output, name=network.name)
