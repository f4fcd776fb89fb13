"""What may be wrong with the photos: the same one twice, above all in two splits, and those unlike the rest."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from scipy.ndimage import uniform_filter1d

from smallset.datasets import lists, splits
from smallset.images import decoding
from smallset.pipeline import files, progress, provenance, text
from smallset.pipeline.errors import SmallsetError

TRANSFORMS = (
    *("none", "rotated 90", "rotated 180", "rotated 270", "mirrored"),
    *("mirrored and rotated 90", "mirrored and rotated 180", "mirrored and rotated 270"),
)
# px, of the square that luminance, blur and colour are measured on; a smaller photo is not enlarged, as that blurs it
THUMBNAIL = 128
WINDOW = 9  # px of the thumbnail, over which the blur to compare with is spread
SQUARE = 32  # px, of the grey square that imagehash.phash takes the DCT of
# The correlation of two grey squares from which on they show one photo. Of 12 million pairs of dogs and cats 24,000 are
# within 16 bits in some transform; but for two that do show one photo, none of these reached 0.85. Of copies in another
# JPEG quality, size or brightness 99 % reached 0.96.
ALIKE = 0.9
MOST = 20  # near pairs of one photo that are listed, those across splits first: thousands of one camera's stay a table
CHUNK = 256  # photos that are compared with all at once: 256 x 25,000 hashes are 51 MB
PIECE = 4096  # pairs whose squares are correlated at once: 16 MB a side

# Of blur, standard deviations above the median, these estimated from the median absolute deviation, which outliers do
# not move. Of real photos blurred by 2 % of their side all were found so, in each of four sets; of 2,062 hand signs,
# which are sharp, none; of 2,500 cats and dogs 15, two thirds of them soft indeed.
OUTLYING = 3.0
LEAST = 0.02  # the smallest such deviation: photos all alike have no outliers
SOFT = 0.45  # blur; no photo below is blurred, however sharp the others: drawn pictures have 0.15 in the median
DARK = 0.15  # luminance; of 2,500 cats and dogs 7, all in the dark, are below
DARKER = 1 / 3  # of the median luminance: digits are white on black, all of them
COLOURLESS = 2.0  # of 255 levels, the mean difference between the channels of a grey photo in a coloured JPEG
TINY = 0.25  # of the median of the shorter sides
STRETCHED = 2.0  # times the median aspect, or the inverse
KINDS = {  # of pairs, the surest first
    "bytes": "the same file",
    "pixels": "the same picture in another file",
    "near": "nearly the same picture",
}
FLAGS = ("dark", "blurred", "greyscale", "tiny", "extreme_aspect")
NAMED = 10  # pairs in a message

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Looks:
    """What is kept of each of n photos: 2 kB, whatever its size."""

    table: pd.DataFrame  # file, split, class, bytes, pixels (both digests), and what `measures` gives
    hashes: NDArray[np.uint64]  # (n, 8), a perceptual hash under each of TRANSFORMS
    squares: Grey  # (n, 32, 32)


def look(found: Mapping[str, lists.Photos]) -> Looks:
    """Decode each photo of each split once; SmallsetError for one that does not decode."""
    listed = pd.DataFrame(
        [(file, split, file.partition("/")[0]) for split, own in found.items() for file in own.files],
        columns=["file", "split", "class"],
    )
    paths = [Path(path) for own in found.values() for path in own.paths()]
    with ThreadPoolExecutor(provenance.threads()) as pool:
        looked = progress.bar(pool.map(look_at, paths), total=len(paths), what="looking", unit=" photos")
        measured, hashes, squares = zip(*looked, strict=True)
    return Looks(listed.join(pd.DataFrame(measured)), np.stack(hashes), np.stack(squares))


def look_at(path: Path) -> tuple[dict[str, object], NDArray[np.uint64], Grey]:
    """One photo's digests and measures, its hashes (8,), and its grey square (32, 32)."""
    pixels = decoding.decode(path)
    side = min(THUMBNAIL, *pixels.shape[:2])
    thumbnail = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    square = np.asarray(thumbnail.convert("L").resize((SQUARE, SQUARE), Image.Resampling.LANCZOS))
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    hashes = np.array([perceptual_hash(transformed(square, number)) for number in range(len(TRANSFORMS))])
    return {"bytes": files.sha256(path), "pixels": digest} | measures(pixels, thumbnail), hashes, square


def measures(pixels: NDArray[np.uint8], thumbnail: Image.Image) -> dict[str, object]:
    """Of a decoded photo (h, w, 3): sides in px, aspect w / h, mean luminance 0..1, blur 0..1, greyscale."""
    height, width, _ = pixels.shape
    grey = np.asarray(thumbnail.convert("L"), np.float64)
    return {
        "width": width,
        "height": height,
        "aspect": width / height,
        "luminance": grey.mean() / 255,
        "blur": blur(grey),
        "greyscale": bool(colour(np.asarray(thumbnail)) < COLOURLESS),
    }


