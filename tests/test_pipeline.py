"""The pipeline under DVC, on drawn pictures: what runs after a change, what two branches show, what repeats to the bit.

One run of all stages serves every test: those that only look take it as it is, the others start from its commit again.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from pipelines import MODELS, ROOT, SEEDS, Pipeline

pytestmark = pytest.mark.slow

# Whatever trains or caches, once each; the others of a kind run the same code.
BYTES = ["download", "subset", "convnet", "convnet_augmented", "base", "activations", "features", "classifier"]
BYTES += ["augmented", "fine_tune", "side", "larger", "linear", "pooled", "classifier_seeds"]
BYTES += ["evaluate@pooled", "compare", "report"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.repro()
    pipeline.commit("results")
    return pipeline


@pytest.fixture
def pipeline(finished: Pipeline) -> Iterator[Pipeline]:
    """The finished pipeline; what a test changes is taken back."""
    yield finished
    finished.run("git", "checkout", "--quiet", "--force", "main")
    finished.run("git", "clean", "--quiet", "--force", "-d")
    finished.run("dvc", "checkout", "--quiet", "--force")


def test_every_stage_leaves_its_results(finished: Pipeline) -> None:
    for model in MODELS:
        measures = json.loads((finished.folder / f"metrics/{model}.json").read_text())
        assert set(measures) >= {"accuracy", "loss", "auc", "n"}
        assert measures["n"] == 12
        for name, columns in {
            "history": "epoch,accuracy,loss,val_accuracy,val_loss",
            "predictions": "file,actual,predicted,probability",
        }.items():
            assert (finished.folder / f"metrics/{model}/{name}.csv").read_text().startswith(f"{columns}\n")
        assert (finished.folder / f"plots/mistakes/{model}.png").is_file()
    subset = json.loads((finished.folder / "metrics/subset.json").read_text())
    assert subset["photos"]["train"] == {"cat": 8, "dog": 8}
    assert len((finished.folder / "metrics/compare.csv").read_text().splitlines()) == 1 + len(MODELS)


def test_the_first_of_the_seeds_is_the_saved_model_s(finished: Pipeline) -> None:
    several = pd.read_csv(finished.folder / "metrics/runs.csv")
    for model, count in SEEDS.items():
        runs = several[several.model == model].reset_index()
        assert runs.seed.tolist() == list(range(1337, 1337 + count))
        measures = json.loads((finished.folder / f"metrics/{model}.json").read_text())
        assert runs.loss[0] == pytest.approx(measures["loss"], rel=1e-5)
        assert not runs.loss.duplicated().any()


def test_photos_and_pictures_of_photos_stay_out_of_git(finished: Pipeline) -> None:
    tracked = finished.run("git", "ls-files").splitlines()
    assert "metrics/curves.png" in tracked
    assert not [name for name in tracked if name.startswith(("data/", "models/", "plots/"))]


def test_a_run_ends_with_its_result_and_not_with_what_to_type(pipeline: Pipeline) -> None:
    lines = pipeline.run("dvc", "repro", "--force", "--single-item", "report").splitlines()
    [page] = [at for at, line in enumerate(lines) if line.startswith("All of it: ")]
    assert lines[page] == f"All of it: {pipeline.folder / 'plots/report.html'}"
    assert [line for line in lines[:page] if line.startswith(f"{pipeline.folder.name}: Take ")]
    # what DVC says after it; without core.autostage also what to type to add dvc.lock to git
    after = [line for line in lines[page + 2 :] if line and not line.startswith("Updating lock file")]
    assert after == ["Use `dvc push` to send your updates to remote storage."]


def test_a_second_run_runs_nothing(finished: Pipeline) -> None:
    assert finished.repro() == set()


@pytest.mark.parametrize("setting", ["core.symlinks=false", "core.autocrlf=true"])  # as on Windows
def test_a_clone_without_the_cache_has_nothing_to_run(finished: Pipeline, tmp_path: Path, setting: str) -> None:
    finished.run("git", "clone", "--quiet", "--config", setting, ".", str(tmp_path / "clone"))
    answer = finished.run("dvc", "--cd", str(tmp_path / "clone"), "repro", "--dry", "--allow-missing")
    assert "Running stage" not in answer
    assert finished.run("git", "-C", str(tmp_path / "clone"), "status", "--porcelain") == ""


def test_the_rate_of_fine_tuning_reruns_fine_tuning_alone_and_branches_show_it(pipeline: Pipeline) -> None:
    pipeline.run("git", "checkout", "--quiet", "-b", "faster")
    pipeline.set("fine_tune", "learning_rate", 1e-3)
    assert pipeline.repro() == {"fine_tune", "evaluate@fine_tune", "fine_tune_seeds", "compare", "report"}
    pipeline.commit("faster")
    metrics = json.loads(pipeline.run("dvc", "metrics", "diff", "main", "faster", "--json"))
    assert set(metrics) == {"metrics/fine_tune.json"}
    assert metrics["metrics/fine_tune.json"]["loss"]["diff"] != 0
    params = json.loads(pipeline.run("dvc", "params", "diff", "main", "faster", "--json"))
    rate = params["params.yaml"]["fine_tune.learning_rate"]
    assert (rate["old"], rate["new"]) == (1e-5, 1e-3)
    plots = json.loads(pipeline.run("dvc", "plots", "diff", "main", "faster", "--json"))["data"]
    [history] = [plot for name, plot in plots.items() if name.endswith("metrics/fine_tune/history.csv")]
    assert {revision for plot in history for revision in plot["revisions"]} == {"main", "faster"}
    pipeline.run("git", "checkout", "--quiet", "main")
    assert pipeline.repro() == set()  # from DVC's cache


def test_wrong_labels_of_test_photos_change_no_model_and_no_choice(pipeline: Pipeline) -> None:
    raw, found = pipeline.folder / "data/raw", pipeline.folder / "metrics/linear.json"
    before = json.loads(found.read_text())
    for number in range(12, 18):
        cat, dog = raw / f"cat/cat.{number}.jpg", raw / f"dog/dog.{number}.jpg"
        cat.rename(raw / "other.jpg")
        dog.rename(cat)
        (raw / "other.jpg").rename(dog)
    pipeline.run("dvc", "commit", "--force", "download")
    assert pipeline.repro(*MODELS, "evaluate@linear") == {"subset", "audit", "evaluate@linear"}
    after = json.loads(found.read_text())
    assert after["accuracy"] == pytest.approx(1 - before["accuracy"])
    assert [after[name] for name in ("val_loss", "val_accuracy")] == [before["val_loss"], before["val_accuracy"]]


def test_an_edit_in_a_room_that_learns_nothing_retrains_nothing(pipeline: Pipeline) -> None:
    for module in ("sources/archives", "measures/significance", "showing/plots", "tools/cli", "pipeline/params"):
        with (pipeline.folder / f"src/smallset/{module}.py").open("a") as file:
            file.write("\n# edited\n")
    evaluated = {f"evaluate@{model}" for model in MODELS}
    looked_at = {"audit", "augmentation", "suspects", "learning_curve", "cross_validation"}
    looked_at |= {*evaluated, "compare", "report"}
    assert pipeline.repro("--dry") == {"download", "subset", *looked_at}


def test_a_stage_runs_its_own_smallset_where_another_clone_s_is_installed(pipeline: Pipeline) -> None:
    module = pipeline.folder / "src/smallset/sources/splits.py"
    text = module.read_text()
    module.write_text(f"{text}\nprint(__file__)\n")
    answer = pipeline.run("dvc", "repro", "--force", "subset", PYTHONPATH=str(ROOT / "src"))
    module.write_text(text)
    assert str(module) in answer
    pipeline.repro("subset")


def test_a_stage_s_log_has_no_start_lines_of_tensorflow(pipeline: Pipeline) -> None:
    answer = pipeline.run("python", "stages/base.py", DVC_STAGE="base")
    assert answer.splitlines()[-1].startswith("base: ")
    assert not [word for word in ("oneDNN", "absl", "cuda", "cpu_feature_guard", "I0000") if word in answer]


def test_one_seed_gives_the_same_bytes(pipeline: Pipeline) -> None:
    before = pipeline.md5s()
    assert pipeline.repro("--force", "--no-run-cache", "--single-item", *BYTES) == set(BYTES)
    assert pipeline.md5s() == before
    assert pipeline.run("git", "status", "--porcelain") == ""
    runs = [json.loads(line) for line in (pipeline.folder / "data/runs.jsonl").read_text().splitlines()]
    assert {run["stage"] for run in runs} >= set(BYTES)


def test_plots_show_opens_with_every_picture(finished: Pipeline, tmp_path: Path) -> None:
    finished.run("dvc", "plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for model in MODELS:
        assert all(f"metrics_{model}_{name}_csv" in page for name in ("history", "predictions", "reliability", "roc"))
    assert "metrics_compare_csv" in page
    assert "metrics_curves_csv" in page
    pictures = {path.name for path in (tmp_path / "static").iterdir()}
    pictures_of_each = ["confusion", "mistakes"]
    assert len(pictures) == len(["audit", "augmented", "curves", "suspects"]) + len(pictures_of_each) * len(MODELS)


@pytest.mark.parametrize(
    ("key", "name", "value", "message"),
    [
        ("image", "side", 20, "params.yaml: image: side: expected 78 or more for convnet, found 20"),
        ("convnet", "epoch", 3, "params.yaml: convnet: unknown key 'epoch'"),
        ("subset", "train", 99, "data/raw/cat: expected 109 photos that decode"),
    ],
)
def test_a_wrong_param_stops_the_first_stage_with_one_message(
    pipeline: Pipeline, key: str, name: str, value: object, message: str
) -> None:
    pipeline.set(key, name, value)
    pipeline.set("subset", "validation", 4)
    answer = pipeline.run("dvc", "repro", "--force", "subset", code=255)
    assert message in answer
    assert "Traceback" not in answer


def test_without_network_and_archive_download_says_what_was_tried_and_the_ways_on(pipeline: Pipeline) -> None:
    pipeline.set("download", "source", "dogs-vs-cats")
    pipeline.set("download", "mirrors", [{"url": "http://127.0.0.1:9/a.zip", "sha256": None}])
    answer = pipeline.run("dvc", "repro", code=255, SMALLSET_ARCHIVE="")
    for text in ("Tried:\n- http://127.0.0.1:9/a.zip", "Three ways on", "SMALLSET_ARCHIVE=", "source: sample"):
        assert text in answer
    assert "Traceback" not in answer
    assert "Running stage 'subset'" not in answer


@pytest.fixture
def small_disk(pipeline: Pipeline) -> Iterator[Callable[[str, str], None]]:
    """Lay a disk of 32 KiB, or one that takes no writing, over a folder."""
    mounted: list[Path] = []

    def mount(folder: str, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(pipeline.folder / folder)]
        if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
            pytest.skip("only root may mount a small disk, and not in every container")
        mounted.append(pipeline.folder / folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("stage", "folder"),
    [
        ("download", "data"),
        ("activations", "data/activations"),
        ("fine_tune", "models"),
    ],
)
def test_a_full_disk_is_named_and_leaves_nothing(
    pipeline: Pipeline, small_disk: Callable[[str, str], None], stage: str, folder: str
) -> None:
    hidden = pipeline.folder / "inputs"  # what the stage reads where the small disk lies
    if stage == "fine_tune":
        shutil.copytree(pipeline.folder / folder, hidden)
    small_disk(folder, "size=32k")
    if hidden.exists():
        (pipeline.folder / "models/augmented.keras").symlink_to(hidden / "augmented.keras")
    before = {path.name for path in (pipeline.folder / folder).iterdir()}
    answer = pipeline.run("python", f"stages/{stage}.py", code=1, DVC_STAGE=stage)
    assert "The disk is full: make room, then dvc repro" in answer
    assert "Traceback" not in answer
    left = {path.name for path in (pipeline.folder / folder).iterdir()} - before
    assert not [path for path in left if not path.startswith(".part.")]
    shutil.rmtree(hidden, ignore_errors=True)


def test_a_folder_that_takes_no_writing_is_named(pipeline: Pipeline, small_disk: Callable[[str, str], None]) -> None:
    small_disk("data", "ro")
    answer = pipeline.run("python", "stages/download.py", code=1, DVC_STAGE="download")
    assert "download: [Errno 30] Read-only file system: " in answer
    assert "Traceback" not in answer


def test_a_stage_run_by_hand_names_the_command(finished: Pipeline) -> None:
    assert "A stage is run by DVC, which knows its params: dvc repro" in finished.run(
        "python", "stages/subset.py", code=1
    )


def test_the_first_edition_runs_the_shared_stages_beside_the_reference(pipeline: Pipeline) -> None:
    pipeline.add(
        "first-edition",
        image={"side": 78},
        subset={"train": 8, "validation": 4, "test": 3},
        convnet={"epochs": 2, "batch": 4, "steps": 3},
        convnet_augmented={"epochs": 2, "batch": 4, "steps": 5},
    )
    reference = pipeline.md5s()
    models = ["convnet", "convnet_augmented"]
    evaluated = {f"evaluate@{model}" for model in models}
    ran = pipeline.repro(folder="first-edition")
    assert ran == {"subset", "augmentation", *models, *evaluated, "compare", "report"}
    assert pipeline.repro(folder="first-edition") == set()
    for model in models:
        results = pipeline.folder / "first-edition/metrics"
        assert json.loads((results / f"{model}.json").read_text())["n"] == 6
        assert len(pd.read_csv(results / f"{model}/history.csv")) == 2
    assert (pipeline.folder / "first-edition/plots/augmented.png").is_file()
    assert "first-edition/metrics/convnet.json" in pipeline.run("dvc", "metrics", "show", "--json")

    pipeline.set("convnet_augmented", "dropout", 0.2, "first-edition")
    assert pipeline.repro("--dry") == set()
    changed = {"convnet_augmented", "report"}  # by their own params: a dry run does not know what follows
    assert pipeline.repro("--dry", folder="first-edition") == changed
    pipeline.set("convnet_augmented", "dropout", 0.5, "first-edition")
    pipeline.commit("The first edition")

    pipeline.set("subset", "test", 4, "first-edition")
    ran = pipeline.repro(folder="first-edition")
    assert ran == {"subset", *evaluated, "compare", "report"}  # no model is trained again
    since = json.loads((results / "since.json").read_text())
    assert since["photos"] == [f"+1 photo of {name}: 0 train, 0 validation, 1 test" for name in ("cat", "dog")]
    assert since["test_photos"] == {"before": 6, "now": 8, "both": 6}
    assert {row["p"] for row in since["models"]} == {1}
    assert "Since the run before" in (pipeline.folder / "first-edition/plots/report.html").read_text()
    pipeline.commit("More test photos")
    assert pipeline.repro("--force", "--single-item", "report", folder="first-edition") == {"report"}
    assert pipeline.run("git", "status", "--porcelain") == ""  # the page is the same after the commit
    assert pipeline.md5s() == reference
    answer = pipeline.run("dvc", "repro", "--force", "first-edition/dvc.yaml:subset")  # as dvc repro -P names it
    assert "Running stage 'first-edition/dvc.yaml:subset'" in answer
    pipeline.run("git", "reset", "--quiet", "--hard", "HEAD~2")
    shutil.rmtree(pipeline.folder / "first-edition")
