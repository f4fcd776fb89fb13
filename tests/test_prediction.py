"""Answers that are the evaluation's, one by one as they come, whatever the files are called."""

import csv
import io
import itertools
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from smallset.cli import prediction
from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.models import convnets
from smallset.models.limits import Limits
from smallset.pipeline.errors import SmallsetError

JPEG = b"\xff\xd8\xff\xe0"
CLASSES = ("cat", "dog", "고양이")
ANSWER = prediction.Answer('a "b", 고양이\n.jpg', np.array([0.25, 0.75]))
BROKEN = prediction.Answer("b.txt", np.array([0.5, 0.5]), "does not decode, at all")


def colour(classes: int) -> keras.Model:
    """A model of 64 px that looks at the mean colour alone."""
    pixels = keras.Input((64, 64, 3))
    mean = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(pixels))
    activation = "sigmoid" if classes == 1 else "softmax"
    return keras.Model(pixels, keras.layers.Dense(classes, activation=activation, kernel_initializer="normal")(mean))


@pytest.mark.parametrize("outputs", [1, 3])
def test_answers_are_the_probabilities_of_the_evaluation(drawn: lists.Photos, outputs: int) -> None:
    model = colour(outputs)
    answers = list(prediction.answers(model, drawn.paths(), batch=4))
    assert [answer.path for answer in answers] == drawn.paths()
    rows = np.stack([answer.probability for answer in answers])
    np.testing.assert_allclose(rows, metrics.predictor(model)(drawn).probability, rtol=0, atol=1e-6)


def test_a_file_that_does_not_decode_is_an_answer_and_the_others_stay(drawn: lists.Photos) -> None:
    model, paths = colour(1), drawn.paths()
    Path(paths[1]).write_bytes(b"no photo")
    first, broken, third = prediction.answers(model, paths[:3], 8)
    assert broken.path == paths[1]
    assert broken.error.startswith("does not decode as a photo: ")
    alone = [answer.probability for answer in prediction.answers(model, [paths[0], paths[2]], 8)]
    np.testing.assert_allclose([first.probability, third.probability], alone, atol=1e-6)


def test_paths_are_taken_as_answers_are_and_none_is_held(drawn: lists.Photos) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for path in itertools.cycle(drawn.paths()):
            taken += 1
            yield path

    answers = prediction.answers(colour(1), endless(), batch=4)
    assert len(list(itertools.islice(answers, 1000))) == 1000
    assert taken < 1500


def test_a_folder_is_searched_to_the_bottom_in_numeric_order(tmp_path: Path) -> None:
    for name in ("b/10.jpg", "b/9.jpg", "a.jpg", "b/c/고양이 1.jpg", ".hidden/x.jpg", "b/.DS_Store", "b/Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    names = [str(tmp_path / name) for name in ("a.jpg", "b/9.jpg", "b/10.jpg", "b/c/고양이 1.jpg")]
    paths, unread, said = prediction.find(str(tmp_path), [])
    assert (paths, unread) == (names, {})
    assert said == [
        f"{tmp_path}: Not counted: 3 hidden, or left by the system or a photo manager "
        "(.hidden, b/.DS_Store, b/Thumbs.db)."
    ]
    assert prediction.find(names[0], []) == ([names[0]], {}, [])


def test_what_is_not_to_be_read_is_an_answer_with_its_reason(drawn: lists.Photos) -> None:
    Path(drawn.folder / "cat/gone.jpg").symlink_to("nowhere.jpg")
    Path(drawn.folder / "dog/out.jpg").symlink_to(Path(__file__))
    os.mkfifo(drawn.folder / "dog/pipe.jpg")
    paths, reasons, _ = prediction.find(str(drawn.folder), [])
    answers = prediction.answers(colour(1), paths, 4, reasons)
    found = {Path(answer.path).name: answer.error for answer in answers if answer.error}
    assert found == {
        "gone.jpg": "a link to nothing",
        "out.jpg": "a link that leads out of the folder: put a copy in its place",
        "pipe.jpg": "cannot be read: a named pipe, which is never opened",
    }
    (answer,) = prediction.answers(colour(1), [str(drawn.folder / "dog/pipe.jpg")], 4)  # named itself
    assert answer.error == found["pipe.jpg"]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match="expected photos, found none. Name a folder"):
        prediction.find(str(tmp_path), [])