def colour(pixels: NDArray[np.uint8]) -> float:
    """How far apart the values of a pixel are, 0..255, in the mean. NumPy's ptp would take 15 times as long."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return float((most - least).mean())


def blur(grey: NDArray[np.float64]) -> float:
    """0..1 for levels (h, w), high where a further blur takes away little: in the direction where it takes away least.

    Crete et al. 2007, The blur effect: perception and estimation with a new no-reference perceptual blur metric, SPIE.
    Contrast and a photo's size do not move it, as they move the variance of its Laplacian.
    """
    kept = []
    for axis in (0, 1):
        steps, soft = (np.abs(np.diff(levels, axis=axis)) for levels in (grey, uniform_filter1d(grey, WINDOW, axis)))
        kept.append(1 - np.maximum(0, steps - soft).sum() / max(steps.sum(), 1e-9))
    return float(max(kept))


def perceptual_hash(square: Grey) -> np.uint64:
    """64 bits of a grey square (32, 32): which of its 8 x 8 lowest frequencies are above their median."""
    bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(square))).hash
    return np.packbits(bits).view(np.uint64)[0]


def transformed(squares: Grey, number: int) -> Grey:
    """Squares (..., side, side) under TRANSFORMS[number]: mirrored left to right, then rotated counterclockwise."""
    return np.rot90(squares[..., ::-1] if number >= 4 else squares, number % 4, axes=(-2, -1))


def pairs(looks: Looks, most: int) -> pd.DataFrame:
    """A row for each two photos alike, those across splits first, then those across classes, then the most alike.

    kind: bytes, pixels (the same, decoded), or near: the perceptual hash of the one, perhaps rotated or mirrored
    (`transform`), differs from the other's in `most` of 64 bits or fewer (`distance`), and so do hardly their grey
    squares (`correlation`, -1..1). words: kind and transform, for people. Of more than two of the same bytes or pixels
    each is listed with the last of them alone, one of the test photos if there are such. file is in the former split of
    the two.
    """
    same = pd.concat([equal(looks.table, "bytes"), equal(looks.table, "pixels")]).drop_duplicates(["first", "second"])
    found = pd.concat([same, near(looks, most)], ignore_index=True)
    columns = ["file", "split", "class"]
    one, other = (looks.table.loc[found[side], columns].reset_index(drop=True) for side in ("first", "second"))
    table = found[["kind", "transform", "distance", "correlation"]].join(one).join(other.add_prefix("other_"))
    table["crosses_splits"] = table["split"] != table["other_split"]
    table["crosses_classes"] = table["class"] != table["other_class"]
    kinds = zip(table["kind"], table["transform"], strict=True)
    table["words"] = [likeness(kind, transform) for kind, transform in kinds]
    order = ["crosses_splits", "crosses_classes", "kind", "distance"]
    turn = table.assign(kind=table["kind"].map([*KINDS].index))
    ranks = turn.sort_values(order, ascending=[False, False, True, True], kind="stable").index
    return table.loc[ranks].reset_index(drop=True)


def equal(table: pd.DataFrame, digest: str) -> pd.DataFrame:
    """Rows `first` of which a later one has the same digest, and the last such row, `second`."""
    rows = pd.Series(table.index)
    last = rows.groupby(table[digest]).transform("max")
    found = pd.DataFrame({"first": rows, "second": last})[rows < last]
    return found.assign(transform=TRANSFORMS[0], distance=0, correlation=1.0, kind=digest)


def near(looks: Looks, most: int) -> pd.DataFrame:
    """Pairs of rows whose hashes differ in at most `most` bits and whose squares are ALIKE, but whose pixels differ."""
    starts = progress.bar(range(0, len(looks.table), CHUNK), what="comparing", unit=f" x {CHUNK} photos")
    found = pd.concat([near_to(looks, start, most) for start in starts])
    return found.assign(transform=np.array(TRANSFORMS, dtype=object)[found["transform"]], kind="near")


def near_to(looks: Looks, start: int, most: int) -> pd.DataFrame:
    """The pairs of a chunk of rows with each other and with later rows, each in the transform of least distance."""
    found = pd.concat([alike(looks, start, number, most) for number in range(len(TRANSFORMS))])
    found = found.sort_values(["distance", "transform"]).drop_duplicates(["first", "second"])
    pixels, splits = (looks.table[name].to_numpy() for name in ("pixels", "split"))
    found = found[pixels[found["first"]] != pixels[found["second"]]]
    within = splits[found["first"]] == splits[found["second"]]
    found = found.assign(within=within).sort_values(["within", "distance", "first", "second"])
    return found.groupby("first").head(MOST).drop(columns="within")


def alike(looks: Looks, start: int, number: int, most: int) -> pd.DataFrame:
    """Pairs of rows of which the `first`, of the chunk, looks like the `second`, a later one, in one transform."""
    own = looks.hashes[start : start + CHUNK, number]
    distances = np.bitwise_count(own[:, None] ^ looks.hashes[None, start:, 0])  # (chunk, rest), uint8
    first, second = np.nonzero(distances <= most)
    first, second = first[first < second], second[first < second]
    pieces = [slice(at, at + PIECE) for at in range(0, len(first), PIECE)]
    one, other = looks.squares[start : start + CHUNK], looks.squares[start:]
    likeness = [correlation(transformed(one[first[piece]], number), other[second[piece]]) for piece in pieces]
    correlations = np.concatenate([np.empty(0, np.float64), *likeness])
    found = pd.DataFrame({"first": first + start, "second": second + start, "transform": number})
    found = found.assign(distance=distances[first, second].astype(np.int64), correlation=correlations)
    return found[correlations >= ALIKE]


def correlation(one: Grey, other: Grey) -> NDArray[np.float64]:
    """Pearson's, of m squares (m, side, side) with m others, -1..1; 0 where one is of a single level."""
    a, b = (squares.reshape(len(squares), -1).astype(np.float32) for squares in (one, other))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b).astype(np.float64) / np.where(scale > 0, scale, np.inf)


