"""Find different files that show the same picture: similar features propose pairs, and their aligned pixels decide.

tests/test_duplicates.py checks the limits with generated copies, and with pictures that only resemble each other.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from smallset.pipeline import progress

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Thumbnails = NDArray[np.uint8]  # (n, 64, 64)

TURNS = ("", ", rotated by 90°", ", rotated by 180°", ", rotated by 270°")
TRANSFORMS = (*TURNS, *(f", mirrored{turn.replace(',', ' and')}" for turn in TURNS))
NEIGHBORS = 10  # photos with the most similar features that each photo is compared with
DIMENSIONS = 512  # of a random projection of the features, which nearly keeps their angles
MAX_DISTANCE = 1.2  # of two unit vectors of features, a cosine of 0.28; of copies of real photos 95 % are nearer
CHUNK = 64  # pairs that are compared at once: their arrays fit into a processor's cache
BLOCK = 1024  # photos that are projected at once, to limit memory

COARSE, FINE = (16, 6), ((32, 6), (64, 4))  # px of the thumbnails that are aligned, and steps
REACH, STEP = 0.6, 0.15  # the largest change of a number of an affine map, in all steps and in one
MIN_COARSE = 0.9  # correlation of the coarse thumbnails; 99 % of copies have more

WINDOW = 8  # px, of the squares whose pixels are compared on their own
MIN_CONTRAST = 4.0  # levels: the standard deviation of a window that shows something
MIN_CORNER = 3.0  # levels per px in the direction with the least contrast: a straight edge looks alike in many photos
MIN_SHARE = 0.25  # of the windows, with such corners: less is not enough evidence
STILL = 0.04  # the change of a map by which a picture has not moved: then both are sampled at the same places
MIN_CORRELATION = 0.9, 0.8  # in a window that agrees, of a picture that has not moved, and of one that has
AGREEING = 1.0, 0.9  # of the windows that show something, and of those with corners: what differs is in the others
MIN_OVERLAP = 0.6  # of the areas of two pictures; a crop to 0.8 of both sides leaves 0.64
MAX_DIFFERENCE, NEARLY_ALL = 4.0, 0.9  # levels in each window, over so much of the area: the same file saved again


def find_near_duplicates(values: NDArray[np.float16], thumbnails: Thumbnails) -> pd.DataFrame:
    """Pairs of rows that show the same picture; memory grows only with the number of photos.

    Two photos are candidates when the features of one are among the most similar to the other's. An affine map, found
    by Gauss-Newton steps, then aligns their thumbnails, perhaps after a quarter turn or mirroring.

    Args:
        values: Features, (n, d).
        thumbnails: The photos in grey, (n, 64, 64).

    Returns:
        first < second (rows), transform (of the first; an index into TRANSFORMS), correlation (after the alignment).
    """
    pairs = _propose(values)
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    bar = progress.bar(chunks, what="comparing", unit=f" x {CHUNK} pairs")
    empty = pd.DataFrame({name: np.zeros(0, np.int64) for name in ("first", "second", "transform", "correlation")})
    return pd.concat([empty, *(_verify(chunk, thumbnails) for chunk in bar)], ignore_index=True)


def _propose(values: NDArray[np.float16]) -> NDArray[np.int64]:
    """Candidates as pairs of rows, (m, 2), in ascending order."""
    count = min(NEIGHBORS, len(values) - 1)
    if count < 1:
        return np.zeros((0, 2), np.int64)
    projection = np.random.default_rng(0).normal(size=(values.shape[1], DIMENSIONS)).astype(np.float32)
    mean = values.mean(axis=0, dtype=np.float32)
    blocks = [values[start : start + BLOCK].astype(np.float32) for start in range(0, len(values), BLOCK)]
    points = normalize(np.concatenate([(block - mean) @ projection for block in blocks]))
    distances, neighbors = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()
    first, number = np.nonzero(distances <= MAX_DISTANCE)
    return np.unique(np.sort(np.stack([first, neighbors[first, number]], axis=1), axis=1), axis=0)


def _verify(pairs: NDArray[np.int64], thumbnails: Thumbnails) -> pd.DataFrame:
    """Those of some pairs whose pixels agree."""
    first, second = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
    size, steps = COARSE
    small, other = _shrink(first, size), _shrink(second, size)
    maps = np.tile(np.eye(2, 3, dtype=np.float32), (len(TRANSFORMS), len(pairs), 1, 1))
    scores = np.zeros((len(TRANSFORMS), len(pairs)), np.float32)
    for number in range(len(TRANSFORMS)):
        turned = transform(small, number)
        maps[number] = _align(turned, other, maps[number], steps)
        warped, inside, _ = _warp(other, maps[number])
        scores[number] = correlate(turned, warped, inside)
    rows = np.flatnonzero(scores.max(axis=0) >= MIN_COARSE)
    numbers = scores.argmax(axis=0)[rows]
    table = pd.DataFrame({"first": pairs[rows, 0], "second": pairs[rows, 1], "transform": numbers})
    if table.empty:
        return table
    turned = np.stack([transform(picture, number) for picture, number in zip(first[rows], numbers, strict=True)])
    aligned = maps[numbers, rows]
    for size, steps in FINE:
        small, other = _shrink(turned, size), _shrink(second[rows], size)
        aligned = _align(small, other, aligned, steps)
    warped, inside, _ = _warp(other, aligned)
    return table.assign(correlation=correlate(small, warped, inside))[_show_the_same(small, warped, inside, aligned)]


def transform(pictures: NDArray[Any], number: int) -> NDArray[Any]:
    """TRANSFORMS[number]: mirrored left to right, then rotated counterclockwise."""
    return np.rot90(pictures[..., ::-1] if number >= 4 else pictures, number % 4, axes=(-2, -1))


def _shrink(thumbnails: NDArray[Any], size: int) -> Floats:
    factor = thumbnails.shape[1] // size
    return thumbnails.reshape(-1, size, factor, size, factor).mean(axis=(2, 4), dtype=np.float32)


def _grid(size: int) -> Floats:
    """The centers of the pixels as x, y, 1, (3, size, size); a picture reaches from -1 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    return np.stack([*np.meshgrid(line, line), np.ones((size, size), np.float32)])


