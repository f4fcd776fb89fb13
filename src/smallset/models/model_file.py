"""Model files: reproducible to the byte when written, and checked completely when read.

A .keras file is a zip with a network's config and weights. Smallset adds metadata (class names, temperature, biases,
digests of the photos that were used) and arrays (reference scores), which Keras ignores.
"""

import importlib.util
import io
import json
import math
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.datasets import names
from smallset.pipeline import files, install, process
from smallset.pipeline.errors import SmallsetError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
MAX_VALUES = 2**26  # per photo, in any tensor of a network: VGG16's first block at 1,024 px
MAX_WORDS = 300  # characters of Keras's error messages, which may be pages long
LEVELS = (0, 127, 255)  # of the plain pictures that a network is tried on, beside one of noise
SHARED_OBJECT = re.compile(rb'("shared_object_id": )(\d+)')
PATCHING = threading.Lock()  # of keras.layers.Layer.add_weight
EMPTY: Mapping[str, Any] = MappingProxyType({})

Network = Any  # a keras.Model; this module imports Keras only to open one
Metadata = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def save(
    network: Network, path: Path, metadata: Mapping[str, object] = EMPTY, arrays: Mapping[str, NDArray[Any]] = EMPTY
) -> None:
    """Write a .keras file without the dates and memory addresses that Keras writes.

    metadata: for a classifier `classes` in the order of the outputs, `temperature`, `bias` and `photos`; see
        `Classifier`.
    """
    with tempfile.TemporaryDirectory() as folder, files.atomic_write(path) as draft:
        dated = Path(folder) / path.name
        network.save(dated)
        with zipfile.ZipFile(dated) as source, zipfile.ZipFile(draft, "w") as target:
            for name in sorted(source.namelist()):
                target.writestr(zipfile.ZipInfo(name, EPOCH), _normalize(name, source.read(name), metadata))
            for name, values in sorted(arrays.items()):
                with target.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as member:
                    np.save(member, values, allow_pickle=False)


def open_model(path: Path) -> tuple[Network, Metadata, Arrays]:
    """Open a classifier's file: its network, its metadata and the arrays beside it. All of it is checked once.

    SmallsetError when it is damaged, contains code (Keras's safe mode refuses it), needs more memory than its size
    explains, or is not a network that maps photos to probabilities of its classes.
    """
    metadata, network, arrays = read_metadata(path), open_network(path), read_arrays(path)
    with one_error(path):
        _check_classifier(network, metadata["classes"])
    return network, metadata, arrays


def open_network(path: Path) -> Network:
    """Open a file of any network, such as a backbone, with all checks that do not concern classes."""
    with one_error(path):
        if path.suffix != ".keras":  # by other names Keras reads other formats, which may contain code
            raise ValueError("expected a name that ends in .keras")
        if "tensorflow" not in sys.modules:
            process.import_tensorflow()
        import keras

        with _open_zip(path) as file:
            weights = sum(_count_weights(file, name) for name in file.namelist() if name.endswith(".h5"))
        with _limit_weights(keras.layers.Layer, weights):
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
        _check_tensors(network)
        return network


def read_metadata(path: Path) -> Metadata:
    """Read a classifier's `classes`, `temperature`, `bias` and `photos` without Keras and without the network."""
    try:
        with _open_zip(path) as file:
            metadata = {"temperature": 1.0, "bias": [], "photos": [], **json.loads(file.read("metadata.json"))}
        _check_metadata(**metadata)
    except FileNotFoundError:
        raise SmallsetError(f"{path}: no such file") from None
    except Exception:  # noqa: BLE001 - the file may contain anything
        raise SmallsetError(f"{path}: not a model file with the names of its classes. {_fix(path)}") from None
    return metadata


def read_arrays(path: Path) -> Arrays:
    """Read the arrays beside the network without Keras."""
    with one_error(path), _open_zip(path) as file:
        members = [name for name in file.namelist() if name.endswith(".npy")]
        return {Path(name).stem: _read_array(name, file.read(name)) for name in members}


@contextmanager
def one_error(path: Path) -> Iterator[None]:
    """Turn any error that a broken file causes into one SmallsetError that says how to fix it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, SmallsetError) and str(error).startswith(f"{path}: "):
            raise
        if "keras_hub" in str(error) and importlib.util.find_spec("keras_hub") is None:
            message = str(install.missing_extra("this model", "keras-hub", "hub"))
        else:
            words = " ".join(str(error).rpartition("Exception encountered: ")[2].split())[:MAX_WORDS]
            message = f"not a complete model file: {(words or type(error).__name__).rstrip('.')}. {_fix(path)}"
        raise SmallsetError(f"{path}: {message}") from error


def last_layer(network: Network) -> Any:  # noqa: ANN401 - a keras.layers.Layer
    """The last layer of a network, which may be a layer of an inner model."""
    return last_layer(network.layers[-1]) if hasattr(network, "layers") else network


def _fix(path: Path) -> str:
    if path.resolve().is_relative_to(Path.cwd() / "models") and Path("dvc.yaml").is_file():
        return "Run: smallset check --fix"  # DVC's cache may be damaged as well, which DVC would not notice
    return "Get the file again, or use another one that smallset saved."


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a file that does not unpack to more than its own size; `save` compresses nothing."""
    with zipfile.ZipFile(path) as file:
        members, limit = file.infolist(), path.stat().st_size
        size = sum(member.file_size for member in members)
        if size > limit or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError(f"expected uncompressed parts of at most {limit:,} bytes, found {size:,}")
        yield file