def flagged(table: pd.DataFrame) -> pd.DataFrame:
    """The measures of each photo, and whether it is an outlier by each of FLAGS (the constants above)."""
    table = table.drop(columns=["bytes", "pixels"])
    sides = table[["width", "height"]].min(axis=1)
    stretch = table["aspect"] / table["aspect"].median()
    return table.assign(
        dark=table["luminance"] < min(DARK, DARKER * table["luminance"].median()),
        blurred=outlying(table["blur"]) & (table["blur"] > SOFT),
        tiny=sides < TINY * sides.median(),
        extreme_aspect=(stretch > STRETCHED) | (stretch < 1 / STRETCHED),
    )


def outlying(values: pd.Series) -> pd.Series:
    """True for values that are OUTLYING robust standard deviations, of LEAST at least, above the median."""
    deviation = max(LEAST, float(stats.median_abs_deviation(values, scale="normal")))
    return values > values.median() + OUTLYING * deviation


def summary(table: pd.DataFrame, found: pd.DataFrame, left_out: Mapping[str, str]) -> dict[str, object]:
    """Counts: photos by split, pairs by kind and by what they cross, photos by flag, photos left out by reason."""
    counts = found["kind"].value_counts()
    return {
        "photos": {split: int(count) for split, count in table["split"].value_counts(sort=False).items()},
        "pairs": {kind: int(counts.get(kind, 0)) for kind in KINDS}
        | {crossing: int(found[crossing].sum()) for crossing in ("crosses_splits", "crosses_classes")},
        "flags": {flag: int(table[flag].sum()) for flag in FLAGS},
        "left_out": dict(Counter(left_out.values())),
    }


def judge(found: pd.DataFrame, left_out: Mapping[str, str], leakage: Literal["error", "warning"]) -> str:
    """What there is to say of photos in two splits; SmallsetError with the same words where that is an error."""
    leaks = found[found["crosses_splits"]]
    if leaks.empty:
        return "No photo was found in two splits."
    text = "\n".join(
        [
            f"{text.counted(len(leaks), 'pair')} of photos alike in two splits (metrics/audit/pairs.csv, "
            f"plots/audit.png): the one is for training or choosing a model, the other to measure it.",
            *listed(leaks),
            "Leave the first of each two out: in params.yaml, below 'subset', write in place of the line 'exclude'",
            f"  exclude: {text.visible(json.dumps(exclusions(leaks, left_out), ensure_ascii=False))}",
        ]
    )
    if leakage == "error":
        raise SmallsetError(f"{text}\nOr let them be: set audit.leakage: warning.")
    return f"Warning: {text}"


def listed(leaks: pd.DataFrame) -> list[str]:
    """A line for each of the first pairs, and how many more there are."""
    lines = [
        f"- {row['split']} {row['file']} and {row['other_split']} {row['other_file']}: {row['words']}"
        for row in leaks.head(NAMED).to_dict("records")
    ]
    more = [f"- and {len(leaks) - NAMED} more"] if len(leaks) > NAMED else []
    return [text.visible(line) for line in [*lines, *more]]


def likeness(kind: str, transform: str) -> str:
    """As "the same file" or "nearly the same picture, mirrored"."""
    return KINDS[kind] if transform == TRANSFORMS[0] else f"{KINDS[kind]}, {transform}"


def exclusions(leaks: pd.DataFrame, left_out: Mapping[str, str]) -> list[str]:
    """What subset.exclude has already, then the photo of each pair in the former split."""
    before = [file for file, reason in left_out.items() if reason == splits.EXCLUDED]
    return list(dict.fromkeys([*before, *leaks["file"]]))
