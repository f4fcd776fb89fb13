"""The learning curve: what it measures, and that a known curve is found."""

from pathlib import Path

import numpy as np
import pytest

from smallset.datasets.lists import Photos
from smallset.evaluation import learning_curve
from smallset.pipeline import params
from smallset.training import linear_probe

P = params.Linear(C=None, class_weights="balanced", calibrate=True)
SIZES = np.array([20.0, 40, 100, 200, 400])


def errors(share: float, photos: int = 4000) -> learning_curve.Wrong:
    """Five draws of each size but the last, in which `share` * (n / 20)**-0.5 of the photos are wrong."""
    random = np.random.default_rng(0)
    chances = {int(size): share * (size / SIZES[0]) ** -0.5 for size in SIZES}
    return {size: random.random((5 if size < 400 else 1, photos)) < chance for size, chance in chances.items()}


@pytest.mark.parametrize(("slope", "floor"), [(0.3, 0.0), (0.5, 0.02), (1.0, 0.1)])
def test_a_curve_of_the_kind_is_found_and_goes_on(slope: float, floor: float) -> None:
    known = floor + 0.2 * (SIZES / 20) ** -slope
    found = learning_curve.curve(SIZES, known[None], np.array([400.0, 800.0]))
    np.testing.assert_allclose(found[0], floor + 0.2 * np.array([20.0, 40.0]) ** -slope, rtol=1e-6)
    # errors that rise fit no fall: the curve is level
    level = learning_curve.curve(SIZES, known[None, ::-1], np.array([400.0, 800.0]))
    assert level[0, 0] == pytest.approx(level[0, 1])


def test_the_range_for_twice_the_photos_holds_what_they_bring() -> None:
    table = learning_curve.table(errors(0.4), 2, seed=0)
    assert table.photos.tolist() == [*map(int, SIZES), 800]
    assert table.draws.tolist() == [5, 5, 5, 5, 1, 0]
    now, later = table.error.iloc[-2], table.iloc[-1]
    gain = 0.4 * (20**-0.5 - 40**-0.5)  # of 400 photos on, as many as 20 times 20
    assert now - later.high < gain < now - later.low
    luck = 2 * 1.96 * 2**0.5 * table.sd.iloc[-3]  # of the photos drawn, now and then
    assert 0.9 * luck < later.high - later.low < 1.5 * luck


def test_a_few_sizes_fit_no_curve() -> None:
    few = learning_curve.table(dict(list(errors(0.4).items())[-3:]), 2, seed=0)
    assert few.draws.tolist() == [5, 5, 1]
    assert few[["fitted", "low", "high"]].isna().to_numpy().all()


def test_fewer_photos_are_whole_draws_of_all_views_and_all_of_them_come_last() -> None:
    random, labels = np.random.default_rng(0), np.tile([0, 1, 2], 40)
    found = Photos(Path("train"), ("a", "b", "c"), tuple(map(str, range(120))), labels)
    centres = np.eye(3, 20) * 2
    train, validation = (
        linear_probe.Rows((centres[one] + random.normal(size=(len(one), 20))).astype(np.float32), one)
        for one in (np.tile(labels, 2), labels)
    )
    wrong = learning_curve.measure(train, found, validation, 0.01, P, seed=0)
    assert {size: several.shape for size, several in wrong.items()} == {30: (5, 120), 60: (5, 120), 120: (1, 120)}
    solved = linear_probe.regression(train, 0.01, P)
    np.testing.assert_array_equal(wrong[120][0], solved.predict(validation.inputs) != labels)
    assert wrong[30].mean() > wrong[120].mean()
