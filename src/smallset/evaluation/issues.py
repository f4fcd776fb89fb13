"""Issues of photos: the same one twice, above all in two splits, and photos that are unlike the others."""

import json
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from smallset.datasets.dataset import SPLITS, Dataset
from smallset.evaluation.duplicates import TRANSFORMS, find_near_duplicates
from smallset.evaluation.label_issues import WrongLabels
from smallset.features.store import Features
from smallset.models import reference
from smallset.pipeline import text
from smallset.pipeline.errors import SmallsetError

OTHER = ["other_file", "other_split", "other_label"]
COLUMNS = ["file", "split", "label", "kind", "score", "suggestion", *OTHER, "detail"]
DUPLICATES = {"exact_duplicate": "the same file", "near_duplicate": "nearly the same picture"}
KINDS = (*DUPLICATES, "outlier", "blurry", "dark", "grayscale", "odd_size", "odd_aspect_ratio")
# The limits of sharpness find all photos that were blurred by 2 % of their size, in each of four datasets. Of 2,062
# sharp photos of hand signs they flag none, of 2,500 cats and dogs 15, two thirds of them really blurry.
MAX_DEVIATION = 3.0  # of the sharpness below the median, in robust standard deviations
MIN_DEVIATION = 0.02  # the smallest such deviation: photos that are all alike have no outliers
MAX_SHARPNESS = 0.55  # of a blurry photo, even if all others are sharper, as drawings are
MAX_BRIGHTNESS = 0.15  # of a dark photo, and a third of the median at most: all digits are white on black
MAX_SATURATION = 2 / 255  # of a grayscale photo in a JPEG with colors
SMALL_SHARE = 0.25  # of the median shorter side
STRETCHED_SHARE = 0.5  # of the median aspect ratio, or its inverse
NAMED = 10  # pairs in a message
NONE_FOUND = (
    "No copies were found in two splits. The search finds the same file under two names, and the same picture saved "
    "again, in another size, brighter or darker, mirrored, turned, or cropped, moved or rotated a little. It does not "
    "find other photos of the same object: name their groups in a table."
)


def find_issues(dataset: Dataset, features: Features) -> pd.DataFrame:
    """List duplicates, outliers, and photos with unusual properties, the gravest first.

    Args:
        dataset: The photos, with the properties that `datasets.measure` adds.
        features: Their features and thumbnails.

    Returns:
        One row per photo and kind: file, split, label, kind (see KINDS), score (0..1, lower is worse), suggestion
        (leave out, relabel, keep or review), other_file, other_split and other_label of a duplicate, detail. What more
        than half of the photos are, such as grayscale, is no issue.

    Examples:
        >>> smallset.find_issues(photos, features).columns[:6].tolist()
        ['file', 'split', 'label', 'kind', 'score', 'suggestion']
    """
    order = np.argsort([[*SPLITS, ""].index(split) for split in dataset.table["split"]], kind="stable")
    photos = dataset.table.iloc[order].reset_index(drop=True)
    distinct = np.flatnonzero(~photos["sha256"].duplicated())
    values, thumbnails = features.values, features.thumbnails  # noqa: PD011
    near = find_near_duplicates(values[order[distinct]], thumbnails[order[distinct]]).assign(kind="near_duplicate")
    near = near.assign(**{key: distinct[near[key].astype(np.int64)] for key in ("first", "second")})
    unusual = [rows for rows in (*_find_unusual(dataset.table), _find_outliers(features)) if len(rows)]
    singles = [rows.assign(suggestion="review") for rows in unusual if len(rows) <= len(dataset) / 2]
    singles = [dataset.table[["file", "split", "label"]].join(rows, how="inner") for rows in singles]
    issues = pd.concat([_describe_pairs(photos, pd.concat([_find_exact(photos), near])), *singles])
    issues = issues.reindex(columns=COLUMNS).fillna(dict.fromkeys(OTHER, ""))
    rank = issues["kind"].map(KINDS.index).astype(int) - 4 * crosses(issues, "split") - 2 * crosses(issues, "label")
    issues = issues.assign(rank=rank).sort_values(["rank", "score"], kind="stable", ignore_index=True)
    return issues.drop(columns="rank")


def crosses(issues: pd.DataFrame, what: Literal["split", "label"]) -> "pd.Series[bool]":
    """Whether each issue is a pair of photos in two splits, or with two labels."""
    return (issues["other_file"] != "") & (issues[what] != issues[f"other_{what}"])


def summarize(issues: pd.DataFrame, label_issues: int, wrong: WrongLabels) -> dict[str, int]:
    """The numbers for metrics/issues.json: issues by kind, pairs across splits and labels, label issues."""
    counts = {kind: int((issues["kind"] == kind).sum()) for kind in KINDS}
    across = {f"across_{what}s": int(crosses(issues, what).sum()) for what in ("split", "label")}
    return counts | across | {"label_issues": label_issues} | wrong._asdict()


