"""`smallset predict`, sort and suggest: a row for every file, whatever it is called, and no file is replaced."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from networks import save_classifier
from typer.testing import CliRunner, Result

from smallset.cli import predict, sort, suggest
from smallset.cli.main import app
from smallset.cli.output import Formatter
from smallset.datasets.dataset import Dataset
from smallset.models.classifier import Prediction
from smallset.models.reference import Reference
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

JPEG = b"\xff\xd8\xff\xe0"
CLASSES = ("cat", "dog", "고양이")
EXTRAS = ["unknown", "ood_score", "prediction_set"]
GOOD = Prediction("dog", 0.75, np.array([0.25, 0.75]), ("dog", "cat"), 2.0, True, 'a "b", 고양이\n.jpg')
BROKEN = Prediction(file="b.txt", error="cannot be decoded, at all")


@pytest.fixture
def model(tmp_path: Path, drawn: Dataset) -> Path:
    return save_classifier(tmp_path / "known.keras", drawn)


def run(*arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def test_csv_and_json_lines_have_a_row_for_each_file_and_survive_its_name() -> None:
    formatter = Formatter("csv", CLASSES, 2, EXTRAS)
    text = formatter.header() + formatter.line(GOOD) + formatter.line(BROKEN)
    good, bad = csv.DictReader(io.StringIO(text, newline=""))
    labels = {"label": "dog", "probability": "0.75", "label_2": "cat", "probability_2": "0.25"}
    extras = {"unknown": "true", "ood_score": "2.0", "prediction_set": "dog/cat"}
    assert good == {"file": GOOD.file, **labels, **extras, "error": ""}
    assert bad == dict.fromkeys(good, "") | {"file": "b.txt", "error": BROKEN.error}
    formatter = Formatter("jsonl", CLASSES, 2, EXTRAS)
    known, unread = (json.loads(formatter.line(prediction)) for prediction in (GOOD, BROKEN))
    values = {"label": "dog", "probability": 0.75, "probabilities": {"dog": 0.75, "cat": 0.25}}
    values |= {"unknown": True, "ood_score": 2.0, "prediction_set": ["dog", "cat"]}
    assert known == {"file": GOOD.file, **values, "error": None}
    assert unread == dict.fromkeys(known) | {"file": "b.txt", "probabilities": {}, "error": BROKEN.error}


def test_a_table_is_aligned_and_leaves_out_files_that_cannot_be_read() -> None:
    formatter = Formatter("table", ("고양이", "dog"), 1, EXTRAS)
    unknown = Prediction("고양이", 1.0, np.array([1.0, 0.0]), ("고양이",), 2.0, True, "x.jpg")
    ordinary = Prediction("dog", 1.0, np.array([0.0, 1.0]), ("dog",), 0.5, False, "x.jpg")
    header, first, second = formatter.header(), formatter.line(unknown), formatter.line(ordinary)
    assert first.split() == ["고양이", "1.0000", "unknown", "2.0000", "고양이", "x.jpg"]
    assert second.split() == ["dog", "1.0000", "0.5000", "dog", "x.jpg"]
    assert second.index("x.jpg") == header.index("file") == first.index("x.jpg") + 3  # three wide characters
    assert formatter.line(BROKEN) == ""


@pytest.mark.parametrize("name", ["=1+1.jpg", "@a.jpg", "-a.jpg", "+a.jpg", "\ta.jpg", "\r=a.jpg", "a\r.jpg", "a\r\nb"])
def test_a_path_in_csv_is_the_same_path_and_not_a_formula(name: str) -> None:
    text = Formatter("csv", CLASSES, 1, []).line(Prediction("dog", 1.0, np.array([0.0, 1.0, 0.0]), file=name))
    ((file, label, _, error),) = csv.reader(io.StringIO(text, newline=""))
    assert os.path.normpath(file) == name
    assert file[0] not in "=@-+\t\r"
    assert (label, error) == ("dog", "")


def test_a_folder_is_searched_recursively_and_stdin_keeps_blanks_and_bytes(tmp_path: Path) -> None:
    for name in ("b/10.jpg", "b/9.jpg", "a.jpg", ".hidden/x.jpg", "b/Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "b/gone.jpg").symlink_to("nowhere")
    paths, errors, notes = predict.find_photos([str(tmp_path)], [])
    assert [Path(path).name for path in paths] == ["a.jpg", "9.jpg", "10.jpg", "gone.jpg"]
    assert list(errors) == [str(tmp_path / "b/gone.jpg")]
    assert "2 hidden" in notes[0]
    lines = [b"\xef\xbb\xbfa b.jpg \n", b"\n", "고양이.jpg\r\n".encode(), b"\xff.jpg"]
    assert list(predict.find_photos(["-"], lines)[0]) == ["a b.jpg ", "고양이.jpg", "\udcff.jpg"]


def test_predict_names_files_that_cannot_be_read_and_continues(model: Path, drawn: Dataset) -> None:
    (drawn.root / "cat/고양이 7.jpg").write_text("no photo")
    (drawn.root / "cat/1.jpg.xmp").write_text("a note")
    done = run("predict", model, drawn.root, "--batch-size", 4, "--coverage", 0.5)
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.exit_code == 1
    assert [Path(row["file"]) for row in table if not row["error"]] == drawn.paths
    assert "고양이 7.jpg: " in done.stderr
    assert "1.jpg.xmp" in done.stderr
    assert not [row for row in table if row["prediction_set"] and row["unknown"] == "true"]


def test_options_that_do_not_fit_are_one_line(tmp_path: Path, model: Path, drawn: Dataset) -> None:
    plain = save_classifier(tmp_path / "plain.keras", drawn, reference=False)
    (tmp_path / "x.keras").write_text("no model")
    for arguments, message in [
        (("predict", plain, drawn.root, "--coverage", 0.9), "does not recognize unknown photos"),
        (("suggest", plain, drawn.root), "does not recognize unknown photos"),
        (("predict", model, drawn.root, "--ray-address", "auto"), "Add --output."),
        (("predict", model, drawn.root, "--output", tmp_path / "out", "--top", 2), "Omit --format and --top."),
        (("predict", tmp_path / "x.keras", "a.jpg"), "x.keras"),
        (("sort", model, drawn.root, "--output", drawn.root / "sorted"), "copies would be sorted again"),
    ]:
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def predictions(tmp_path: Path) -> list[Prediction]:
    """Two photos with one name for cat, one unsure, one unknown, and one that cannot be read."""
    answers = []
    for name, labels in {"a/1.jpg": ("cat",), "b/1.jpg": ("cat",), "b/2.jpg": ("cat", "dog"), "b/3.jpg": ()}.items():
        files.write_text(tmp_path / "photos" / name, name)
        path = str(tmp_path / "photos" / name)
        answers.append(Prediction("cat", 0.9, np.array([0.9, 0.1]), labels, 0.5, not labels, path))
    return [*answers, Prediction(file="b/4.jpg", error="cannot be decoded")]


def test_sort_copies_by_label_and_a_second_run_changes_nothing(tmp_path: Path, predictions: list[Prediction]) -> None:
    before, output = contents(tmp_path / "photos"), tmp_path / "sorted"
    copies = {"cat/1.jpg": "a/1.jpg", "cat/1-2.jpg": "b/1.jpg", "unsure/2.jpg": "b/2.jpg", "unknown/3.jpg": "b/3.jpg"}
    for _ in range(2):
        folders = list(sort.copy_all(predictions, output, ("cat", "dog")))
        assert folders == ["cat", "cat", "unsure", "unknown", ""]
        table = (output / "sorted.csv").read_text()
        assert contents(output) == copies | {"sorted.csv": table}
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["copy"] for row in rows] == [*copies, ""]
    assert rows[4]["error"] == "cannot be decoded"
    assert contents(tmp_path / "photos") == before


def test_sort_replaces_no_file_and_leaves_no_part(
    tmp_path: Path, predictions: list[Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "sorted"
    mine = {"cat/1.jpg": "my own", "cat/1-2.jpg": "mine, too", "sorted.csv": "my table"}
    for name, text in mine.items():
        files.write_text(output / name, text)
    (output / "cat/1-3.jpg").symlink_to("nowhere")
    list(sort.copy_all(predictions[:1], output, ("cat", "dog")))
    after = contents(output)
    assert after["cat/1-4.jpg"] == "a/1.jpg"
    assert after.items() >= mine.items()
    assert "sorted-2.csv" in after

    def fail(source: Path, draft: Path) -> None:
        draft.write_text(source.read_text()[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "copy", fail)
    with pytest.raises(OSError, match="No space left"):
        list(sort.copy_all(predictions[1:2], output, ("cat", "dog")))
    assert contents(output) == after


def test_sort_numbers_the_copies_of_photos_with_names_of_255_bytes(tmp_path: Path) -> None:
    name = "x" * 251 + ".jpg"
    for number in range(3):
        files.write_text(tmp_path / f"{number}" / name, f"{number}")
        sort.place(tmp_path / f"{number}" / name, tmp_path / "sorted", name)
    shortened = {f"{'x' * 249}-{number + 1}.jpg": f"{number}" for number in (1, 2)}
    assert contents(tmp_path / "sorted") == {name: "0"} | shortened


def test_classes_may_have_the_names_of_the_special_folders_and_no_copy_is_outside(tmp_path: Path) -> None:
    assert [sort.free_name(name, ("Unsure", "_unsure")) for name in ("unsure", "unknown")] == ["__unsure", "unknown"]
    for classes in (("..", "cat"), ("a/b", "cat"), ("", "cat")):
        with pytest.raises(SmallsetError, match="labels that cannot be folder names"):
            sort.check_folders(tmp_path / "photos", tmp_path / "sorted", classes)


def test_sort_and_suggest_work_on_a_folder(tmp_path: Path, model: Path, drawn: Dataset) -> None:
    done = run("sort", model, drawn.root, "--output", tmp_path / "sorted", "--coverage", 0.5)
    assert done.exit_code == 0, done.output
    copies = [path.read_bytes() for path in (tmp_path / "sorted").rglob("*.jpg")]
    assert sorted(copies) == sorted(path.read_bytes() for path in drawn.paths)
    done = run("suggest", model, drawn.root, "--top", 3)
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 3


def suggestion(file: str, cat: float, ood_score: float, coordinates: np.ndarray) -> Prediction:
    probabilities = np.array([cat, 1 - cat])
    return Prediction("cat", cat, probabilities, (), ood_score, False, file, "", coordinates)


def test_near_duplicates_of_an_uncertain_photo_do_not_fill_the_suggestions() -> None:
    flat = np.zeros((1, 1), np.float32)
    reference = Reference(flat[0], flat[0], flat, np.linspace(0, 1, 9), np.zeros(9), np.zeros(9, int))
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(30, 30)))[0]
    burst = [suggestion(f"burst {n}", 0.5, 0.5, axes[0] + random.normal(0, 0.01, 30)) for n in range(20)]
    others = [suggestion(f"other {n}", 0.7, 0.5, axes[n + 1]) for n in range(5)]
    sure = [suggestion(f"sure {n}", 0.99, 0.1, axes[n + 10]) for n in range(5)]
    unknown = suggestion("unknown", 0.95, 9, axes[29])
    selected = [prediction.file for prediction in suggest.select([*sure, *burst, unknown, *others], reference, 9)]
    assert {selected[0].split()[0], selected[1]} == {"burst", "unknown"}
    assert sorted(selected[2:7]) == [f"other {n}" for n in range(5)]
    assert suggest.select([], reference, 5) == []