def _warp(images: Floats, maps: Floats) -> tuple[Floats, Mask, Floats]:
    """Sample images (m, s, s) where maps (m, 2, 3) move the pixels: values, where inside, slopes (m, 2, s, s)."""
    count, size, _ = images.shape
    places = maps @ _grid(size).reshape(3, -1)
    inside = (np.abs(places) <= 1).all(axis=1)
    places = np.clip((places + 1) * (size / 2) - 0.5, 0, size - 1.001)
    corner = places.astype(np.int32)
    x, y = np.moveaxis(places - corner, 1, 0)
    flat, at = images.reshape(count, -1), corner[:, 1] * size + corner[:, 0]
    a, b, c, d = (np.take_along_axis(flat, at + step, axis=1) for step in (0, 1, size, size + 1))
    top, bottom = a + (b - a) * x, c + (d - c) * x
    slopes = np.stack([(b - a) * (1 - y) + (d - c) * y, bottom - top], axis=1) * (size / 2)
    values = (top + (bottom - top) * y).reshape(images.shape)
    return values, inside.reshape(images.shape), slopes.reshape(count, 2, size, size)


def _align(first: Floats, second: Floats, maps: Floats, steps: int) -> Floats:
    """Improve the maps that move the pixels of `first` to `second`; brightness and contrast may differ, too.

    Each step solves the linear least squares problem: first = gain * (second + slopes * change of the map) + bias.
    """
    count, size, _ = first.shape
    grid, identity = _grid(size), np.eye(2, 3, dtype=np.float32)
    for _ in range(steps):
        values, inside, slopes = _warp(second, maps)
        moves = (slopes[:, :, None] * grid).reshape(count, 6, size, size)
        unknowns = np.concatenate([moves, np.stack([values, np.ones_like(values)], axis=1)], axis=1)
        unknowns = (unknowns * inside[:, None]).reshape(count, 8, -1)
        scale = np.linalg.norm(unknowns, axis=2, keepdims=True) + 1e-3
        unknowns /= scale
        matrix = unknowns @ unknowns.transpose(0, 2, 1) + 1e-3 * np.eye(8, dtype=np.float32)
        solution = (np.linalg.solve(matrix, unknowns @ first.reshape(count, -1, 1)) / scale)[..., 0]
        gain = np.maximum(np.abs(solution[:, 6:7]), 0.2)
        maps = maps + np.clip(solution[:, :6] / gain, -STEP, STEP).reshape(maps.shape)
        maps = identity + np.clip(maps - identity, -REACH, REACH)
    return maps


