"""This run beside the committed one: on the test photos that both have, noted so that a repetition leaves git clean."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pipelines import IDENTITY
from typer.testing import CliRunner

from smallset.cli import app
from smallset.evaluation import changes, diff
from smallset.pipeline import committed, files
from smallset.pipeline.errors import SmallsetError

METRICS = Path("metrics")
FIRST = {f"cat/{number}.jpg": "cat" for number in range(10)} | {f"dog/{number}.jpg": "dog" for number in range(10)}

Write = Callable[..., None]


def git(*command: str) -> None:
    subprocess.run(["git", *command], env=os.environ | IDENTITY, check=True, capture_output=True)


def commit() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "a run")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the results of a run, in a new git repository's folder: its test photos, and what each model gets wrong.

    A photo is itself by its name; its label is that of `photos`.
    """
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    git("init", "--quiet", "..")

    def results(photos: dict[str, str], **wrong: set[str]) -> None:
        digests = {file: file.replace("kitten", "cat") for file in photos}
        test = pd.DataFrame({"file": photos.keys(), "label": photos.values(), "digest": digests.values()})
        for split in changes.SPLITS:
            rows = test if split == "test" else test.head(2).assign(digest=f"{split} " + test["digest"])
            files.write_csv(METRICS / f"subset/{split}.csv", rows)
        scores = [(model, 1 - len(misses) / len(photos), len(misses)) for model, misses in wrong.items()]
        files.write_csv(METRICS / "compare.csv", pd.DataFrame(scores, columns=["model", "accuracy", "val_loss"]))
        for model, misses in wrong.items():
            predicted = ["another" if file in misses else label for file, label in photos.items()]
            table = test.assign(actual=test["label"], predicted=predicted, probability=0.9)
            table = table.drop(columns=["label", "digest"])
            files.write_csv(METRICS / model / "predictions.csv", table)

    return results


def noted() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((METRICS / diff.FILE).read_text())
    return content


def test_models_are_compared_on_the_photos_that_both_runs_have(write: Write) -> None:
    write(FIRST, linear={"cat/0.jpg", "dog/0.jpg"}, pooled={"cat/1.jpg"})
    assert diff.record(METRICS) == "No earlier run to compare the results with."
    assert noted() == diff.NOTHING
    commit()
    new = {f"dog/new {number}.jpg": "dog" for number in range(5)}
    gone = {"cat/9.jpg", "dog/9.jpg"}
    now = {file: label for file, label in FIRST.items() if file not in gone} | new
    now["cat/8.jpg"] = "dog"  # labelled anew: no longer the same question
    linear, pooled = {"dog/0.jpg", "dog/new 1.jpg", "cat/8.jpg"}, {f"cat/{number}.jpg" for number in (1, 2, 3, 4)}
    write(now, linear=linear, pooled=pooled)
    said = diff.record(METRICS)
    first, second, best = noted()["models"]
    assert noted()["test_photos"] == {"before": 20, "now": 23, "both": 17}
    assert (first["before"], first["now"]) == (pytest.approx(15 / 17, abs=1e-6), pytest.approx(16 / 17, abs=1e-6))
    assert (first["now_only"], first["before_only"], first["p"]) == (1, 0, 1)
    assert (second["now_only"], second["before_only"], second["p"]) == (0, 3, 0.25)
    assert best["model"] == "the best model (pooled before, linear now)"
    assert "+5 photos of dog: 0 train, 0 validation, 5 test" in said
    assert "1 photo moved from cat to dog" in said
    assert "On the 17 test photos that both runs have (of 20 before, 23 now" in said
    assert "linear: 0.8824 before, 0.9412 now; no more than chance (1 right that were wrong, 0" in said


