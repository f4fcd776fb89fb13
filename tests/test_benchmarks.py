"""The benchmarks count and report correctly; no test asserts a time."""

import json
from collections.abc import Callable
from pathlib import Path

import arrays
import keras
import numpy as np
import pandas as pd
import pytest
import typer

from benchmarks import arithmetic, bases, growth, label_issues, pictures, rounds, start, tables
from smallset.backbones import registry
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files, params

ROOT = Path(__file__).parents[1]
P = params.read(ROOT / "params.yaml")


def series(*seconds: float, photos: int = 1000, gflop: float = 1) -> rounds.Series:
    return rounds.Series(list(seconds), photos, gflop, peak=1.5)


@pytest.fixture
def results() -> dict[str, dict[str, rounds.Series]]:
    """smallset is twice as fast in the first round of each step, and four times in the second."""
    cases = {case: {"book": series(60, 120), "ours": series(30, 30)} for case in ("product", *tables.WORDS)}
    return cases | {"bank": {"ours": series(60, 60)}}


def test_vgg16_at_180_px_takes_974_gmac_of_which_block5_is_a_twelfth(vgg16: Callable[[int], keras.Model]) -> None:
    backbone = vgg16(180)
    frozen, last_block = registry.split_at(backbone, "VGG16", "auto")
    assert arithmetic.flop(backbone) / 2e9 == pytest.approx(9.74, abs=0.005)
    assert arithmetic.flop(frozen) + arithmetic.flop(last_block) == arithmetic.flop(backbone)
    assert arithmetic.flop(last_block) / arithmetic.flop(backbone) == pytest.approx(0.088, abs=0.0005)


def test_ratios_are_of_the_same_round_and_rates_are_shares_of_the_matrix_product(results: tables.Results) -> None:
    table = tables.cases(results, photos=2000)
    line = "| features of the photos | 180.0 (120.0-240.0) | 60.0 (60.0-60.0) | 3.0 (2.0-4.0) | 1.50 | 1.50 |"
    assert line in table.splitlines()
    assert "| features of the photos and their views |  | 120.0 (120.0-120.0) |  |  | 1.50 |" in table
    changed = {"extraction": {"book": series(1, 2, photos=10, gflop=200)}, "product": {"book": series(1, 1, gflop=400)}}
    rates = tables.rates({case: {**results[case], **changed.get(case, {})} for case in results})
    assert "| 7.5 (5.0-10.0) | 150 (100-200) | 400 (400-400) | 0.38 (0.25-0.50) |" in rates


def test_the_chapter_is_the_sum_of_its_epochs(results: tables.Results) -> None:
    """2,000 photos at 60 s per thousand: an epoch of the book takes 2 min in the first round and 4 in the second."""
    table = tables.chapter(results, P)
    assert "| features, and of 8 views |  |  | 4.5 (3.0-6.0) | 2.5 (2.5-2.5) | 1.8 (1.2-2.4) |" in table
    assert "| convnet | 30 | 12 | 90.0 (60.0-120.0) | 12.0 (12.0-12.0) | 7.5 (5.0-10.0) |" in table
    book = [minutes + 230 * each for minutes, each in ((3, 2), (6, 4))]
    whole = next(line for line in table.splitlines() if line.startswith("| whole chapter |"))
    assert f"| {sum(book) / 2:.1f} ({book[0]:.1f}-{book[1]:.1f}) | {2.5 + 142:.1f} (" in whole
    assert table.endswith(f"| {2.5 + 230:.1f} (232.5-232.5) | {tables.spread([book[0] / 232.5, book[1] / 232.5])} |")


def test_growth_is_the_time_of_each_additional_photo(tmp_path: Path, drawn: Dataset) -> None:
    measures = {1000: (10.0, 1.0), 2000: (12.0, 1.0), 4000: (16.0, 2.6)}
    results = {count: dict.fromkeys(growth.STAGES, values) for count, values in measures.items()}
    text = growth.report(results)
    assert "| subset | 10.0, 1.00 | 12.0, 1.00 | 16.0, 2.60 | 2.0 | 2.0 |" in text
    assert text.endswith("Peak memory 2.60 GiB, over the limit of 2.5 GiB.")
    growth.prepare(tmp_path / "pipeline", drawn.root, count=14, size=96, views=1)
    assert pictures.read(tmp_path / "pipeline/photos").labels.tolist() == [0] * 7 + [1] * 7
    p = params.read(tmp_path / "pipeline/params.yaml")
    assert (p.image_size, p.subset.by, p.backbone.weights, p.activations.views) == (96, "fraction", None, 1)
    assert all((tmp_path / f"pipeline/stages/{stage}.py").is_file() for stage in growth.STAGES)