def check_leakage(issues: pd.DataFrame, leakage: Literal["error", "warning"]) -> str:
    """Describe pairs of photos in two splits; with "error" raise the description as SmallsetError."""
    leaks = issues[crosses(issues, "split")]
    if leaks.empty:
        return NONE_FOUND
    words = "- {file} ({split}) and {other_file} ({other_split}): {detail}"
    pairs = [words.format_map(row) for row in leaks.head(NAMED).to_dict("records")]
    message = [
        f"{text.counted(len(leaks), 'pair')} of duplicate photos in two splits (metrics/issues.csv). Results on photos "
        f"that a model was trained on are too good.",
        *pairs,
        *([f"- and {len(leaks) - NAMED} more"] if len(leaks) > NAMED else []),
        "Leave out one photo of each pair: in params.yaml, below 'split', add these to 'exclude':",
        f"  exclude: {json.dumps([*dict.fromkeys(leaks['file'])], ensure_ascii=False)}",
    ]
    if leakage == "error":
        raise SmallsetError("\n".join([*map(text.visible, message), "Or accept them: set issues.leakage: warning."]))
    return "\n".join(map(text.visible, [f"Warning: {message[0]}", *message[1:]]))


def _find_exact(photos: pd.DataFrame) -> pd.DataFrame:
    """Rows `first` with the same sha256 as a later row, and the last such row, `second`."""
    rows = pd.Series(photos.index)
    pairs = pd.DataFrame({"first": rows, "second": rows.groupby(photos["sha256"]).transform("max")})
    return pairs[pairs["first"] < pairs["second"]].assign(transform=0, correlation=1.0, kind="exact_duplicate")


def _describe_pairs(photos: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    names = photos[["file", "split", "label"]]
    first, second = (names.iloc[pairs[key]].reset_index(drop=True) for key in ("first", "second"))
    issues = first.join(second.add_prefix("other_")).assign(
        kind=pairs["kind"].to_numpy(),
        score=(1 - pairs["correlation"]).clip(0, 1).to_numpy(),
        detail=[DUPLICATES[kind] + TRANSFORMS[number] for kind, number in pairs[["kind", "transform"]].to_numpy()],
    )
    crossing = [crosses(issues, "split"), crosses(issues, "label")]
    return issues.assign(suggestion=np.select(crossing, ["leave out", "relabel"], "keep"))


def _find_unusual(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """For each kind its rows, by the index of `table`: kind, score, detail."""
    sharpness, brightness = table["sharpness"], table["brightness"]
    deviation = max(MIN_DEVIATION, float(stats.median_abs_deviation(sharpness, scale="normal")))
    least_sharp = min(MAX_SHARPNESS, sharpness.median() - MAX_DEVIATION * deviation)
    shorter, aspect = table[["width", "height"]].min(axis=1), table["width"] / table["height"]
    stretch, size = aspect / aspect.median(), "{width} x {height} px"
    for kind, score, limit, words in (
        ("blurry", sharpness, least_sharp, "sharpness {sharpness:.2f}"),
        ("dark", brightness, min(MAX_BRIGHTNESS, brightness.median() / 3), "brightness {brightness:.2f}"),
        ("grayscale", table["saturation"], MAX_SATURATION, "no colors"),
        ("odd_size", (shorter / shorter.median()).clip(upper=1), SMALL_SHARE, size),
        ("odd_aspect_ratio", np.minimum(stretch, 1 / stretch), STRETCHED_SHARE, size),
    ):
        rows = table[score < limit]
        details = [words.format_map(row) for row in rows.to_dict("records")]
        yield pd.DataFrame({"kind": kind, "score": score[rows.index], "detail": details}, rows.index)


def _find_outliers(features: Features) -> pd.DataFrame:
    """Photos with a higher OOD score than 99 % of the validation photos, by row; the quotient of both is the score.

    The scores of training photos are out of fold. There are no outliers without training and validation photos.
    """
    train, validation = features.of("train"), features.of("validation")
    if min(len(train), len(validation)) < 2:
        return pd.DataFrame()
    unused = np.ones((len(validation), 1)), np.zeros(len(validation), np.int64)  # probabilities and labels
    scores = reference.fit_reference(train, validation, *unused)
    ood_scores = scores.ood_score(features.values)
    ood_scores[features.dataset.table["split"] == "train"] = reference.score_out_of_fold(train)
    details = [f"{score:.2f} from the other photos" for score in ood_scores]
    quotients = scores.threshold() / np.maximum(ood_scores, np.finfo(float).tiny)
    return pd.DataFrame({"kind": "outlier", "score": quotients, "detail": details})[scores.is_unknown(ood_scores)]
