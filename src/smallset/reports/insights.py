"""What the learning curve, cross-validation and corrections say, in words."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

HARDLY = 0.002  # of the accuracy: so much is no help


def more_photos(table: pd.DataFrame) -> str:
    """What a table of learning_curve.table says, in one sentence: whether more photos would help; of none nothing."""
    if table.empty:
        return ""
    now = table[table["draws"] > 0].iloc[-1]
    if table["draws"].iloc[-1]:
        return f"{now['photos']:,.0f} training photos are too few to tell whether more would help."
    low, high = (round(1 - table[name].iloc[-1], 3) for name in ("high", "low"))
    accuracy = round(1 - now["error"], 3)
    said = f"with twice the training photos linear would get {low:.3f} to {high:.3f} of the validation photos right"
    if high <= round(accuracy + HARDLY, 3):
        return f"More photos of the same kind would hardly help: {said}, now {accuracy:.3f}."
    if low <= accuracy:
        return f"Whether more photos would help, these do not tell: {said}, now {accuracy:.3f}."
    return f"More photos would help: {said}, now {accuracy:.3f}."


def crossed(table: pd.DataFrame, models: pd.DataFrame) -> str:
    """The row of a table of cross_validation.measure beside the test's, and which to believe; of none nothing.

    models: as comparison.table gives them.
    """
    if table.empty:
        return ""
    found = table.iloc[0]
    tested = models[models["model"] == found["model"]].iloc[0]
    return (
        f"Few test photos: {found['model']} gets {tested['accuracy']:.3f} of {tested['n']:,.0f} right, 95 % interval "
        f"{tested['low']:.3f}–{tested['high']:.3f}. By cross-validation over all {found['photos']:,} photos it gets "
        f"{found['accuracy']:.3f}, {found['low']:.3f}–{found['high']:.3f} (Wilson, widened for what folds share). For "
        f"{found['model']} believe the latter: it rests on more photos, and no choice was made by it. The other models "
        f"have the test photos alone, and their differences on so few are to be read with care."
    )


def corrected(subset: Mapping[str, Any]) -> str:
    """What metrics/subset.json says of corrections.csv, in a sentence or two; where it changed nothing, nothing."""
    if not (found := subset.get("corrections")):
        return ""
    counts = pd.DataFrame(found["photos"])
    (labels, out), test = counts.sum(axis=1), counts["test"]
    said = f"By corrections.csv {labels} photos have another label than their folder's, and {out} are left out"
    if not test.any():
        return f"{said}; none of them is a test photo."
    return (
        f"{said}; of the test photos {test['relabelled']} and {test['left_out']}, so an accuracy before these "
        f"corrections was measured on other labels."
    )
