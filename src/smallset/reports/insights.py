"""What the learning curve, the cross-validation and the corrections mean, in sentences."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

SMALL_GAIN = 0.002  # of the accuracy: too little to be worth more photos


def describe_learning_curve(table: pd.DataFrame) -> str:
    """Would more photos help? One sentence about a table of `learning_curve`; "" without one."""
    if table.empty:
        return ""
    last = table[table["draws"] > 0].iloc[-1]
    if table["draws"].iloc[-1]:
        return f"{last['photos']:,.0f} training photos are too few to tell whether more photos would help."
    low, high = (round(1 - table[name].iloc[-1], 3) for name in ("high", "low"))
    accuracy = round(1 - last["error"], 3)
    forecast = (
        f"with twice as many training photos, the linear probe would reach a validation accuracy of {low:.3f} to "
        f"{high:.3f}; now it has {accuracy:.3f}."
    )
    if high <= round(accuracy + SMALL_GAIN, 3):
        return f"More photos of the same kind would hardly help: {forecast}"
    if low <= accuracy:
        return f"It is uncertain whether more photos would help: {forecast}"
    return f"More photos would help: {forecast}"


def describe_cross_validation(row: Mapping[Hashable, Any]) -> str:
    """How reliable is an accuracy on few test photos? Sentences about a row of compare.csv; "" without cv_accuracy."""
    if pd.isna(row.get("cv_accuracy")):
        return ""
    return (
        f"There are few test photos. On {row['n']:,.0f} of them {row['model']} has the accuracy {row['accuracy']:.3f} "
        f"(95 % interval {row['low']:.3f}–{row['high']:.3f}). Cross-validation over all {row['cv_photos']:,.0f} photos "
        f"gives {row['cv_accuracy']:.3f} ({row['cv_low']:.3f}–{row['cv_high']:.3f}). Prefer the latter, which rests on "
        f"more photos and selected nothing. The other models have only the test photos, so treat differences with care."
    )


def describe_corrections(corrections: Mapping[str, Mapping[str, int]]) -> str:
    """What corrections.csv changed; "" if nothing. corrections: for each split the numbers `relabeled`, `left_out`."""
    if not corrections:
        return ""
    counts = pd.DataFrame(corrections)
    relabeled, left_out = counts.sum(axis=1)[["relabeled", "left_out"]]
    sentence = f"corrections.csv changed the labels of {relabeled} photos and left out {left_out}"
    test = counts["test"]
    if not test.any():
        return f"{sentence}. None of them is a test photo."
    return f"{sentence}. {test.sum()} of them are test photos, so earlier accuracies were measured with other labels."