def _center(images: Floats, inside: Mask) -> Floats:
    """The deviations from the mean of the pixels inside, and 0 outside."""
    count = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    return (images - (images * inside).sum(axis=(1, 2), keepdims=True) / count) * inside


def correlate(first: Floats, second: Floats, inside: Mask) -> Floats:
    """Pearson's correlation of m pictures with m others, (m,); 0 when one of the two has a single color."""
    first, second = _center(first, inside), _center(second, inside)
    scale = np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    return (first * second).sum(axis=(1, 2)) / np.where(scale > 0, scale, np.inf)


def _windows(images: NDArray[Any]) -> NDArray[Any]:
    """Squares that cover the images, (m, windows, pixels)."""
    count, side = len(images), images.shape[1] // WINDOW
    squares = images.reshape(count, side, WINDOW, side, WINDOW).transpose(0, 1, 3, 2, 4)
    return squares.reshape(count, side * side, -1)


def _show_the_same(first: Floats, second: Floats, inside: Mask, maps: Floats) -> Mask:
    """Whether m pairs of aligned pictures, (m, s, s), are copies; see the limits above."""
    a, b, covered = _windows(first), _windows(second), _windows(inside).all(axis=2)
    difference = np.where(covered, np.abs(a - b).mean(axis=2), 0).max(axis=1)
    a, b = a - a.mean(axis=2, keepdims=True), b - b.mean(axis=2, keepdims=True)
    spread, other = a.std(axis=2), b.std(axis=2)
    deviations = [np.linalg.norm(_center(images, inside), axis=(1, 2))[:, None] for images in (first, second)]
    gain = deviations[0] / np.maximum(deviations[1], 1)
    shown = covered & (np.maximum(spread, other * gain) > MIN_CONTRAST)
    local = (a * b).mean(axis=2) / (np.maximum(spread, 1) * np.maximum(other, 1))
    corners = shown & (_corners(first) > MIN_CORNER)
    still = np.abs(maps - np.eye(2, 3)).max(axis=(1, 2)) <= STILL
    agrees = local >= np.where(still, *MIN_CORRELATION)[:, None]
    needed = np.where(still, *AGREEING)
    agreeing = [(part & agrees).sum(axis=1) >= needed * part.sum(axis=1) for part in (shown, corners)]
    enough = corners.sum(axis=1) >= MIN_SHARE * np.maximum(covered.sum(axis=1), 1)
    overlap = inside.mean(axis=(1, 2))
    equal = (difference <= MAX_DIFFERENCE) & (overlap > NEARLY_ALL) & shown.any(axis=1)
    return equal | (agreeing[0] & agreeing[1] & enough & (overlap >= MIN_OVERLAP))


def _corners(images: Floats) -> Floats:
    """For each window the contrast, in levels per px, in the direction that has the least (Shi and Tomasi 1994)."""
    slopes: Any = np.gradient(images, axis=(1, 2))
    y, x = slopes
    xx, yy, xy = (_windows(product).mean(axis=2) for product in (x * x, y * y, x * y))
    return np.sqrt(np.maximum((xx + yy) / 2 - np.hypot((xx - yy) / 2, xy), 0))
