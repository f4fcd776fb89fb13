"""Tables of the rounds: the medians of both sides, and of the ratios of each round, with the lowest and highest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import Series
from smallset.pipeline import params

Results = Mapping[str, Mapping[str, Series]]  # case -> side -> its rounds

WORDS = {
    "convnet": "epoch of the convnet from scratch",
    "convnet_augmented": "the same, augmented",
    "extraction": "features of the photos",
    "bank": "features of the photos and their views",
    "classifier": "epoch of a head on features",
    "augmented": "epoch of a head, augmented",
    "fine_tune": "epoch of block5 and head, augmented",
}
BOOK_EPOCHS = {"convnet": 30, "convnet_augmented": 100, "classifier": 20, "augmented": 50, "fine_tune": 30}


@dataclass(frozen=True)
class Row:
    """One step of the chapter: the epochs of both sides, and their minutes by round."""

    name: str
    epochs: tuple[int | None, int | None]
    book: list[float]
    ours: list[float]


def spread(values: Iterable[float], digits: int = 1) -> str:
    """The median, with the lowest and the highest: 4.2 (3.9-4.6)."""
    ordered = sorted(values)
    return f"{median(ordered):.{digits}f} ({ordered[0]:.{digits}f}-{ordered[-1]:.{digits}f})"


def ratios(book: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times faster smallset was, in each round: the two are neighbours in time, so drift affects both."""
    return [first / second for first, second in zip(book, ours, strict=True)]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown: the first column is left-aligned, the others are right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cases(results: Results, photos: int) -> str:
    """Seconds for `photos` training photos (an epoch has half as many for validation), ratios, and peak memory."""
    rows = []
    for case, words in WORDS.items():
        sides = results[case]
        seconds = {side: scaled(series, photos) for side, series in sides.items()}
        cells = [spread(seconds[side]) if side in sides else "" for side in ("book", "ours")]
        ratio = spread(ratios(seconds["book"], seconds["ours"])) if "book" in sides else ""
        peaks = [f"{sides[side].peak:.2f}" if side in sides else "" for side in ("book", "ours")]
        rows.append([words, *cells, ratio, *peaks])
    columns = [f"for {photos:,} training photos", "book, s", "smallset, s", "ratio", "book, GiB", "smallset, GiB"]
    return table(columns, rows)


def rates(results: Results) -> str:
    """Feature extraction compared with a matrix product on this machine, in the precision of each side."""
    rows = []
    for side, words in {"book": "book, float32", "ours": "smallset, precision: auto"}.items():
        extraction, product = results["extraction"][side], results["product"][side]
        photos = [extraction.photos / seconds for seconds in extraction.seconds]
        reached, best = gflops(extraction), gflops(product)
        rows.append([words, spread(photos), spread(reached, 0), spread(best, 0), spread(ratios(reached, best), 2)])
    return table(["feature extraction", "photos/s", "GFLOP/s", "matrix product, GFLOP/s", "share"], rows)


def gflops(series: Series) -> list[float]:
    """GFLOP/s of each round."""
    return [series.gflop / seconds for seconds in series.seconds]


def scaled(series: Series, photos: int) -> list[float]:
    """Seconds of each round, scaled to `photos` training photos."""
    return [seconds * photos / series.photos for seconds in series.seconds]


def chapter(results: Results, p: params.Params) -> str:
    """The whole chapter, extrapolated from each round: training and caches, without the test photos."""
    rows = steps(results, p, {name: getattr(p, name).epochs for name in BOOK_EPOCHS})
    same = total("whole chapter, the book's epochs on both sides", steps(results, p, BOOK_EPOCHS))
    cells = []
    for row in [*rows, total("whole chapter", rows), same]:
        epochs = ["" if count is None else str(count) for count in row.epochs]
        cells.append([row.name, *epochs, spread(row.book), spread(row.ours), spread(ratios(row.book, row.ours))])
    return table(["step", "book, epochs", "smallset, epochs", "book, min", "smallset, min", "ratio"], cells)


def steps(results: Results, p: params.Params, epochs: Mapping[str, int]) -> list[Row]:
    """One row per step of the chapter; epochs: those of smallset."""
    train, validation = 2 * p.subset.train, 2 * p.subset.validation
    minutes = {
        (case, side): [seconds / 60 for seconds in scaled(series, train)]
        for case, sides in results.items()
        for side, series in sides.items()
    }
    more = validation / train
    plain = [(1 + more) * value for value in minutes["extraction", "book"]]
    pairs = zip(minutes["bank", "ours"], minutes["extraction", "ours"], strict=True)
    rows = [Row(f"features, and of {p.activations.views} views", (None, None), plain, [a + more * b for a, b in pairs])]
    for name, book_epochs in BOOK_EPOCHS.items():
        book = [book_epochs * value for value in minutes[name, "book"]]
        ours = [epochs[name] * value for value in minutes[name, "ours"]]
        rows.append(Row(name, (book_epochs, epochs[name]), book, ours))
    return rows


def total(name: str, rows: Sequence[Row]) -> Row:
    """The sums of all steps, round by round."""
    book, ours = (
        [sum(values) for values in zip(*(getattr(row, side) for row in rows), strict=True)] for side in ("book", "ours")
    )
    return Row(name, (None, None), book, ours)