def test_a_backbone_is_measured_once_on_each_set_with_all_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measure(photos: Path, backbone: str, models: list[str], _: Path) -> list[dict[str, object]]:
        calls.append((photos.name, backbone, models))
        numbers = dict.fromkeys(bases.COLUMNS, 0.5)
        return [numbers | {"set": photos.name, "backbone": backbone, "model": model} for model in models]

    monkeypatch.setattr(bases, "measure", measure)
    for name in ("birds", "rocks"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    for backbones, fine_tuned in (("A", ""), ("A,B", "B"), ("A,B", "A")):
        bases.main(tmp_path / "sets", backbones, fine_tuned, tmp_path / "bases.csv")
    both = ["linear_probe", "fine_tuned"]
    assert calls[::2] == [("birds", "A", ["linear_probe"]), ("birds", "B", both), ("birds", "A", both)]
    assert len((tmp_path / "bases.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
    assert "| rocks | B | fine_tuned |" in (tmp_path / "bases.md").read_text()
    (tmp_path / "bases.csv").write_text("set,base,model\nbirds,VGG16,linear\n")  # as in 0.2.0
    with pytest.raises(SystemExit, match=r"expected the columns set, backbone.*--output"):
        bases.main(tmp_path, output=tmp_path / "bases.csv")


def test_the_row_of_a_model_has_what_validation_selected_and_the_seconds_of_its_stages(tmp_path: Path) -> None:
    values = {"accuracy": 0.9, "n": 100, "loss": 0.3, "val_loss": 0.2, "ece": 0.1}
    files.write_text(tmp_path / "metrics/features/search.csv", "image_size,selected\n224,False\n288,True\n")
    files.write_text(tmp_path / "metrics/fine_tuned/search.csv", "trainable,selected\nfrozen,False\nall,True\n")
    for model in ("linear_probe", "fine_tuned"):
        files.write_json(tmp_path / f"metrics/{model}.json", values)
    seconds = {"split": 1, "features": 10, "linear_probe": 5, "fine_tune": 60}
    log = [json.dumps({"stage": stage, "seconds": value}) for stage, value in seconds.items()]
    files.write_text(tmp_path / "data/runs.jsonl", "\n".join(log))
    probe, tuned = (bases.read_row(tmp_path, model) for model in ("linear_probe", "fine_tuned"))
    assert {*probe, "set", "backbone"} == {*bases.COLUMNS}
    assert (probe["image_size"], probe["trainable"], probe["seconds"]) == (288, "frozen", 15)
    assert (tuned["image_size"], tuned["trainable"], tuned["seconds"]) == (288, "all", 60)
    assert probe["low"] == pytest.approx(0.8256, abs=1e-4)


def test_answers_on_the_review_page_correct_swapped_labels(tmp_path: Path) -> None:
    from benchmarks import review
    from smallset.web import queues

    for number in range(20):
        path = tmp_path / f"photos/{'cat' if number % 2 else 'dog'}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1" if number < 2 else str(number).encode())  # two files are equal
    twice = files.sha256(tmp_path / "photos/dog/0.jpg")
    truth, swapped = review.swap(tmp_path / "photos", tmp_path / "swapped", 0.1, seed=1)
    assert (truth, swapped) == review.swap(tmp_path / "photos", tmp_path / "again", 0.1, seed=1)
    labels = {files.sha256(path): path.parent.name for path in (tmp_path / "swapped").glob("*/*")}
    assert {sha256 for sha256, label in labels.items() if label != truth[sha256] and sha256 != twice} == swapped
    photos = {sha256: queues.Photo(f"photos/{label}/1.jpg", label, "train") for sha256, label in labels.items()}
    first, second = sorted(swapped)
    right = min(photos.keys() - swapped - {twice})
    items = [queues.Item(right, ""), queues.Item(first, "", truth[first])]
    issues = queues.Queue("label-issues", "Label issues", items)
    pairs = queues.Queue("duplicates", "Duplicates", [queues.Item(first, ""), queues.Item(second, "")])
    answers = list(review.answer(queues.Album(photos, {}, [issues, pairs]), {}, truth, swapped))
    keys = review.SWITCH + 1
    assert answers == [("Label issues", 1, False), ("Label issues", 1, True), ("Duplicates", keys, True)]
    rows = pd.DataFrame([(1, *answer) for answer in answers], columns=["round", "queue", "keys", "right"])
    table = review.sum_up(rows, len(swapped), aim=0.5, seconds=3)
    assert table[["questions", "keys", "right", "share"]].to_numpy().tolist() == [[2, 2, 1, 0.5], [3, 5, 2, 1.0]]


def test_the_minutes_of_a_run_are_those_of_the_models_and_of_the_error_bars(tmp_path: Path) -> None:
    from benchmarks import times

    seconds = {"convnet": 60, "evaluate@convnet": 30, "seeds@classifier": 120, "seeds@fine_tune": 240}
    runs = [("convnet", 1.0), *seconds.items()]  # one stage ran twice
    facts = {"threads": "2", "processor": "x", "tensorflow": "2"}
    log = [json.dumps({"stage": name, "seconds": value} | facts) for name, value in runs]
    (tmp_path / "runs.jsonl").write_text("\n".join(log))
    times.main(tmp_path / "runs.jsonl", tmp_path / "times.csv")
    text = (tmp_path / "times.md").read_text()
    for row in ("models | 1.5", "error bars | 6.0", "all | 7.5"):
        assert f"| {row} |" in text
    assert pd.read_csv(tmp_path / "times.csv")["seconds"].tolist() == [*seconds.values()]


def test_probes_are_paired_by_photo_wherever_the_versions_keep_them(tmp_path: Path) -> None:
    from benchmarks import probe

    folders = tmp_path / "old/metrics/linear", tmp_path / "new/metrics/linear_probe"
    for folder, prefix, predicted in zip(folders, ("", "photos/"), ("aab", "bba"), strict=True):
        folder.mkdir(parents=True)
        rows = [f"{prefix}a/{n}.png,a,{label}" for n, label in enumerate(predicted)]
        (folder / "predictions.csv").write_text("\n".join(["file,actual,predicted", *rows]))
    row = probe.compare(tmp_path / "old", tmp_path / "new")
    assert row == {"dataset": "new", "n": 3, "only_0.2.0": 2, "only_0.3.0": 1, "p": 1.0}
    (folders[1] / "predictions.csv").write_text("file,actual,predicted\nphotos/a/7.png,a,a\n")
    with pytest.raises(typer.BadParameter, match="different test photos"):
        probe.compare(tmp_path / "old", tmp_path / "new")


def test_a_step_of_the_first_run_has_the_time_and_the_memory_of_both_versions() -> None:
    rows = [
        ("old", "init", 70.0, 4.0),
        ("new", "init", 4.0, 0.5),
        ("old", "init", 80.0, 5.0),
        ("new", "init", 6.0, 0.5),
        ("new", "  first evaluated model", 45.0, float("nan")),
    ]
    table = pd.DataFrame(rows, columns=["side", "step", "seconds", "gib"])
    assert start.show(table).splitlines()[2:] == [
        "| init | 75.00 (70.00-80.00) | 5.00 (4.00-6.00) | 4.50 (4.00-5.00) | 0.50 (0.50-0.50) |",
        "| first evaluated model |  | 45.00 (45.00-45.00) |  |  |",
    ]


def test_swapped_labels_are_counted_in_all_and_in_thinned_photos() -> None:
    photos = arrays.dataset(np.repeat([0, 1, 2], 100))
    features = arrays.separable(photos, 9, 0)
    rows = [label_issues.measure(features, thinned, seed=0) for thinned in (False, True)]
    assert [row["checked_labels"] for row in rows] == [300, 120]
    assert rows[0]["smallset_found"] == rows[0]["swapped"] > 0
    report = label_issues.report(pd.DataFrame(rows).assign(set="gaussian", photos=["all", "10:1"])).splitlines()
    assert report[-2].startswith(f"| gaussian | all | 300 | {rows[0]['swapped']} | ")
    labels = np.array([0, 0, 1, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.7, 0.3]])
    assert label_issues.confident_learning(probabilities, labels).tolist() == [False, True, False, False, True]
