"""`smallset diff` and the report's comparison with the committed run: on the test photos of both runs."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import projects
import pytest
from typer.testing import CliRunner

from smallset.cli import main
from smallset.datasets import changes
from smallset.datasets.dataset import SPLITS
from smallset.evaluation import diff
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

METRICS = Path("metrics")
FIRST = {f"photos/{label}/{number}.jpg": label for label in ("cat", "dog") for number in range(10)}
NOTHING = "There is no earlier run to compare with."

Write = Callable[..., None]
git = partial(projects.run, Path(), "git")


def commit() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "a run")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the results of a run: its test photos with their labels, and the files that each model gets wrong.

    The name of a photo stands for its bytes; a kitten is a cat.
    """
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    git("init", "--quiet", "..")

    def results(photos: dict[str, str], **wrong: set[str]) -> None:
        test = pd.DataFrame({"file": [*photos], "label": [*photos.values()], "split": "test", "group": ""})
        test["sha256"] = test["file"].str.replace("kitten", "cat")
        others = [test.head(2).assign(split=split, sha256=[f"{split} {n}" for n in range(2)]) for split in SPLITS[:2]]
        files.write_csv(
            METRICS / "photos.csv", pd.concat([*(rows.assign(file=rows["sha256"]) for rows in others), test])
        )
        scores = [(model, len(misses)) for model, misses in wrong.items()]
        files.write_csv(METRICS / "compare.csv", pd.DataFrame(scores, columns=["model", "val_loss"]))
        for model, misses in wrong.items():
            predicted = ["another" if file in misses else label for file, label in photos.items()]
            rows = pd.DataFrame({"file": [*photos], "actual": [*photos.values()], "predicted": predicted})
            rows["probability"] = 0.9
            files.write_csv(METRICS / model / "predictions.csv", rows)

    return results


def recorded() -> dict[str, Any]:
    return json.loads((METRICS / diff.FILE).read_text())


def test_models_are_compared_on_the_photos_of_both_runs(write: Write) -> None:
    write(FIRST, probe={"photos/cat/0.jpg", "photos/dog/0.jpg"}, tuned={"photos/cat/1.jpg"})
    assert diff.record(METRICS) == NOTHING
    assert recorded() == diff.EMPTY
    commit()
    added = {f"photos/dog/new {number}.jpg": "dog" for number in range(5)}
    now = {file: label for file, label in FIRST.items() if not file.endswith("/9.jpg")} | added
    now["photos/cat/8.jpg"] = "dog"  # with another label it is another question
    misses = {"photos/dog/0.jpg", "photos/dog/new 1.jpg", "photos/cat/8.jpg"}
    write(now, probe=misses, tuned={f"photos/cat/{number}.jpg" for number in (1, 2, 3, 4)})
    words = diff.record(METRICS)
    probe, tuned, best = recorded()["models"]
    assert recorded()["test_photos"] == {"before": 20, "now": 23, "both": 17}
    assert (probe["before"], probe["now"]) == (pytest.approx(15 / 17, abs=1e-6), pytest.approx(16 / 17, abs=1e-6))
    assert (probe["now_only"], probe["before_only"], probe["p"]) == (1, 0, 1)
    assert (tuned["now_only"], tuned["before_only"], tuned["p"]) == (0, 3, 0.25)
    assert best["model"] == "the best model (tuned before, probe now)"
    for line in (
        "- 5 photos added to dog (0 train, 0 validation, 5 test).",
        "- 1 photo removed from cat (0 train, 0 validation, 1 test).",
        "- 1 photo moved from cat to dog.",
        "- 1 of 18 test photos of both runs have another label; models are not compared on these.",
        "Models on the 17 test photos of both runs (20 before, 23 now; McNemar's exact test):",
        "- probe: accuracy 0.8824 before, 0.9412 now; no more than chance (1 photos right that were wrong, "
        "0 wrong that were right, p = 1).",
    ):
        assert line in words.splitlines()


