"""The benchmarks count and report rightly; what they time is never asserted."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import keras
import pandas as pd
import pytest

from benchmarks import arithmetic, bases, growth, pictures, rounds, streaming, tables
from smallset.backbones import registry
from smallset.datasets import filling, lists
from smallset.models import convnets, heads
from smallset.pipeline import bulk, files, params

ROOT = Path(__file__).parents[1]
P = params.read(ROOT / "params.yaml")


def series(*seconds: float, photos: int = 1000, gflop: float = 1) -> rounds.Series:
    return rounds.Series(list(seconds), photos, gflop, peak=1.5)


@pytest.fixture
def results() -> dict[str, dict[str, rounds.Series]]:
    """Every step twice as fast in the first round, four times in the second."""
    found = {case: {"book": series(60, 120), "ours": series(30, 30)} for case in ("product", *tables.WORDS)}
    return found | {"bank": {"ours": series(60, 60)}}


def test_vgg16_at_180_px_takes_974_gmac_of_which_block5_is_a_twelfth(vgg16: Callable[[int], keras.Model]) -> None:
    base = vgg16(180)
    trunk, top = registry.split(base, "VGG16", None)
    assert arithmetic.flop(base) / 2e9 == pytest.approx(9.74, abs=0.005)
    assert arithmetic.flop(trunk) + arithmetic.flop(top) == arithmetic.flop(base)
    assert arithmetic.flop(top) / arithmetic.flop(base) == pytest.approx(0.088, abs=0.0005)


def test_a_head_takes_a_multiply_add_for_each_weight_but_the_biases() -> None:
    head = heads.book((5, 5, 512), 2, 256, 0.5)
    assert arithmetic.flop(convnets.chain([head], "whole")) == 2 * (3_277_313 - 257)


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert tables.spread([3, 1, 2.26]) == "2.3 (1.0-3.0)"
    assert tables.spread([0.5], 2) == "0.50 (0.50-0.50)"


def test_ratios_are_of_the_same_round(results: tables.Results) -> None:
    table = tables.cases(results, photos=2000)
    line = next(line for line in table.splitlines() if line.startswith("| features of the photos |"))
    assert line == "| features of the photos | 180.0 (120.0-240.0) | 60.0 (60.0-60.0) | 3.0 (2.0-4.0) | 1.50 | 1.50 |"
    assert "| features of the photos and their views |  | 120.0 (120.0-120.0) |  |  | 1.50 |" in table


def test_rates_are_shares_of_the_matrix_product(results: dict[str, dict[str, rounds.Series]]) -> None:
    results["extraction"]["book"] = series(1, 2, photos=10, gflop=200)
    results["product"]["book"] = series(1, 1, gflop=400)
    assert "| 7.5 (5.0-10.0) | 150 (100-200) | 400 (400-400) | 0.38 (0.25-0.50) |" in tables.rates(results)


def test_the_chapter_is_the_sum_of_its_epochs(results: tables.Results) -> None:
    """2,000 photos at 60 s a thousand: 2 min an epoch of the book in the first round, 4 in the second."""
    table = tables.chapter(results, P)
    assert "| features, and of 8 views |  |  | 4.5 (3.0-6.0) | 2.5 (2.5-2.5) | 1.8 (1.2-2.4) |" in table
    assert "| convnet | 30 | 12 | 90.0 (60.0-120.0) | 12.0 (12.0-12.0) | 7.5 (5.0-10.0) |" in table
    book = [minutes + 230 * each for minutes, each in ((3, 2), (6, 4))]
    whole = next(line for line in table.splitlines() if line.startswith("| whole chapter |"))
    assert f"| {sum(book) / 2:.1f} ({book[0]:.1f}-{book[1]:.1f}) | {2.5 + 142:.1f} (" in whole
    same = table.splitlines()[-1]
    assert same.endswith(f"| {2.5 + 230:.1f} (232.5-232.5) | {tables.spread([book[0] / 232.5, book[1] / 232.5])} |")


def test_growth_is_what_each_further_photo_costs() -> None:
    def measures(seconds: float, gib: float) -> growth.Measures:
        return dict.fromkeys(growth.STAGES, (seconds, gib))

    results = {1000: measures(10, 1), 2000: measures(12, 1), 4000: measures(16, 2.6)}
    text = growth.report(results)
    assert "| subset | 10.0, 1.00 | 12.0, 1.00 | 16.0, 2.60 | 2.0 | 2.0 |" in text
    assert text.endswith("Peak memory 2.60 GiB, over the limit of 2.5 GiB.")


def test_photos_are_copied_class_by_class_and_again_when_they_run_out(tmp_path: Path, drawn: lists.Photos) -> None:
    pictures.copy(drawn.folder, tmp_path / "many", count=14, skip=1)
    found = lists.find(tmp_path / "many")
    assert found.labels.tolist() == [0] * 7 + [1] * 7
    originals = {Path(path).read_bytes(): Path(path).name for path in drawn.paths()}
    names = [originals[Path(path).read_bytes()] for path in found.paths()[:7]]
    assert [re.findall(r"\d+", name)[0] for name in names] == ["1", "2", "3", "4", "0", "1", "2"]
    (tmp_path / "raw").mkdir()
    said = filling.copy_folder(str(tmp_path / "many"), None, tmp_path / "raw")  # as growth's pipeline takes them
    assert said[0] == "Copied 14 photos of 2 classes."


def test_both_sides_have_every_case_that_is_measured() -> None:
    from benchmarks import book, ours

    measured = {"product", *tables.WORDS}
    assert set(ours.CASES) == measured
    assert set(book.CASES) == measured - {"bank"}


def test_rows_in_a_file_are_measured_beside_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "HELD", 100 * 8 * 4)
    monkeypatch.setattr(bulk, "FOLDER", "")
    monkeypatch.setattr(streaming, "KNOWN", 60)
    output = tmp_path / "streaming.json"
    streaming.main([300], width=8, classes=2, fitting=200, rounds=1, folder=tmp_path, output=output)
    found = json.loads(output.read_text())
    assert found["counts"]["300"]["steps"] > 0
    assert 0 < found["counts"]["300"]["all"] < 1
    assert found["compared"]["apart"][0] < 5e-3
    assert "| 300 | 0.00 |" in output.with_suffix(".md").read_text()


def test_bases_are_measured_once_with_all_models_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(photos: Path, base: str, models: list[str], _: Path) -> list[dict[str, object]]:
        asked.append((photos.name, base, models))
        numbers = dict.fromkeys(bases.COLUMNS, 0.5)
        return [numbers | {"set": photos.name, "base": base, "model": model} for model in models]

    monkeypatch.setattr(bases, "measured", measured)
    for name in ("birds", "rocks"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    for wanted, tuned in (("A", ""), ("A,B", "B"), ("A,B", "A")):
        bases.main(tmp_path / "sets", wanted, tuned, tmp_path / "bases.csv")
    both = ["linear", "pooled"]
    assert asked[::2] == [("birds", "A", ["linear"]), ("birds", "B", both), ("birds", "A", both)]
    assert len((tmp_path / "bases.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
    assert "| rocks | B | pooled |" in (tmp_path / "bases.md").read_text()


def test_swapped_labels_are_counted_right_by_the_answers_of_the_page(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    from benchmarks import review
    from smallset.web import queues

    for number in range(20):
        path = tmp_path / f"photos/{'cat' if number % 2 else 'dog'}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1" if number < 2 else str(number).encode())  # one is there twice
    twice = files.sha256(tmp_path / "photos/dog/0.jpg")
    truth, swapped = review.swap(tmp_path / "photos", tmp_path / "swapped", 0.1, seed=1)
    assert (truth, swapped) == review.swap(tmp_path / "photos", tmp_path / "again", 0.1, seed=1)
    found = {files.sha256(path): path.parent.name for path in (tmp_path / "swapped").glob("*/*")}
    assert {digest for digest, label in found.items() if label != truth[digest] and digest != twice} == swapped
    photos = {digest: queues.Photo(f"{label}/1.jpg", label, "train") for digest, label in found.items()}
    one, other = sorted(swapped)
    right = min(photos.keys() - swapped - {twice})
    asked = [
        queues.Queue("suspects", "In doubt", [queues.Item(right, ""), queues.Item(one, "", truth[one])]),
        queues.Queue("twice", "Twice", [queues.Item(one, ""), queues.Item(other, "")]),
    ]
    album = queues.Album(photos, {}, asked, tmp_path, tmp_path)
    answers = list(review.answers(album, {}, truth, swapped))
    assert answers == [("In doubt", 1, False), ("In doubt", 1, True), ("Twice", review.SWITCH + 1, True)]
    rows = pd.DataFrame([(1, *answer) for answer in answers], columns=["round", "queue", "keys", "right"])
    table = review.totals(rows, len(swapped), aim=0.5, seconds=3)
    assert table[["questions", "keys", "right", "share"]].to_numpy().tolist() == [[2, 2, 1, 0.5], [3, 5, 2, 1.0]]


def test_the_minutes_of_a_run_are_those_of_the_book_what_is_beyond_it_and_the_error_bars(tmp_path: Path) -> None:
    from benchmarks import times

    seconds = {"convnet": 60, "evaluate@convnet": 30, "pooled": 120, "evaluate@pooled": 60, "pooled_seeds": 240}
    runs = [("convnet", 1.0), *seconds.items()]  # one ran twice
    facts = {"threads": "2", "processor": "x", "tensorflow": "2"}
    log = [json.dumps({"stage": name, "seconds": value} | facts) for name, value in runs]
    (tmp_path / "runs.jsonl").write_text("\n".join(log))
    times.main(tmp_path / "runs.jsonl", tmp_path / "times.csv")
    text = (tmp_path / "times.md").read_text()
    for row in ("the book's models | 1.5", "beyond the book | 3.0", "error bars | 4.0", "all | 8.5"):
        assert f"| {row} |" in text
    assert pd.read_csv(tmp_path / "times.csv")["seconds"].tolist() == [*seconds.values()]


def test_the_rate_of_a_cluster_leaves_out_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import cluster

    clock = iter([100.0, 101.0, 103.0, 105.0])  # s; the first photos wait for the workers
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert cluster.steady([64, 128, 576, 1024]) == (1024 - 128) / 4
