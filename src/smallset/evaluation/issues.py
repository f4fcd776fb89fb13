"""Issues of photos: the same one twice, above all in two splits, and photos that are unlike the others."""

import json
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft, stats

from smallset.datasets.dataset import SPLITS, Dataset
from smallset.features.store import Features
from smallset.models import reference
from smallset.pipeline import progress, text
from smallset.pipeline.errors import SmallsetError

OTHER = ["other_file", "other_split", "other_label"]
COLUMNS = ["file", "split", "label", "kind", "score", "suggestion", *OTHER, "detail"]
DUPLICATES = {"exact_duplicate": "the same file", "near_duplicate": "nearly the same picture"}
KINDS = (*DUPLICATES, "outlier", "blurry", "dark", "grayscale", "odd_size", "odd_aspect_ratio")
TURNS = ("", ", rotated by 90°", ", rotated by 180°", ", rotated by 270°")
TRANSFORMS = (*TURNS, *(f", mirrored{turn.replace(',', ' and')}" for turn in TURNS))
MAX_HASH_DISTANCE = 8  # for notebooks; pipelines have it in their params
# Of two thumbnails of one photo. Of 12 million pairs of cats and dogs 24,000 are within 16 bits, but no two photos
# reached 0.85; of copies in another JPEG quality, size or brightness 99 % reached 0.96.
MIN_CORRELATION = 0.9
MAX_PAIRS = 20  # near duplicates of one photo that are listed
CHUNK = 256  # photos that are compared with all others at once: 51 MB for 25,000 photos
PIECE = 4096  # pairs of thumbnails that are correlated at once
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

Thumbnails = NDArray[np.uint8]  # (n, 32, 32)


def find_issues(dataset: Dataset, features: Features, max_hash_distance: int = MAX_HASH_DISTANCE) -> pd.DataFrame:
    """List duplicates, outliers, and photos with unusual properties, the gravest first.

    Args:
        dataset: The photos, with the properties that `datasets.measure` adds.
        features: Their features and thumbnails.
        max_hash_distance: Near duplicates differ in so many of the 64 bits of a perceptual hash, perhaps after a
            rotation or mirroring, and their thumbnails have a correlation of MIN_CORRELATION.

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
    near = _find_near(photos, features.thumbnails[order], max_hash_distance)
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


def summarize(issues: pd.DataFrame, label_issues: int) -> dict[str, int]:
    """The numbers for metrics/issues.json: issues by kind, pairs across splits and labels, and label issues."""
    counts = {kind: int((issues["kind"] == kind).sum()) for kind in KINDS}
    across = {f"across_{what}s": int(crosses(issues, what).sum()) for what in ("split", "label")}
    return counts | across | {"label_issues": label_issues}


def check_leakage(issues: pd.DataFrame, leakage: Literal["error", "warning"]) -> str:
    """Describe pairs of photos in two splits; with "error" raise the description as SmallsetError."""
    leaks = issues[crosses(issues, "split")]
    if leaks.empty:
        return "No photo is in two splits."
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


def _find_near(photos: pd.DataFrame, thumbnails: Thumbnails, max_distance: int) -> pd.DataFrame:
    """Pairs of rows that show the same photo in two files; of many pairs of a row those across splits are listed."""
    hashes = np.stack([_hash(_transform(thumbnails, number)) for number in range(len(TRANSFORMS))])
    parts = []
    for start in progress.bar(range(0, len(photos), CHUNK), what="comparing", unit=f" x {CHUNK} photos"):
        pairs = [_compare(hashes, thumbnails, start, number, max_distance) for number in range(len(TRANSFORMS))]
        rows = pd.concat(pairs).sort_values(["distance", "transform"]).drop_duplicates(["first", "second"])
        first, second = (photos.iloc[rows[name]][["split", "sha256"]].to_numpy() for name in ("first", "second"))
        same = first == second  # (n, 2) of the split, of the sha256
        rows = rows.assign(within=same[:, 0])[~same[:, 1]].sort_values(["within", "distance", "first", "second"])
        parts.append(rows.groupby("first").head(MAX_PAIRS))
    return pd.concat(parts).assign(kind="near_duplicate")


def _compare(
    hashes: NDArray[np.uint64], thumbnails: Thumbnails, start: int, number: int, max_distance: int
) -> pd.DataFrame:
    """Pairs of a row in the chunk at `start`, transformed, and a later row, with similar hashes and thumbnails."""
    distances = np.bitwise_count(hashes[number, start : start + CHUNK, None] ^ hashes[0, None, start:])
    first, second = np.nonzero(np.triu(distances <= max_distance, 1))
    pairs = {"first": first + start, "second": second + start, "transform": number}
    table = pd.DataFrame(pairs | {"distance": distances[first, second].astype(np.int64)})
    correlations = [np.zeros(0, np.float32)]
    for rows in (table[at : at + PIECE] for at in range(0, len(table), PIECE)):  # to limit memory
        a, b = (thumbnails[rows[name]] for name in ("first", "second"))
        correlations.append(correlate(_transform(a, number), b))
    table["correlation"] = np.concatenate(correlations)
    return table[table["correlation"] >= MIN_CORRELATION]


def correlate(first: Thumbnails, second: Thumbnails) -> NDArray[np.float32]:
    """Pearson's correlation of m thumbnails with m others, (m,); 0 when one of the two has a single color."""
    a, b = (values.reshape(len(values), 32 * 32).astype(np.float32) for values in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.where(scale > 0, scale, np.inf)


def _hash(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """Perceptual hashes, (n,): which of the 8 x 8 lowest frequencies are above their median, as in imagehash.phash."""
    spectrum = fft.dctn(thumbnails.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    bits = spectrum > np.median(spectrum, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _transform(thumbnails: Thumbnails, number: int) -> Thumbnails:
    """TRANSFORMS[number]: mirrored left to right, then rotated counterclockwise."""
    return np.rot90(thumbnails[..., ::-1] if number >= 4 else thumbnails, number % 4, axes=(-2, -1))


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