def test_paths_on_stdin_keep_blanks_and_bytes(drawn: lists.Photos) -> None:
    lines = [b"a b.jpg \n", b"\n", "고양이.jpg\r\n".encode(), b"\xff.jpg"]
    paths = list(prediction.find("-", lines)[0])
    assert paths == ["a b.jpg ", "고양이.jpg", "\udcff.jpg"]
    answers = prediction.answers(colour(1), [*paths, drawn.paths()[0]], 8)
    assert [(answer.path, bool(answer.error)) for answer in answers] == [(p, True) for p in paths] + [
        (drawn.paths()[0], False)
    ]


def test_csv_has_a_row_for_each_file_and_survives_its_name() -> None:
    text = [prediction.header("csv", CLASSES, 2), *(prediction.line("csv", a, CLASSES, 2) for a in (ANSWER, BROKEN))]
    good, bad = csv.DictReader("".join(text).splitlines(keepends=True))
    best = {"label": "dog", "probability": "0.75", "label_2": "cat", "probability_2": "0.25"}
    assert good == {"file": ANSWER[0], **best, "error": ""}
    assert bad == dict.fromkeys(good, "") | {"file": "b.txt", "error": BROKEN[2]}


def test_json_lines_are_one_a_file_with_the_same_keys() -> None:
    good, bad = (json.loads(prediction.line("jsonl", answer, CLASSES, 2)) for answer in (ANSWER, BROKEN))
    best = {"label": "dog", "probability": 0.75, "probabilities": {"dog": 0.75, "cat": 0.25}}
    assert good == {"file": ANSWER[0], **best, "error": None}
    assert bad == {"file": "b.txt", "label": None, "probability": None, "probabilities": {}, "error": BROKEN[2]}
    assert "\n" not in prediction.line("jsonl", ANSWER, CLASSES, 1)[:-1]


def test_a_table_is_aligned_and_leaves_out_what_does_not_decode() -> None:
    good = ANSWER._replace(path="x.jpg")
    table = [prediction.header("table", CLASSES, 1), prediction.line("table", good, CLASSES, 1)]
    assert table == ["label   probability  file\n", "dog          0.7500  x.jpg\n"]
    assert prediction.line("table", BROKEN, CLASSES, 1) == ""


def test_a_table_is_aligned_with_characters_of_two_columns() -> None:
    answers = [prediction.Answer("x.jpg", row) for row in np.eye(2)]
    lines = [prediction.line("table", answer, ("고양이", "dog"), 1) for answer in answers]
    assert lines == ["고양이       1.0000  x.jpg\n", "dog          1.0000  x.jpg\n"]


def test_labels_follow_the_order_of_the_model(drawn: lists.Photos) -> None:
    turned = prediction.labelled(drawn.folder, ("dog", "cat"))[0]
    assert turned.files == drawn.files
    assert turned.labels.tolist() == [1] * 5 + [0] * 5
    assert prediction.labelled(drawn.folder, ("cat", "dog"))[0].labels.tolist() == drawn.labels.tolist()


def test_a_class_may_be_missing_and_photos_may_lie_deeper(drawn: lists.Photos) -> None:
    (drawn.folder / "dog/more").mkdir()
    (drawn.folder / "dog/dog.4.jpg").rename(drawn.folder / "dog/more/4.jpg")
    (drawn.folder / "ant").mkdir()
    found, _, _ = prediction.labelled(drawn.folder, ("ant", "cat", "dog"))
    assert found.labels.tolist() == [1] * 5 + [2] * 5
    assert "dog/more/4.jpg" in found.files


def test_class_folders_are_known_in_either_spelling_and_what_is_beside_them_is_said(drawn: lists.Photos) -> None:
    name = unicodedata.normalize("NFD", "épagneul")
    (drawn.folder / "dog").rename(drawn.folder / name)
    (drawn.folder / "cat/cat.0.jpg").rename(drawn.folder / "loose.jpg")
    (drawn.folder / "notes").mkdir()
    (drawn.folder / "notes/gone.jpg").symlink_to("nowhere")
    found, _, said = prediction.labelled(drawn.folder, ("cat", unicodedata.normalize("NFC", name)))
    assert found.labels.tolist() == [0] * 4 + [1] * 5
    assert said == [
        "Not read: 1 a link to nothing (notes/gone.jpg).",
        "Not counted: 1 in no class folder (loose.jpg).",
    ]


