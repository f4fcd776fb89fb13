"""The command line: what it prints where, its exit codes, and its errors."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from networks import convnet, limited
from typer.testing import CliRunner, Result

from smallset import tools
from smallset.cli import app
from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.images import decoding
from smallset.models import model_file

COMMANDS = ("predict", "sort", "suggest", "explain", "evaluate", "since", "init", "update", "check", "export")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    model_file.save(convnet(78, 2), path, ("cat", "dog"))
    return path


def run(*arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app.app, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_its_exit_codes(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    meant = (
        "0 all is as it should be, 1 something" if command == "check" else "0 all went well, 1 done but for files that"
    )
    assert f"Exit code: {meant}" in done.stdout
    assert command in run("--help").stdout


def test_help_comes_without_tensorflow() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from smallset.tools import cli;"
        "assert CliRunner().invoke(app.app, ['predict', '--help']).exit_code == 0;"
        "assert not {'tensorflow', 'keras', 'pandas', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_predict_prints_results_alone_on_stdout_in_a_process_of_its_own(model: Path, drawn: lists.Photos) -> None:
    script = "from smallset.cli.app import app; app()"
    command = [sys.executable, "-c", script, "predict", str(model), drawn.paths()[0], "--top", "9"]
    done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert list(row) == ["file", "label", "probability", "label_2", "probability_2", "error"]
    assert float(row["probability"]) + float(row["probability_2"]) == pytest.approx(1, abs=1e-5)


def test_predict_names_what_does_not_decode_and_goes_on(model: Path, drawn: lists.Photos) -> None:
    (drawn.folder / "cat/고양이 7.jpg").write_text("no photo")
    (drawn.folder / "cat/1.jpg.xmp").write_text("a note")
    done = run("predict", model, drawn.folder, "--batch", 4)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert done.exit_code == 1
    assert [row["file"] for row in rows if not row["error"]] == drawn.paths()
    assert [Path(row["file"]).name for row in rows if row["error"]] == ["고양이 7.jpg"]
    assert "고양이 7.jpg: does not decode as a photo: it begins with b'no photo', as no format" in done.stderr
    assert "Not counted: 1 of type .xmp (cat/1.jpg.xmp)." in done.stderr
    found = {row["file"]: float(row["probability"]) for row in rows if not row["error"]}
    expected = metrics.predictor(model_file.load(model))(drawn).probability.max(1)
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_model_that_knows_its_limits_tells_them_and_sorts_and_suggests(tmp_path: Path, drawn: lists.Photos) -> None:
    known, target = limited(tmp_path / "known.keras", drawn), tmp_path / "sorted"
    (drawn.folder / "cat/x.jpg").write_text("no photo")
    done = run("predict", known, drawn.folder, "--coverage", 0.95, "--unlike-rate", 0.5)
    rows = [row for row in csv.DictReader(done.stdout.splitlines()) if not row["error"]]
    # Above the fifth of ten validation photos, which are these; of so few, 0.95 can leave out no label.
    assert sum(row["unlike"] == "true" for row in rows) in (4, 5)  # the fifth itself, by rounding
    assert {frozenset(row["possible"].split("/")) for row in rows} == {frozenset(("cat", "dog"))}
    assert json.loads(run("evaluate", known, drawn.folder).stdout)["unlike"] in (0, 0.1)
    done = run("sort", known, drawn.folder, "--to", target, "--coverage", 0.5)
    assert (done.exit_code, "x.jpg: does not decode" in done.stderr) == (1, True)
    copies = [path.read_bytes() for path in target.rglob("*.jpg")]
    assert sorted(copies) == sorted(Path(path).read_bytes() for path in drawn.paths())
    assert sum(int(line.split(": ")[1].split()[0]) for line in done.stdout.splitlines()) == 10
    done = run("suggest", known, drawn.folder, "--top", 3)
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 3


def test_a_model_that_does_not_know_its_limits_says_so_when_it_is_asked(model: Path, drawn: lists.Photos) -> None:
    for asked in (("suggest",), ("sort", "--to", "x"), ("predict", "--coverage", 0.9)):
        done = run(asked[0], model, drawn.folder, *asked[1:])
        assert (done.exit_code, done.stdout) == (2, "")
        assert "does not know what its photos have in common" in done.stderr


def test_predict_reads_paths_from_stdin(model: Path, drawn: lists.Photos) -> None:
    paths = drawn.paths()[:3]
    # With the mark by which Windows begins a text, and an empty line at the end.
    done = run("predict", model, "-", "--format", "jsonl", stdin=b"\xef\xbb\xbf" + "\r\n".join([*paths, ""]).encode())
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [row["file"] for row in rows] == paths
    assert {row["label"] for row in rows} <= {"cat", "dog"}


def test_an_error_is_one_line_on_stderr_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "x.keras").write_text("no model")
    done = run("predict", tmp_path / "x.keras", "a.jpg")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"smallset: {tmp_path}/x.keras: not a whole model file")
    assert run("predict", tmp_path / "none.keras", "a.jpg").exit_code == 2
    assert run("predict").exit_code == 2


def test_evaluate_prints_what_the_stage_writes(model: Path, drawn: lists.Photos, tmp_path: Path) -> None:
    done = run("evaluate", model, drawn.folder, "--output", tmp_path / "out")
    assert done.exit_code == 0
    probability = metrics.predictor(model_file.load(model))(drawn).probability
    assert json.loads(done.stdout) == pytest.approx(metrics.measures(drawn.labels, probability), abs=2e-6)
    assert done.stdout.startswith('{\n  "accuracy": ')
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["classes.csv", "predictions.csv"]


def test_evaluate_leaves_out_what_does_not_decode(model: Path, drawn: lists.Photos) -> None:
    Path(drawn.paths()[0]).write_bytes(b"")
    done = run("evaluate", model, drawn.folder)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["n"] == 9
    assert "cat.0.jpg: does not decode" in done.stderr


def test_evaluate_wants_the_classes_of_the_model(model: Path, drawn: lists.Photos) -> None:
    (drawn.folder / "dog").rename(drawn.folder / "fox")
    done = run("evaluate", model, drawn.folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected class folders that the model knows, of cat, dog; found cat, fox." in done.stderr


def test_evaluate_says_how_many_photos_the_model_has_seen(model: Path, drawn: lists.Photos) -> None:
    assert "Warning" not in run("evaluate", model, drawn.folder).stderr
    model_file.save(convnet(78, 2), model, ("cat", "dog"), digests=drawn.digests[:3])  # as of another seed's split
    (drawn.folder / "cat/cat.0.jpg").rename(drawn.folder / "cat/renamed.jpg")
    (drawn.folder / "cat/cat.1.jpg").rename(drawn.folder / "dog/cat.1.jpg")
    done = run("evaluate", model, drawn.folder)
    assert done.exit_code == 0
    assert "Warning: 3 of these 10 photos are training or validation photos of this model" in done.stderr
    assert json.loads(done.stdout)["n"] == 10


def test_explain_writes_a_picture_once(
    model: Path, drawn: lists.Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("explain", model, drawn.paths()[0], "--label", "dog")
    assert done.exit_code == 0
    assert done.stdout.startswith("cat.0.gradcam.png: dog 0.")
    assert decoding.decode("cat.0.gradcam.png").shape[2] == 3
    (drawn.folder / "dog/dog.0.jpg").rename(drawn.folder / "dog/cat.0.jpg")
    assert run("explain", model, drawn.folder / "dog/cat.0.jpg").stdout.startswith("cat.0.gradcam-2.png: ")
    again = run("explain", model, drawn.paths()[0], "--output", "cat.0.gradcam.png")
    assert again.exit_code == 2
    assert "cat.0.gradcam.png: expected a new file that ends in .png. Name another one" in again.stderr


def test_init_update_and_export_pass_on_what_they_are_given(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "initialising", SimpleNamespace(create=lambda *a: f"made {a[:4]}\n"), raising=False)
    monkeypatch.setattr(tools, "updating", SimpleNamespace(update=lambda *a: f"brought {a}"), raising=False)
    monkeypatch.setattr(tools, "exporting", SimpleNamespace(export=lambda *a: f"wrote {a}"), raising=False)
    assert run("init", "mine", "--photos", tmp_path).stdout == f"made {(Path('mine'), tmp_path, None, False)}\n"
    done = run("init", "mine", "--photos", tmp_path, "--table", "x.csv", "--chapter")
    assert done.stdout == f"made {(Path('mine'), tmp_path, Path('x.csv'), True)}\n"
    assert run("update", tmp_path).stdout == f"brought {(tmp_path,)}\n"
    done = run("export", model, "--to", "litert", "--photos", tmp_path, "--int8")
    assert done.stdout == f"wrote {(model, 'litert', None, tmp_path, True)}\n"
    assert run("export", model, "--to", "coreml").exit_code == 2
