"""The linear probe is scikit-learn's logistic regression, whose C and temperature the validation photos select."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from smallset.datasets.dataset import Dataset
from smallset.images import batches
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError
from smallset.training import linear_probe
from smallset.training.linear_probe import LinearProbe

CANDIDATES = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]

Points = tuple[NDArray[np.float32], NDArray[np.int64]]


def points(seed: int, count: int = 60, classes: int = 2) -> Points:
    """Features in forty dimensions: the first tells the classes apart, the others only by chance."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    values = random.normal(size=(count, 40)).astype(np.float32)
    values[:, 0] += labels
    return values, labels


def probe(**changes: Any) -> LinearProbe:
    settings: dict[str, Any] = {"C": 0.1, "class_weight": "balanced", "calibrate": False}
    return LinearProbe(**settings | changes)


def reference(values: NDArray[np.float32], labels: NDArray[np.int64], C: float = 0.1) -> Pipeline:  # noqa: N803
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced")).fit(values, labels)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_scikit_learn_s_logistic_regression_also_with_dead_and_large_features(classes: int) -> None:
    values, labels = points(0, classes=classes)
    values[:, 1], values[:, 2] = 0, 1000 + 100 * values[:, 2]
    fitted, expected = probe().fit(values, labels), reference(values, labels)
    np.testing.assert_allclose(fitted.predict_proba(values), expected.predict_proba(values), atol=2e-3)
    assert fitted.score(values, labels) == expected.score(values, labels)
    assert fitted.coef_.shape == (1 if classes == 2 else 3, 40)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_c_with_the_lowest_validation_loss_is_selected(classes: int) -> None:
    train, validation = points(0, classes=classes), points(1, classes=classes)
    fitted = probe(C=CANDIDATES).fit(*train, *validation)
    losses = [log_loss(validation[1], reference(*train, C).predict_proba(validation[0])) for C in CANDIDATES]
    assert list(fitted.search_.columns) == ["C", "val_loss", "val_accuracy", "selected"]
    np.testing.assert_allclose(fitted.search_["val_loss"], losses, rtol=1e-2)
    best = int(np.argmin(losses))
    assert 0 < best < len(CANDIDATES) - 1
    assert fitted.search_["selected"].tolist() == [number == best for number in range(len(CANDIDATES))]
    assert CANDIDATES[best] == fitted.C_
    np.testing.assert_allclose(fitted.coef_, probe(C=fitted.C_).fit(*train).coef_, atol=1e-3)


def test_the_scaling_lowers_the_loss() -> None:
    train, validation = points(0), points(1)
    plain, calibrated = (probe(C=10.0, calibrate=way).fit(*train, *validation) for way in (False, True))
    temperature, bias = calibrated.scaling_
    assert plain.scaling_.temperature == 1
    assert temperature > 1.5  # with so little data per dimension it is overconfident
    np.testing.assert_allclose(calibrated.coef_ * temperature, plain.coef_)
    np.testing.assert_allclose(calibrated.intercept_, plain.intercept_ / temperature + bias[1] - bias[0])
    losses = [log_loss(validation[1], fitted.predict_proba(validation[0])) for fitted in (plain, calibrated)]
    assert losses[1] < losses[0]
    assert calibrated.search_.equals(plain.search_)


def test_balanced_classes_have_the_same_influence_on_the_validation_loss() -> None:
    values, labels = points(0)
    rows = np.r_[0:60:2, 1:7:2]  # thirty photos of the first class, three of the second

    def loss(rows: NDArray[np.int64], **changes: Any) -> float:
        return probe(**changes).fit(values, labels, values[rows], labels[rows]).search_["val_loss"][0]

    losses = [loss(rows[labels[rows] == label]) for label in (0, 1)]
    assert loss(rows) == pytest.approx(np.mean(losses))
    assert loss(rows, class_weight=None) == pytest.approx(np.average(losses, weights=[30, 3]))


def test_it_has_the_conventions_of_scikit_learn() -> None:
    values, labels = points(0)
    names = np.array(["heron", "owl"])[labels]
    assert clone(probe(C=[0.1, 1.0])).get_params() == {
        "C": [0.1, 1.0],
        "class_weight": "balanced",
        "calibrate": False,
        "class_prior": "training",
    }
    assert cross_val_predict(probe(), values, names, method="predict_proba").shape == (60, 2)
    assert set(probe().fit(values, names).predict(values)) == {"heron", "owl"}
    for changes in ({"C": CANDIDATES}, {"calibrate": True}):
        with pytest.raises(ValueError, match="Expected X_validation"):
            probe(**changes).fit(values, labels)


def test_of_too_many_rows_a_stratified_sample_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values, labels = points(0, count=600)
    labels = np.where(np.arange(600) == 333, 1, 2 * labels)  # a class with one photo
    complete = probe().fit(values, labels)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(linear_probe, "MAX_ROWS", 300)
    sampled = probe().fit(values, labels)
    assert re.search(r"a stratified sample of 30\d of 600 training rows", capsys.readouterr().out)
    assert sampled.classes_.tolist() == [0, 1, 2]
    assert sampled.score(values, labels) == pytest.approx(complete.score(values, labels), abs=0.1)


def test_the_classifier_gives_for_pixels_what_the_probe_gives_for_features(tmp_path: Path, drawn: Dataset) -> None:
    photos, network = tiny.assign(drawn), tiny.backbone()
    features = tiny.embed(network, photos)
    fitted = tiny.fit_probe(features)
    fitted.to_classifier(features, network).save(tmp_path / "probe.keras")
    classifier = Classifier.load(tmp_path / "probe.keras")
    predictions = classifier.predict_dataset(photos)
    np.testing.assert_allclose(predictions.probabilities, fitted.predict_proba(features.values), atol=5e-3)
    assert classifier.classes == ("cat", "dog")
    assert classifier.has_seen(photos.sha256) == [split != "test" for split in photos.table["split"]]
    assert classifier.reference is not None
    _, probabilities, ood_scores = predictions.of("validation")
    np.testing.assert_allclose(np.sort(ood_scores), classifier.reference.ood_scores, atol=2e-2)
    errors = 1 - probabilities[np.arange(2), photos.validation.labels]
    np.testing.assert_allclose(np.sort(errors), classifier.reference.nonconformity_scores, atol=5e-3)
    plain = keras.saving.load_model(tmp_path / "probe.keras").predict(batches.pixels(photos, tiny.SIZE), verbose=0)
    np.testing.assert_allclose(plain[:, 0], predictions.probabilities[:, 1], atol=5e-3)
    network.set_weights([weight * 2 for weight in network.get_weights()])
    with pytest.raises(SmallsetError, match="the same features from pixels and from cached values, within 5%"):
        fitted.to_classifier(features, network)