def test_label_issues_are_counted_and_a_difference_that_is_more_than_chance_is_named(write: Write) -> None:
    def write_issues(*predicted: str) -> None:
        rows = pd.DataFrame({"file": "1.jpg", "given_label": "cat", "predicted_label": predicted, "label_quality": 0.2})
        files.write_csv(METRICS / "label_issues.csv", rows)

    write(FIRST, probe={f"photos/cat/{number}.jpg" for number in range(8)})
    write_issues("dog", "dog", "dog")
    commit()
    write_issues("dog")
    for misses, p, verdict in ((set(), 2 / 2**8, "better"), (set(FIRST), 2 / 2**12, "worse")):
        write(FIRST, probe=misses)
        diff.record(METRICS)
        [row] = recorded()["models"]
        assert (row["p"], row["verdict"]) == (pytest.approx(p, rel=1e-5), verdict)
    assert recorded()["labels"] == ["Label issues: 3 before, 1 now."]


def test_a_repeated_run_leaves_git_clean(write: Write) -> None:
    write(FIRST, probe={"photos/cat/0.jpg"})
    diff.record(METRICS)
    commit()
    before = recorded()
    write(FIRST, probe=set())
    diff.record(METRICS)
    after = recorded()
    write(FIRST, probe={"photos/cat/0.jpg"})  # taken back
    diff.record(METRICS)
    assert recorded() == before != after
    write(FIRST, probe=set())
    diff.record(METRICS)
    commit()
    assert "probe: accuracy 0.9500 before, 1.0000 now" in diff.record(METRICS)
    git("diff", "--exit-code")


def test_photos_of_a_renamed_class_are_the_same_and_other_photos_are_not_compared(write: Write) -> None:
    write(FIRST, probe={"photos/cat/0.jpg"})
    commit()
    write({file.replace("cat", "kitten"): label.replace("cat", "kitten") for file, label in FIRST.items()}, probe=set())
    diff.record(METRICS)
    assert recorded()["test_photos"] == {"before": 20, "now": 20, "both": 20}
    assert recorded()["photos"] == ["The class cat is now called kitten."]
    write({file.replace("/", "/new "): label for file, label in FIRST.items()}, probe=set())
    assert "No test photo is in both runs, so the accuracies cannot be compared." in diff.record(METRICS)
    assert recorded()["models"] == []


def test_a_model_of_another_pipeline_is_not_compared(write: Write) -> None:
    write(FIRST, probe=set(), tuned=set())
    commit()
    rows = pd.DataFrame({"model": ["convnet", "probe"], "val_loss": [0.1, 0.2]})
    files.write_csv(METRICS / "compare.csv", rows)  # convnet has the lowest loss, and no predictions here
    [line] = diff.against(METRICS, "HEAD").splitlines()[3:]
    assert line.startswith("- probe: accuracy 1.0000 before, 1.0000 now; no more than chance (0 photos right")


def test_an_incomplete_run_and_a_folder_without_git_have_no_earlier_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FIRST, probe={"photos/cat/0.jpg"})
    git("add", "metrics/compare.csv", "metrics/probe")
    git("commit", "--quiet", "--message", "an old run without a table of photos")
    assert diff.record(METRICS) == NOTHING
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diff.record(METRICS) == NOTHING
    with pytest.raises(SmallsetError, match="git was not found"):
        diff.against(METRICS, "HEAD")