def _count_weights(file: zipfile.ZipFile, name: str) -> int:
    """The number of values in a file of weights; ValueError for links, and for arrays that are not stored there."""
    import h5py

    counts = [0]

    def check(path: str, link: object) -> str | None:  # h5py stops at the first problem; an exception would get lost
        item = content[path] if type(link) is h5py.HardLink else None
        if isinstance(item, h5py.Dataset):
            stored = item.id.get_storage_size()
            if stored < item.nbytes or item.external or item.is_virtual:
                return f"{path}: expected {item.nbytes:,} bytes, found {stored:,}"
            counts.append(int(item.size or 0))
        return f"{path}: expected weights, found a link" if item is None else None

    with file.open(name) as member, h5py.File(member) as content:
        problem = content.visititems_links(check)
    if problem:
        raise ValueError(problem)
    return sum(counts)


@contextmanager
def _limit_weights(layer_class: Any, limit: int) -> Iterator[None]:  # noqa: ANN401 - keras.layers.Layer
    """Raise ValueError when layers create more weights than the file has: a config of a few bytes can ask for any."""
    create, left = layer_class.add_weight, limit

    def add_weight(layer: object, shape: Any = None, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal left
        left -= shape if isinstance(shape, int) else math.prod(shape or ())
        if left < 0:
            raise ValueError(f"its layers have more weights than the {limit:,} in the file")
        return create(layer, shape, *args, **options)

    with PATCHING:
        layer_class.add_weight = add_weight
        try:
            yield
        finally:
            layer_class.add_weight = create


def _check_tensors(network: Network) -> None:
    for weight in network.weights:
        if not np.isfinite(np.asarray(weight, np.float32)).all():
            raise ValueError(f"the weights {weight.path} are not finite")
    nodes = [node for layer in network._flatten_layers() for node in layer._inbound_nodes]
    for tensor in [*network.inputs, *(tensor for node in nodes for tensor in node.output_tensors)]:
        if math.prod(length or 1 for length in tensor.shape) > MAX_VALUES:
            raise ValueError(f"expected at most {MAX_VALUES:,} values per photo, found a tensor of {tensor.shape}")


def _check_classifier(network: Network, classes: Sequence[str]) -> None:
    from smallset.models.probabilities import to_class_probabilities

    inputs, outputs = ([tuple(tensor.shape) for tensor in tensors] for tensors in (network.inputs, network.outputs))
    size = inputs[0][1] if len(inputs[0]) == 4 else None
    if inputs != [(None, size, size, 3)] or size is None:
        raise ValueError(f"expected one input of the shape (None, size, size, 3), found {str(inputs)[1:-1]}")
    widths = (1, 2) if len(classes) == 2 else (len(classes),)
    if outputs not in [[(None, width)] for width in widths]:
        raise ValueError(f"expected one probability for each of {len(classes)} classes, found {str(outputs)[1:-1]}")
    activation = getattr(getattr(last_layer(network), "activation", None), "__name__", "")
    if activation == "linear":
        raise ValueError("expected a last layer with a sigmoid or softmax, found one without an activation")
    if activation == "softmax" and outputs == [(None, 1)]:
        raise ValueError("expected a sigmoid for one output, found a softmax, which is 1 for any photo")
    noise = np.random.default_rng(0).uniform(0, 255, (size, size, 3))
    for picture in [*(np.full((size, size, 3), level) for level in LEVELS), noise]:
        to_class_probabilities(np.asarray(network(picture[None].astype(np.float32), training=False)))


def _check_metadata(
    *, classes: list[str], temperature: float, bias: list[float], photos: list[str], **_: object
) -> None:
    texts = isinstance(classes, list) and isinstance(photos, list) and all(isinstance(x, str) for x in classes + photos)
    if not texts or len(classes) < 2 or len(set(classes)) < len(classes) or not 0 < temperature < math.inf:
        raise ValueError(classes)
    if len(bias) not in (0, len(classes)) or not all(math.isfinite(value) for value in bias):
        raise ValueError(bias)
    if not all(names.is_usable_label(label) for label in classes):  # `smallset sort` makes folders of these names
        raise ValueError(classes)


def _read_array(name: str, content: bytes) -> NDArray[Any]:
    """Read a .npy member; ValueError when its header asks for more memory than the member has bytes."""
    stream = io.BytesIO(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
    expected, stored = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if dtype.kind not in "fiu" or expected != stored:
        raise ValueError(f"{name}: expected {expected:,} bytes of numbers, found {stored:,}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _normalize(name: str, content: bytes, metadata: Mapping[str, object]) -> bytes:
    """Remove what differs between two saves: the date, and memory addresses that identify shared objects."""
    if name == "metadata.json":
        fixed = {"date_saved": "1980-01-01@00:00:00", **metadata}
        return json.dumps(json.loads(content) | fixed, sort_keys=True).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED_OBJECT.sub(lambda match: match[1] + b"%d" % numbers.setdefault(match[2], len(numbers)), content)
    return content