def test_labels_that_were_put_right_are_counted_beside_the_doubts_that_are_left(write: Write) -> None:
    def doubt(*probabilities: float) -> None:
        files.write_csv(METRICS / "suspects.csv", pd.DataFrame({"file": "cat/0.jpg", "probability": probabilities}))

    write(FIRST, linear={"cat/0.jpg", "cat/1.jpg"})
    doubt(0.1, 0.2, 0.3, 0.7)
    commit()
    write(FIRST | {"cat/0.jpg": "dog", "cat/1.jpg": "dog"}, linear=set())
    doubt(0.4, 0.6)
    said = diff.record(METRICS)
    assert noted()["labels"] == [
        "3 labels in doubt before, 1 now",
        "2 of the 20 test photos that both runs have got another label: on these the models are not compared",
    ]
    assert f"- {noted()['labels'][1]}\nOn the 18 test photos that both runs have" in said
    commit()
    older = {key: value for key, value in noted().items() if key != "labels"}
    files.write_json(METRICS / diff.FILE, older)  # as an older smallset has noted it
    commit()
    assert "On the 18 test photos" in diff.record(METRICS)


def test_a_difference_beyond_chance_is_named(write: Write) -> None:
    write(FIRST, linear={f"cat/{number}.jpg" for number in range(8)})
    commit()
    write(FIRST, linear=set())
    diff.record(METRICS)
    [row] = noted()["models"]
    assert (row["p"], row["verdict"]) == (pytest.approx(2 / 2**8, rel=1e-5), "better")
    write(FIRST, linear=set(FIRST))
    diff.record(METRICS)
    [row] = noted()["models"]
    assert row["verdict"] == "worse"


def test_who_repeats_a_committed_run_finds_git_clean(write: Write) -> None:
    write(FIRST, linear={"cat/0.jpg"})
    diff.record(METRICS)
    commit()
    before = noted()
    write(FIRST, linear=set())
    diff.record(METRICS)
    after = noted()
    write(FIRST, linear={"cat/0.jpg"})  # taken back
    diff.record(METRICS)
    assert noted() == before != after
    write(FIRST, linear=set())
    diff.record(METRICS)
    commit()
    diff.record(METRICS)
    assert noted() == after
    assert committed.text(METRICS / diff.FILE) == (METRICS / diff.FILE).read_text()


def test_photos_of_a_renamed_class_are_the_same(write: Write) -> None:
    write(FIRST, linear={"cat/0.jpg"})
    commit()
    now = {file.replace("cat", "kitten"): label.replace("cat", "kitten") for file, label in FIRST.items()}
    write(now, linear=set())
    diff.record(METRICS)
    assert noted()["test_photos"] == {"before": 20, "now": 20, "both": 20}
    assert noted()["photos"] == ["class cat is called kitten now"]


def test_without_a_common_test_photo_nothing_compares(write: Write) -> None:
    write(FIRST, linear=set())
    commit()
    write({file.replace("/", "/new "): label for file, label in FIRST.items()}, linear=set())
    assert "No test photo is in both runs, so their accuracies do not compare." in diff.record(METRICS)
    assert noted()["models"] == []


def test_a_run_without_lists_or_git_is_no_earlier_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FIRST, linear={"cat/0.jpg"})
    git("add", "metrics/compare.csv", "metrics/linear")
    git("commit", "--quiet", "--message", "an old make")
    assert diff.record(METRICS) == "No earlier run to compare the results with."
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diff.record(METRICS) == "No earlier run to compare the results with."
    with pytest.raises(SmallsetError, match="HEAD: expected a commit, a branch or a tag"):
        diff.against(METRICS, "HEAD")


def test_the_command_compares_with_any_revision(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(FIRST, linear={"cat/0.jpg"})
    commit()
    git("tag", "first")
    write(FIRST, linear=set())
    commit()
    run = CliRunner().invoke(app.app, ["since", "first"])
    assert run.exit_code == 0
    assert "- the same, in the same splits\nOn the 20 test photos" in run.stdout
    assert "linear: 0.9500 before, 1.0000 now" in run.stdout
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run = CliRunner().invoke(app.app, ["since", "first"])
    assert run.exit_code == 2
    assert "smallset: first: expected the results of a pipeline's run, metrics/compare.csv and the lists" in run.stderr
    for odd in ("second", "--output=x", ""):
        run = CliRunner().invoke(app.app, ["since", "--", odd])
        assert run.exit_code == 2
        assert f"{odd}: expected a commit, a branch or a tag of the git repository" in run.stderr