def test_the_command_compares_with_any_revision(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(FIRST, probe={"photos/cat/0.jpg"})
    commit()
    git("tag", "first")
    write(FIRST, probe=set())
    commit()
    invoke = partial(CliRunner().invoke, main.app)
    run = invoke(["diff", "first"])
    assert run.exit_code == 0
    assert "- The photos and their splits are the same.\nModels on the 20 test photos" in run.stdout
    assert "probe: accuracy 0.9500 before, 1.0000 now" in run.stdout
    assert invoke(["diff"]).stdout.startswith("metrics has the results of HEAD. To compare them with an earlier run, ")
    for odd in ("second", "--output=x", ""):
        run = invoke(["diff", "--", odd])
        assert run.exit_code == 2
        assert f"{odd}: expected a commit, a branch or a tag of the git repository" in run.stderr
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run = invoke(["diff", "first"])
    assert run.exit_code == 2
    assert "first: expected the results of a run, metrics/compare.csv and metrics/photos.csv; found none." in run.stderr


SEEN = " 1 of these are test photos now, which the earlier models have seen."
HERONS = {"heron/1.jpg": ("a", "train"), "heron/2.jpg": ("b", "test")}
ROBINS = {"robin/1.jpg": ("c", "train"), "robin/2.jpg": ("d", "test"), "robin/3.jpg": ("e", "validation")}
WRENS = {"wren/1.jpg": ("f", "train"), "wren/2.jpg": ("f", "train")}  # the same photo twice
BEFORE = HERONS | ROBINS | WRENS
Album = dict[str, tuple[str, str]]  # <class>/<name> -> sha256 and split


def table(album: Album) -> pd.DataFrame:
    rows = [(f"photos/{file}", file.partition("/")[0], split, digest) for file, (digest, split) in album.items()]
    return pd.DataFrame(rows, columns=["file", "label", "split", "sha256"])


def without(*names: str) -> Album:
    return {file: photo for file, photo in BEFORE.items() if file not in names}


NEW = {"heron/3.jpg": ("g", "test"), "heron/4.jpg": ("h", "train"), "heron/5.jpg": ("i", "train")}
SWAPPED = {"heron/1.jpg": ("a", "test"), "heron/2.jpg": ("b", "train")}


@pytest.mark.parametrize(
    ("album", "expected"),
    [
        (dict(reversed(BEFORE.items())), []),
        (BEFORE | NEW, ["3 photos added to heron (2 train, 0 validation, 1 test)."]),
        (BEFORE | {"owl/1.jpg": ("g", "test")}, ["1 photo added to owl, a new class (0 train, 0 validation, 1 test)."]),
        (without("robin/3.jpg"), ["1 photo removed from robin (0 train, 1 validation, 0 test)."]),
        (without("wren/2.jpg"), ["1 photo removed from wren (1 train, 0 validation, 0 test)."]),
        (ROBINS | WRENS, ["2 photos removed from heron, which is gone (1 train, 0 validation, 1 test)."]),
        (without("robin/1.jpg") | {"wren/9.jpg": ("c", "train")}, ["1 photo moved from robin to wren."]),
        (without("heron/2.jpg") | {"heron/two.jpg": ("b", "test")}, ["1 photo renamed."]),
        ({f.replace("heron", "crane"): photo for f, photo in BEFORE.items()}, ["The class heron is now called crane."]),
        (
            {f"bird/{file.replace('/', '')}": photo for file, photo in BEFORE.items()},
            [f"{n} photos moved from {label} to bird." for n, label in ((2, "heron"), (3, "robin"), (2, "wren"))],
        ),
        (BEFORE | SWAPPED, [f"2 of 7 photos moved to another split.{SEEN}"]),
        (BEFORE | {"heron/2.jpg": ("b", "train")}, ["1 of 7 photos moved to another split."]),
    ],
)
def test_changes_of_the_photos_are_described_class_by_class(album: Album, expected: list[str]) -> None:
    assert changes.describe_photos(table(BEFORE), table(album)) == expected


@pytest.mark.usefixtures("write")
def test_the_split_stage_describes_what_changed_since_the_committed_run() -> None:
    photos = table(BEFORE)
    assert changes.since_commit(photos).startswith("There is no committed run to compare")
    files.write_csv(METRICS / "photos.csv", photos)
    commit()
    assert changes.since_commit(photos) == "Photos since the committed run:\n  No change."
    assert "\n  1 photo removed from robin (" in changes.since_commit(table(without("robin/3.jpg")))
