"""Drift: whether photos differ from those that calibrated a model, as far as its predictions show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.models.reference import Reference
from smallset.pipeline import text

MIN_PHOTOS = 20  # of fewer photos only extreme differences are more than chance
MIN_EXPECTED = 5  # photos of a label, for the chi-square test (Cochran 1954)
TINY = 1e-9
KINDS = ("unknown", "labels", "confidence")

Array = NDArray[np.float64]


class Drift:
    """Sums over the predictions of any number of photos, and their comparison with the model's reference scores."""

    def __init__(self, reference: Reference | None, classes: Sequence[str], ood_rate: float | None) -> None:
        """Start with no photo. reference: None for a model without reference scores, which allow no comparison."""
        self.reference, self.classes, self.ood_rate = reference, classes, ood_rate
        self.photos = self.unknown = 0
        self.mass = np.zeros(len(classes))  # the sums of P(class)
        self.moments = np.zeros(2)  # the sums of the confidence and of its square

    def add(self, unknown: Sequence[bool], probabilities: Array) -> None:
        """Add photos, by whether they are unknown, (n,), and by their P(class), (n, classes)."""
        confidence = np.square(probabilities).sum(axis=1)
        self.photos += len(probabilities)
        self.unknown += int(sum(unknown))
        self.mass += probabilities.sum(axis=0)
        self.moments += confidence.sum(), np.square(confidence).sum()

    def compare(self) -> dict[str, Any]:
        """The number of photos and, if they are enough, `observed`, `expected` and `p_holm` of each of KINDS.

        Labels and confidence need a model that has the labels of MIN_PHOTOS calibration photos.
        """
        if self.reference is None or self.photos < MIN_PHOTOS:
            return {"photos": self.photos}
        from smallset.evaluation.significance import holm  # here, because it imports scipy.stats

        checks = {"unknown": self._compare_unknown(self.reference)}
        if (self.reference.nonconformity_labels >= 0).sum() >= MIN_PHOTOS:
            checks["labels"] = self._compare_labels(self.reference)
            checks["confidence"] = self._compare_confidence(self.reference)
        corrected = holm([check.pop("p") for check in checks.values()])
        for check, p in zip(checks.values(), corrected, strict=True):
            check["p_holm"] = float(p)
        return {"photos": self.photos, **checks}

    def _compare_unknown(self, reference: Reference) -> dict[str, Any]:
        """Are more photos above the threshold than chance explains? It is itself the score of a validation photo.

        With many validation photos, this is the binomial test of the requested rate.
        """
        from scipy import stats

        total = len(reference.ood_scores)
        above = int(reference.is_unknown(reference.ood_scores, self.ood_rate or 0.0).sum())
        table = [[self.unknown, self.photos - self.unknown], [above, total - above]]
        p = float(stats.fisher_exact(table, alternative="greater").pvalue)
        return {"observed": self.unknown / self.photos, "expected": (above + 1) / (total + 1), "p": p}

    def _compare_labels(self, reference: Reference) -> dict[str, Any]:
        """Chi-square test of the sums of P(class): a calibrated model predicts rare classes less often than they occur.

        These sums vary less than counts, so that p is rather too high. Labels with few photos are counted together.
        """
        from scipy import stats

        table = np.stack([self.mass, reference.count_photos(len(self.classes))])
        observed, expected = table / table.sum(axis=1, keepdims=True)
        rare = _expect(table) < MIN_EXPECTED
        table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
        table = table[:, _expect(table) >= MIN_EXPECTED]
        p = float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0
        label = int(np.abs(observed - expected).argmax())
        values = {"observed": float(observed[label]), "expected": float(expected[label]), "p": p}
        return {"label": self.classes[label], **values}

    def _compare_confidence(self, reference: Reference) -> dict[str, Any]:
        """Student's t-test: is the model less confident? The confidence is what it expects P(true label) to be.

        P(true label) of the calibration photos varies more. Both samples get the larger variance, because one that
        lacks the few difficult photos would seem too certain.
        """
        from scipy import stats

        mean, square = self.moments / self.photos
        before = 1 - reference.nonconformity_scores
        deviation = max(np.sqrt(max(square - mean**2, 0.0)), before.std(), TINY)
        values = (mean, deviation, self.photos, before.mean(), deviation, len(before))
        p = float(stats.ttest_ind_from_stats(*values, alternative="less").pvalue)
        return {"observed": float(mean), "expected": float(before.mean()), "p": p}


def _expect(table: Array) -> Array:
    """The smaller one of the two counts, (columns,), that each column would have if the rows had the same shares."""
    return table.sum(axis=0) * table.sum(axis=1).min() / table.sum()


def describe(differences: Mapping[str, Any]) -> Iterator[str]:
    """A line for each comparison, and one for those that the photos or the model's file do not allow."""
    from smallset.evaluation.significance import ALPHA

    checks = {kind: differences[kind] for kind in KINDS if kind in differences}
    subjects = {
        "unknown": "share of unknown photos",
        "labels": f"share of {checks['labels']['label']}, the label that differs most," if "labels" in checks else "",
        "confidence": "mean confidence",
    }
    for kind, check in checks.items():
        shares = f"is {100 * check['observed']:.1f} %, and {100 * check['expected']:.1f} % was expected"
        verdict = f"{'more' if check['p_holm'] < ALPHA else 'no more'} than chance (p = {check['p_holm']:.2g})"
        yield f"The {subjects[kind]} {shares}: {verdict}."
    if not checks:
        few = f"found {text.counted(differences['photos'], 'photo')} that can be read, and {MIN_PHOTOS} are needed"
        yield f"--fail-on-drift: nothing is compared: {few}."
    elif len(checks) < len(KINDS):
        yield f"Labels and confidence are not compared: the model has the labels of fewer than {MIN_PHOTOS} photos."


def is_significant(differences: Mapping[str, Any], limit: float) -> bool:
    """Whether any p is below the limit."""
    return any(differences[kind]["p_holm"] < limit for kind in KINDS if kind in differences)
