"""Model files: the same bytes for the same model; broken and hostile files are one error."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from networks import convnet

from smallset.models import convnets, model_file
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

CATS = {"classes": ["cat", "dog"], "temperature": 1.0, "bias": [], "photos": []}
ARRAYS = {"scores": np.arange(3.0)}


def save_network(
    path: Path, output: Callable[[keras.KerasTensor], object], shape: tuple[int, ...] = (16, 16, 3), **metadata: object
) -> Path:
    """Save a network of pooled pixels, whatever it takes and gives."""
    inputs = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model_file.save(keras.Model(inputs, output(pooled)), path, CATS | metadata, ARRAYS)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_network(tmp_path / "x.keras", keras.layers.Dense(1, activation="sigmoid"))


def repack(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Change the members of a file."""
    with zipfile.ZipFile(path) as old:
        members = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def test_a_model_that_is_built_and_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model_file.save(convnet(78, 2), tmp_path / f"{name}.keras", CATS, ARRAYS)
    assert files.sha256(tmp_path / "a.keras") == files.sha256(tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert {member.date_time for member in archive.infolist()} == {model_file.EPOCH}
        assert b"1980-01-01" in archive.read("metadata.json")


def test_a_file_gives_what_was_saved(tmp_path: Path) -> None:
    network, path = convnet(78, 3), tmp_path / "x.keras"
    metadata = {"classes": ["가", "b c", "a"], "temperature": 2.5, "bias": [0.5, 0.0, -1.0], "photos": ["0" * 16]}
    model_file.save(network, path, metadata, ARRAYS)
    opened, read, arrays = model_file.open_model(path)
    assert metadata.items() <= read.items()
    np.testing.assert_array_equal(arrays["scores"], ARRAYS["scores"])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3))
    np.testing.assert_array_equal(opened(pixels), network(pixels))
    assert model_file.read_metadata(path) == read