def test_other_class_folders_are_an_error_that_names_both(drawn: lists.Photos) -> None:
    with pytest.raises(SmallsetError, match=r"drawn: expected class folders .*, of cat, fox; found cat, dog\. Rename"):
        prediction.labelled(drawn.folder, ("cat", "fox"))


def test_what_does_not_decode_is_not_measured(drawn: lists.Photos) -> None:
    rows = np.linspace(0, 1, 10)
    pairs = zip(drawn.files, rows, strict=True)
    given = [prediction.Answer(file, np.array([1 - p, p])) for file, p in pairs]
    given[0] = given[0]._replace(error="broken")
    kept, said = prediction.decoded(drawn, given)
    assert kept.files == drawn.files[1:]
    assert kept.labels.tolist() == drawn.labels[1:].tolist()
    np.testing.assert_array_equal(said.probability[:, 1], rows[1:])
    with pytest.raises(SmallsetError, match="drawn: expected photos, found none that decodes"):
        prediction.decoded(drawn, given[:1])


def test_what_is_unlike_and_which_labels_stay_are_told_in_every_form() -> None:
    flat = np.zeros((1, 1), np.float32)
    known = Limits(flat[0], flat[0], flat, np.linspace(0, 1, 9), np.linspace(0, 0.8, 9), np.zeros(3))
    asked, far = prediction.Asked(known, coverage=0.9), ANSWER._replace(unlikeness=2.0)
    text = [prediction.header("csv", CLASSES, 1, asked)]
    text += [prediction.line("csv", answer, CLASSES, 1, asked) for answer in (far, BROKEN)]
    good, bad = csv.DictReader("".join(text).splitlines(keepends=True))
    assert good == {
        "file": ANSWER.path,
        "label": "dog",
        "probability": "0.75",
        "unlike": "true",
        "unlikeness": "2.0",
        "possible": "dog/cat",
        "error": "",
    }
    assert bad == dict.fromkeys(good, "") | {"file": "b.txt", "error": BROKEN.error}
    lines = [json.loads(prediction.line("jsonl", answer, CLASSES, 1, asked)) for answer in (far, BROKEN)]
    assert (lines[0]["unlike"], lines[0]["possible"], lines[1]["unlike"]) == (True, ["dog", "cat"], None)
    table = [prediction.line("table", far._replace(path="x.jpg", unlikeness=at), CLASSES, 1, asked) for at in (2, 0.5)]
    assert [line.split() for line in table] == [
        ["dog", "0.7500", "unlike", "2.0000", "dog/cat", "x.jpg"],
        ["dog", "0.7500", "0.5000", "dog/cat", "x.jpg"],
    ]
    header = prediction.header("table", CLASSES, 1, asked)
    assert table[0].index("x.jpg") == table[1].index("x.jpg") == header.index("file")


@pytest.mark.parametrize("name", ["=1+1.jpg", "@a.jpg", "-a.jpg", "+a.jpg", "\ta.jpg", "\r=a.jpg", "a\r.jpg", "a\r\nb"])
def test_a_path_in_csv_is_the_same_path_and_no_formula(name: str) -> None:
    text = prediction.line("csv", ANSWER._replace(path=name), CLASSES, 1)
    ((file, label, _, error),) = csv.reader(io.StringIO(text, newline=""))
    assert os.path.normpath(file) == name
    assert file[0] not in "=@-+\t\r"
    assert (label, error) == ("dog", "")


def test_values_that_are_no_probabilities_are_one_error() -> None:
    for values in ([[288.0]], [[np.nan]], [[0.2, 0.3]], [[-0.5, 1.5]]):
        with pytest.raises(SmallsetError, match="The model gives no probabilities: expected values in 0..1"):
            convnets.per_class(np.array(values))
