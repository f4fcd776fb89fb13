"""The learning curve: what is measured, and that a known curve is found and continued."""

import numpy as np
import pytest
from arrays import dataset, features, separable

from smallset.evaluation import learning_curve
from smallset.training.linear_probe import LinearProbe

SIZES = np.array([20.0, 40, 100, 200, 400])


def errors(share: float, photos: int = 2000) -> learning_curve.Wrong:
    """Five draws of each size but the last, in which `share` * (n / 20)**-0.5 of the photos are wrong."""
    random = np.random.default_rng(0)
    probabilities = {int(size): share * (size / SIZES[0]) ** -0.5 for size in SIZES}
    return {size: random.random((5 if size < 400 else 1, photos)) < p for size, p in probabilities.items()}


@pytest.mark.parametrize(("exponent", "floor"), [(0.3, 0.0), (0.5, 0.02), (1.0, 0.1)])
def test_a_curve_is_found_and_continued(exponent: float, floor: float) -> None:
    values = floor + 0.2 * (SIZES / 20) ** -exponent
    curve = learning_curve.fit_curve(SIZES, values, np.array([400.0, 800.0]))
    np.testing.assert_allclose(curve, floor + 0.2 * np.array([20.0, 40.0]) ** -exponent, rtol=1e-6)
    level = learning_curve.fit_curve(SIZES, values[::-1], np.array([400.0, 800.0]))  # errors that rise: no fall
    assert level[0] == pytest.approx(level[1])


def test_the_prediction_interval_contains_the_gain_from_twice_the_photos() -> None:
    table = learning_curve.extrapolate(errors(0.4), 2, seed=0)
    assert [*table] == learning_curve.COLUMNS
    assert table["photos"].tolist() == [*map(int, SIZES), 800]
    assert table["draws"].tolist() == [5, 5, 5, 5, 1, 0]
    now, later = table["error"].iloc[-2], table.iloc[-1]
    gain = 0.4 * (20**-0.5 - 40**-0.5)
    assert now - later["high"] < gain < now - later["low"]
    chance = 2 * 1.96 * 2**0.5 * table["sd"].iloc[-3]  # of the training photos, at both sizes
    assert 0.9 * chance < later["high"] - later["low"] < 1.7 * chance
    few = learning_curve.extrapolate(dict([*errors(0.4).items()][-3:]), 2, seed=0)
    assert few["draws"].tolist() == [5, 5, 1]
    assert few[["fitted", "low", "high"]].isna().to_numpy().all()


def test_draws_use_all_views_and_the_last_probe_all_photos() -> None:
    labels = np.tile([0, 1, 2], 80)
    photos = dataset(labels, ["train"] * 120 + ["validation"] * 120)
    plain = separable(photos, 2.5, 0)
    both = features(photos, plain.values, plain.values[:120] + np.random.default_rng(1).normal(0, 0.1, (120, 16)))
    wrong = learning_curve.measure_errors(both, 0.01, "balanced", seed=0)
    assert {size: rows.shape for size, rows in wrong.items()} == {30: (5, 120), 60: (5, 120), 120: (1, 120)}
    probe = LinearProbe(0.01, "balanced", calibrate=False).fit(*both.training())
    np.testing.assert_array_equal(wrong[120][0], probe.predict(both.of("validation")) != labels[120:])
    assert wrong[30].mean() > wrong[120].mean()


@pytest.mark.parametrize("grouped", [0, 60])
def test_a_draw_has_a_share_of_every_class_whole_groups_and_the_smaller_draws(grouped: int) -> None:
    labels = np.repeat([0, 1, 2], (300, 150, 4))
    photos = dataset(labels, group=[f"group {row // 2}" if row < grouped else "" for row in range(454)])
    smaller: set[int] = set()
    for size in (3, 30, 227, 454):
        rows = learning_curve.draw(photos, size, seed=1)
        counts = np.bincount(labels[rows], minlength=3)
        assert smaller <= set(rows)
        assert abs(len(rows) - size) <= (1 if grouped else 0)
        assert counts.min() >= 1
        if size > 3:
            np.testing.assert_allclose(counts / len(rows), [300 / 454, 150 / 454, 4 / 454], atol=0.06)
        assert set(photos.group_ids[rows]).isdisjoint(np.delete(photos.group_ids, rows))
        smaller = set(rows)
    assert set(learning_curve.draw(photos, 30, seed=2)) != set(learning_curve.draw(photos, 30, seed=1))
