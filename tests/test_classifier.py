"""The classifier predicts what the evaluation measures, one photo or a stream, whatever the files are."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import convnet, fit_classifier

import smallset
from smallset.datasets.dataset import Dataset
from smallset.images import batches, decoding, resizing
from smallset.models import convnets, model_file
from smallset.models.classifier import Classifier, with_features
from smallset.models.probabilities import to_class_probabilities
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError


@pytest.fixture
def classifier(drawn: Dataset) -> Classifier:
    return fit_classifier(drawn)


def test_a_path_pixels_and_lists_give_the_same_prediction(classifier: Classifier, drawn: Dataset) -> None:
    prediction = classifier.predict(drawn.paths[0])
    assert (prediction.file, prediction.error) == (str(drawn.paths[0]), "")
    assert prediction.label == classifier.classes[prediction.probabilities.argmax()]
    assert prediction.probability == prediction.probabilities.max()
    pixels = decoding.decode(drawn.paths[0])
    for other in (classifier.predict(pixels), *classifier.predict([pixels, str(drawn.paths[0])])):
        np.testing.assert_allclose(other.probabilities, prediction.probabilities, atol=1e-6)
    assert classifier.predict(pixels).file == ""
    assert [p.file for p in classifier.predict(drawn.paths * 4)] == [str(path) for path in drawn.paths * 4]
    assert "label='" in repr(prediction)


def test_all_ways_give_the_probabilities_of_keras(classifier: Classifier, drawn: Dataset) -> None:
    (pixels, _) = next(iter(batches.load(drawn, 32, len(drawn))))
    np.testing.assert_array_equal(pixels, np.stack([classifier.resize(path) for path in drawn.paths]))
    expected = to_class_probabilities(np.asarray(classifier.network(pixels, training=False)))
    stream = list(classifier.predict_paths(map(str, drawn.paths), batch_size=4))
    np.testing.assert_allclose([p.probabilities for p in stream], expected, atol=1e-6)
    predictions = classifier.predict_dataset(drawn)
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(predictions.ood_scores, [p.ood_score for p in stream], rtol=1e-4)
    assert classifier.reference is not None
    np.testing.assert_allclose(np.sort(predictions.ood_scores), classifier.reference.ood_scores, rtol=1e-3)
    with pytest.raises(SmallsetError, match="expected photos of the classes"):
        classifier.predict_dataset(replace(drawn, classes=("dog", "cat")))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 700), (97, 31), (224, 224), (640, 480), (1500, 999)])
def test_photos_are_resized_to_the_bits_of_tensorflow(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for size in (1, 2, 32, 97, 180, 224, 333, 640):
        np.testing.assert_array_equal(resizing.resize(pixels, size), tf.image.resize(pixels, (size, size)))


def test_a_file_that_cannot_be_read_is_a_prediction_with_an_error(classifier: Classifier, drawn: Dataset) -> None:
    paths = [*map(str, drawn.paths[:3]), "gone.jpg", "listed.jpg", "\udcff.jpg"]
    Path(paths[1]).write_bytes(b"no photo")
    predictions = list(classifier.predict_paths(paths, {"listed.jpg": "a link to nothing"}))
    assert [p.file for p in predictions] == paths
    assert [p.error for p in predictions[:1] + predictions[2:3]] == ["", ""]
    assert predictions[1].error.startswith("does not decode as a photo: ")
    assert [p.error for p in predictions[3:]] == ["no such file", "a link to nothing", "no such file"]
    assert np.isnan(predictions[1].probability)
    assert list(classifier.predict_paths(["gone.jpg"] * 3, batch_size=2))[2].error == "no such file"
    with pytest.raises(SmallsetError, match="gone.jpg: no such file"):
        classifier.predict(["gone.jpg"])
    with pytest.raises(SmallsetError, match=r"expected RGB pixels \(height, width, 3\), found an array of \(9, 9\)"):
        classifier.predict(np.zeros((9, 9), np.uint8))


def test_a_stream_takes_paths_as_it_needs_them(classifier: Classifier, drawn: Dataset) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for path in itertools.cycle(map(str, drawn.paths)):
            taken += 1
            yield path

    stream = classifier.predict_paths(endless(), batch_size=4)
    assert len(list(itertools.islice(stream, 10))) == 10
    assert taken == 12


def test_an_unknown_photo_has_no_prediction_set(classifier: Classifier, drawn: Dataset) -> None:
    assert classifier.reference is not None
    green = np.full((80, 80, 3), (0, 255, 0), np.uint8)
    typical = min(classifier.predict(drawn.paths), key=lambda prediction: prediction.ood_score).file
    unknown, known = classifier.predict(green), classifier.predict(typical, coverage=1.0)
    assert (unknown.unknown, unknown.prediction_set) == (True, ())
    assert unknown.ood_score > classifier.reference.threshold() > known.ood_score
    assert (known.unknown, known.prediction_set[0], len(known.prediction_set)) == (False, known.label, 2)
    assert known.coordinates.shape == (len(classifier.reference.axes),)
    assert classifier.predict(typical, coverage=0.0).prediction_set in ((), (known.label,))
    assert sum(prediction.unknown for prediction in classifier.predict(drawn.paths, ood_rate=1.0)) >= 9


def test_a_classifier_without_a_reference_predicts_labels_only(classifier: Classifier, drawn: Dataset) -> None:
    prediction = replace(classifier, reference=None).predict(drawn.paths[0])
    assert (prediction.unknown, prediction.prediction_set, len(prediction.coordinates)) == (False, (), 0)
    assert np.isnan(prediction.ood_score)


def test_a_saved_classifier_is_the_same_and_knows_its_photos(
    classifier: Classifier, drawn: Dataset, tmp_path: Path
) -> None:
    classifier.temperature = 2.5
    classifier.save(tmp_path / "a.keras")
    loaded = smallset.load(tmp_path / "a.keras")
    assert (loaded.classes, loaded.temperature, loaded.image_size) == (("cat", "dog"), 2.5, 32)
    assert loaded.has_seen([drawn.sha256[3], "0" * 64]) == [True, False]
    before, after = (c.predict(drawn.paths[0]) for c in (classifier, loaded))
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    assert after.ood_score == before.ood_score
    for name, order in {"b": drawn.sha256, "c": drawn.sha256[::-1]}.items():
        keras.backend.clear_session()
        replace(fit_classifier(drawn), seen=frozenset(order)).save(tmp_path / f"{name}.keras")
    assert files.sha256(tmp_path / "b.keras") == files.sha256(tmp_path / "c.keras")


def test_a_file_of_0_2_has_the_same_thresholds(classifier: Classifier, drawn: Dataset, tmp_path: Path) -> None:
    known = classifier.reference
    assert known is not None
    arrays: dict[str, Any] = {"mean": known.mean, "scale": known.scale, "axes": known.axes, "trained": known.ood_scores}
    arrays |= {"usual": known.ood_scores, "doubt": known.nonconformity_scores}
    metadata = {"classes": ["cat", "dog"], "temperature": 1.0, "photos": [drawn.sha256[0][:16]]}
    model_file.save(classifier.network, tmp_path / "old.keras", metadata, arrays)
    old = Classifier.load(tmp_path / "old.keras")
    assert old.reference is not None
    assert old.reference.threshold() == known.threshold()
    assert old.has_seen(drawn.sha256[:2]) == [True, False]


def test_reference_scores_of_another_network_are_refused(classifier: Classifier, tmp_path: Path) -> None:
    known = classifier.reference
    assert known is not None
    narrower: dict[str, Any] = {"mean": known.mean[1:], "scale": known.scale[1:], "axes": known.axes[:, 1:]}
    replace(classifier, reference=replace(known, **narrower)).save(tmp_path / "x.keras")
    with pytest.raises(SmallsetError, match="x.keras: not a complete model file: its reference scores belong to ano"):
        Classifier.load(tmp_path / "x.keras")


def test_features_are_the_input_of_the_last_layer_wherever_it_is() -> None:
    chapter = convnet(78, 3)
    backbone = keras.Model(chapter.input, chapter.layers[-4].output)
    parts = [backbone, convnets.book_head(backbone.output_shape[1:], 3, 7, 0.5)]
    joined = convnets.join([convnets.join(parts, "inner")], "outer")
    for network, width in ((chapter, 256), (joined, 7)):
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)
        classifier = Classifier(network, ("a", "b", "c"))
        features, probabilities = classifier.features_and_probabilities(pixels)
        assert features.shape == (2, width)
        np.testing.assert_allclose(probabilities, network(pixels), atol=1e-5)
        np.testing.assert_allclose(model_file.last_layer(network)(features), network(pixels), atol=1e-5)
    pooled = keras.Model(chapter.input, keras.layers.GlobalAveragePooling2D()(chapter.layers[2].output))
    assert with_features(pooled).output_shape == pooled.output_shape  # its last layer has no features (n, d)