def test_metadata_also_of_0_2_and_arrays_are_read_without_keras(saved: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from smallset.models import model_file;"
        f"path = Path({str(saved)!r}); assert model_file.read_metadata(path)['classes'] == ['cat', 'dog'];"
        "assert [*model_file.read_arrays(path)] == ['scores']; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    repack(saved, lambda name, content: b'{"classes": ["cat", "dog"]}' if name == "metadata.json" else content)
    assert model_file.read_metadata(saved) == CATS


def test_keras_loads_a_saved_model_without_smallset(tmp_path: Path) -> None:
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(8, 5, strides=3)(keras.applications.vgg16.preprocess_input(inputs))
    backbone = keras.Model(inputs, features, name="backbone")
    network = convnets.join([backbone, convnets.book_head(backbone.output_shape[1:], 3, 4, 0.5)], "smallset")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    model_file.save(network, tmp_path / "model.keras")
    script = (
        "import sys, keras, numpy as np; model = keras.saving.load_model('model.keras');"
        "np.save('probability.npy', model.predict(np.load('pixels.npy'), verbose=0));"
        "assert 'smallset' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "probability.npy"), network.predict(pixels, verbose=0), rtol=1e-5)


def test_a_missing_a_truncated_and_another_network_s_file_are_named_with_the_fix(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SmallsetError, match=r"gone.keras: no such file"):
        model_file.open_model(tmp_path / "gone.keras")
    model_file.save(convnet(78, 2), tmp_path / "backbone.keras")
    assert model_file.open_network(tmp_path / "backbone.keras").name == "convnet"
    with pytest.raises(SmallsetError, match=r"backbone.keras: not a model file with the names of its classes"):
        model_file.open_model(tmp_path / "backbone.keras")
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(SmallsetError, match=r"x.keras: not a complete model file: .*\n?.*Get the file again"):
        model_file.open_network(saved)
    (tmp_path / "models").mkdir()
    saved.rename(tmp_path / "models/x.keras")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SmallsetError, match=r"Run: smallset check --fix$"):
        model_file.open_network(Path("models/x.keras"))


def inflate(name: str, content: bytes) -> bytes:
    return content + bytes(10**8) if name == "config.json" else content


def change_weights(change: Callable[[h5py.File], object]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith(".h5"):
            return content
        with h5py.File(io.BytesIO(content), "a") as weights:
            change(weights)
            weights.flush()
            return weights.id.get_file_image()

    return apply


def claim_gigabytes(name: str, content: bytes) -> bytes:
    """A .npy header of 745 GiB, which NumPy would allocate before it reads."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**11,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content[-24:] if name == "scores.npy" else content


def pickle_objects(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([None]), allow_pickle=True)
    return stream.getvalue() if name == "scores.npy" else content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (inflate, "expected uncompressed parts"),
        (
            change_weights(lambda file: file.create_dataset("x", (10**8,), "f4", compression="gzip")),
            "400,000,000 bytes, found 0",
        ),
        (change_weights(lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/"))), "found a link"),
        (claim_gigabytes, "scores.npy: expected 800,000,000,000 bytes of numbers, found 24"),
        (pickle_objects, "scores.npy: expected 8 bytes of numbers"),
    ],
)
def test_a_file_cannot_use_more_memory_than_its_size(
    saved: Path, change: Callable[[str, bytes], bytes], message: str
) -> None:
    repack(saved, change, zipfile.ZIP_DEFLATED if change is inflate else zipfile.ZIP_STORED)
    with pytest.raises(SmallsetError, match=r"x.keras: not a (complete )?model file.*") as error:
        model_file.open_model(saved)
    assert message in str(error.value) or "names of its classes" in str(error.value)


def test_a_zip_that_keras_would_read_as_another_format_is_refused(saved: Path) -> None:
    disguised = saved.rename(saved.with_suffix(".h5"))
    with pytest.raises(SmallsetError, match=r"x.h5: not a complete model file: expected a name that ends in .keras"):
        model_file.open_model(disguised)


def test_a_model_with_layers_of_keras_hub_names_the_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as if it were not installed
    repack(
        saved, lambda _, content: content.replace(b'"module": "keras.layers"', b'"module": "keras_hub.src.models.vit"')
    )
    with pytest.raises(SmallsetError, match=r"x.keras: this model needs keras-hub.* pip install .*\[hub\]"):
        model_file.open_model(saved)


def dense(units: int, activation: str | None, **settings: Any) -> Callable[[keras.KerasTensor], object]:
    return lambda x: keras.layers.Dense(units, activation=activation, **settings)(x)


def hide(output: Callable[[keras.KerasTensor], Any]) -> Callable[[keras.KerasTensor], object]:
    """Put a layer without an activation behind the output."""
    return lambda x: keras.layers.Dropout(0.1)(output(x))


THREE = {"classes": ["a", "b", "c"]}
LOGITS = keras.initializers.Constant([[0.5], [0.5], [0.5]])  # in 0..1 for a gray photo, but not for a white one
NAN = keras.initializers.Constant(np.nan)


@pytest.mark.parametrize(
    ("output", "shape", "metadata", "message"),
    [
        (dense(1, "sigmoid"), (16, 20, 3), {}, "expected one input of the shape"),
        (dense(3, "softmax"), (16, 16, 3), {}, "expected one probability for each of 2 classes"),
        (lambda x: [dense(1, "sigmoid")(x), dense(1, "sigmoid")(x)], (16, 16, 3), {}, "(None, 1), (None, 1)"),
        (dense(1, "sigmoid", bias_initializer=NAN), (16, 16, 3), {}, "bias are not finite"),
        (dense(1, None), (16, 16, 3), {}, "found one without an activation"),
        (dense(1, "softmax"), (16, 16, 3), {}, "a softmax, which is 1 for any photo"),
        (hide(dense(2, None, kernel_initializer=LOGITS)), (16, 16, 3), {}, "outputs are not probabilities"),
        (hide(dense(1, None, kernel_initializer=LOGITS)), (16, 16, 3), {}, "outputs are not probabilities"),
        (dense(2, "sigmoid", kernel_initializer=LOGITS), (16, 16, 3), {}, "outputs are not probabilities"),
        (dense(2, "tanh"), (16, 16, 3), {}, "outputs are not probabilities"),
        (dense(3, "sigmoid"), (16, 16, 3), THREE, "outputs are not probabilities"),
        (dense(3, "relu"), (16, 16, 3), THREE, "outputs are not probabilities"),
        (lambda x: keras.layers.Dense(1)(keras.layers.RepeatVector(10**8)(x)), (16, 16, 3), {}, "values per photo"),
        (keras.layers.Lambda(lambda x: x[:, :1]), (16, 16, 3), {}, "Lambda"),  # it contains code
    ],
)
def test_a_network_that_does_not_classify_photos_is_refused(
    tmp_path: Path,
    output: Callable[[keras.KerasTensor], object],
    shape: tuple[int, ...],
    metadata: dict[str, object],
    message: str,
) -> None:
    path = save_network(tmp_path / "x.keras", output, shape, **metadata)
    with pytest.raises(SmallsetError, match="x.keras: not a complete model file: ") as error:
        model_file.open_model(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("member", "before", "after", "message"),
    [
        ("config.json", b'"units": 1', b'"units": 1000000000', "more weights than the 4 in the file"),
        ("config.json", b'"units": 1', b'"units": "many"', "not a complete model file"),
        ("config.json", b'"config"', b'"confit"', "not a complete model file"),
        ("metadata.json", b'["cat", "dog"]', b'["cat", "cat"]', "names of its classes"),
        ("metadata.json", b'["cat", "dog"]', b'["cat", "../dog"]', "names of its classes"),
        ("metadata.json", b'["cat", "dog"]', b'["a", "b", "c"]', "for each of 3 classes"),
        ("metadata.json", b'"bias": []', b'"bias": [1.0]', "names of its classes"),
        ("metadata.json", b'"bias": []', b'"bias": [0, NaN]', "names of its classes"),
        ("metadata.json", b'"temperature": 1.0', b'"temperature": "hot"', "names of its classes"),
        ("metadata.json", b"{", b"[" * 100_000, "names of its classes"),
    ],
)
def test_a_file_that_claims_something_else_is_one_error(
    saved: Path, member: str, before: bytes, after: bytes, message: str
) -> None:
    create = keras.layers.Layer.add_weight
    repack(saved, lambda name, content: content.replace(before, after) if name == member else content)
    with pytest.raises(SmallsetError, match=message):
        model_file.open_model(saved)
    assert keras.layers.Layer.add_weight is create
