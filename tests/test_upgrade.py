"""`smallset upgrade` moves a project to this version: the owner's values stay, and git shows every change."""

import hashlib
import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import draw, identify, run, skip_dvc

from smallset.cli import init, upgrade
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

VERSION, TEMPLATE = metadata.version("smallset"), init.template(None)
OLD_PARAMS = """\
seed: 7                   # mine
precision: auto
base: {name: VGG16, weights: my.weights.h5, cut: null}
subset: {by: given, train: null, validation: null, test: null, exclude: [heron/0.jpg]}
audit: {leakage: error, near: 6}
larger: {side: 192, mirror: false}
linear: {C: 0.05, class_weights: null, calibrate: false}
pooled: {depth: top, batch: 16, epochs: 9, learning_rate: 1.0e-4, optimizer: rmsprop, epsilon: 1.0e-7,
  ema_momentum: 0.9, class_weights: null, calibrate: true, patience: null,
  augmentation: {flip: horizontal, rotation: 0.1, shift: 0.05, shear: 0, zoom: 0.3, keep_aspect: false, fill: wrap}}
compare: {smoothing: 0}
"""
CODE = {  # what 0.2.0 copied into a project; here a line stands for each file
    "dvc.yaml": "stages: {subset: {cmd: python stages/subset.py photos}}\n",
    "stages/subset.py": "import smallset\n",
    "stages/side.py": "import smallset\n",
    "src/smallset/photos/decoding.py": "\n",
    "requirements.lock": "numpy==2.1\n",
    ".dvc/config": "[core]\n",
    ".dvc/plots/roc.json": "{}\n",
    ".dvcignore": "src/*.egg-info\n",
}
KEPT = {
    "photos.dvc": "outs:\n- path: photos\n",
    "photos/photos.csv": "file,label,split\nheron/0.jpg,heron,train\n",
    "corrections.csv": "digest,file,decision,label,when,queue\n",
    "README.md": "# birds\n",
}
RESULTS = {"metrics/pooled.json": "{}", "metrics/audit/pairs.csv": "file\n", "dvc.lock": "schema: '2.0'\n"}


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, as init creates it."""
    home = tmp_path_factory.mktemp("created")
    with pytest.MonkeyPatch.context() as patch:
        identify(patch)
        skip_dvc(patch)
        for name in ("heron", "robin"):
            draw(home / "photos" / name, 5)
        init.create(home / "birds", home / "photos", None)
    return home / "birds"


@pytest.fixture
def project(created: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    identify(monkeypatch)
    return Path(shutil.copytree(created, tmp_path / "birds"))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of version 0.2.0, whose owner has changed one stage."""
    identify(monkeypatch)
    digests = {path: hashlib.sha256(content.encode()).hexdigest() for path, content in CODE.items()}
    record = json.dumps({"version": "0.2.0", "chapter": False, "digests": digests})
    for path, content in {**CODE, **KEPT, **RESULTS, "params.yaml": OLD_PARAMS, ".smallset.json": record}.items():
        (tmp_path / "old" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "old" / path).write_text(content)
    (tmp_path / "old/stages/side.py").write_text("# mine\n")
    run(tmp_path / "old", "git", "init", "--quiet")
    commit(tmp_path / "old")
    (tmp_path / "old/src/smallset/__pycache__").mkdir()
    (tmp_path / "old/src/smallset/__pycache__/x.pyc").write_bytes(b"")
    return tmp_path / "old"


def commit(project: Path) -> None:
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "mine")


def replace(project: Path, path: str, old: str, new: str) -> None:
    text = (project / path).read_text()
    assert text.count(old) == 1
    (project / path).write_text(text.replace(old, new))
    commit(project)


def changed(project: Path) -> set[str]:
    return {line[3:] for line in run(project, "git", "status", "--porcelain").splitlines()}


def pretend_newer(monkeypatch: pytest.MonkeyPatch, path: str, old: str, new: str) -> None:
    """Let the template of a newer smallset differ in one place."""
    template = init.template

    def newer(table: str | None) -> dict[str, str]:
        texts = template(table)
        text = texts[path].replace(old, new)
        return {**texts, path: init.stamp(text.partition("\n")[2]) if path == "dvc.yaml" else text}

    monkeypatch.setattr(init, "template", newer)


def test_a_changed_graph_stays_and_nothing_else_is_touched(project: Path) -> None:
    (project / "notes.txt").write_text("not tracked")
    assert upgrade.upgrade_project(project) == [f"{project}: up to date"]
    replace(project, "dvc.yaml", "Measure each photo", "Look at each photo")
    lines = upgrade.upgrade_project(project)
    assert "dvc.yaml: you have changed it, so it stays" in lines[1]
    assert changed(project) == {"dvc.yaml.new"}
    assert (project / "dvc.yaml.new").read_text() == TEMPLATE["dvc.yaml"]


def test_a_graph_that_nobody_has_changed_is_replaced(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(project, "params.yaml", f"smallset: {VERSION}", "smallset: 0.2.9")
    pretend_newer(monkeypatch, "dvc.yaml", "Measure each photo", "Look at each photo")
    version = f"{project}: smallset 0.2.9 to {VERSION}"
    assert upgrade.upgrade_project(project) == [version, "dvc.yaml: is replaced", "See git diff, then: dvc repro"]
    assert changed(project) == {"dvc.yaml", "params.yaml"}
    diff = run(project, "git", "diff", "-U0", "params.yaml").splitlines()
    assert [line.split("#")[0].strip() for line in diff[-2:]] == ["-smallset: 0.2.9", f"+smallset: {VERSION}"]
    commit(project)
    assert upgrade.upgrade_project(project) == [f"{project}: up to date"]


def test_new_params_come_with_comments_and_own_values_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(project, "params.yaml", "  epochs: 6\n", "  epochs: 9               # mine\n")
    pretend_newer(monkeypatch, "params.yaml", "  epochs: 6\n", "  epochs: 5\n  warmup: null            # new\n")
    pretend_newer(monkeypatch, "params.yaml", "leakage: warning", "leaks: warning")
    lines = upgrade.upgrade_project(project)
    text = (project / "params.yaml").read_text()
    assert "  epochs: 9               # mine\n  warmup: null            # new\n" in text
    assert "params.yaml: fine_tune.warmup is new (None)" in lines
    assert "params.yaml: issues.leakage is gone (it was 'warning')" in lines
    diff = [line for line in run(project, "git", "diff", "-U0", "params.yaml").splitlines() if line[:2] in ("+ ", "- ")]
    assert [line[1:].split()[0] for line in diff] == ["leakage:", "leaks:", "warmup:"]


def test_requirements_are_pinned_again_and_missing_files_come_back(project: Path) -> None:
    path, dvc = project / "requirements.txt", f"dvc=={metadata.version('dvc')}"
    path.write_text(path.read_text().replace(dvc, "dvc==3.1") + "dvc-s3==3.2\n")
    for name in ("corrections.csv", ".dvc/plots/roc.json"):
        (project / name).unlink()
    commit(project)
    lines = upgrade.upgrade_project(project)
    assert {"corrections.csv: is new", ".dvc/plots/roc.json: is new", "requirements.txt: is replaced"} < set(lines)
    pins = path.read_text().splitlines()
    assert pins[-1] == "dvc-s3==3.2"
    assert [pin for pin in pins if pin.startswith("dvc==")] == [dvc]


def test_a_project_of_0_2_0_is_migrated(old: Path) -> None:
    lines = upgrade.upgrade_project(old)
    assert lines[0] == f"{old}: smallset 0.2.0 to {VERSION}"
    for name in ("stages/subset.py", "src", "requirements.lock", ".smallset.json", "metrics", "dvc.lock"):
        assert not (old / name).exists(), name
    for name in ("dvc.yaml", ".dvc/config", ".dvc/plots/roc.json", ".dvcignore", "requirements.txt", ".gitattributes"):
        assert (old / name).read_text() == TEMPLATE[name], name
    assert {name: (old / name).read_text() for name in KEPT} == KEPT
    assert (old / "stages/side.py").read_text() == "# mine\n"
    assert "stages/side.py: you have changed it, so it stays, but nothing uses it any more" in lines
    assert run(old, "git", "log", "--format=%s") == "mine\n"  # nothing is committed
    commit(old)
    assert upgrade.upgrade_project(old) == [f"{old}: up to date"]


def test_the_values_of_0_2_0_get_their_new_names(old: Path) -> None:
    lines = upgrade.upgrade_project(old)
    document: Any = yaml.safe_load((old / "params.yaml").read_text())
    assert "image_sizes: [192]" in (old / "params.yaml").read_text()
    training = {"batch_size": 16, "epochs": 9, "learning_rate": 1e-4, "optimizer": "rmsprop", "ema_momentum": 0.9}
    assert document == {
        "smallset": VERSION,
        "seed": 7,
        "precision": "auto",
        "class_prior": "training",
        "split": {"by": "given", "train": None, "validation": None, "test": None, "exclude": ["heron/0.jpg"]}
        | {"table": "photos/photos.csv"},
        "features": {"backbone": "VGG16", "weights": "my.weights.h5", "image_sizes": [192]},
        "augmentation": {"flip": "none", "rotation": 0.1, "zoom": 0.3, "fill": "wrap"},  # of mirror: false
        "issues": {"leakage": "error"},
        "linear_probe": {"C": [0.05], "class_weight": None, "calibrate": False},
        "fine_tune": {
            "trainable": "last_block",
            "minutes": 10,
            **training,
            "class_weight": None,
            "calibrate": True,
            "patience": None,
        },
    }
    params.parse(document)
    gone = "pooled.epsilon, pooled.augmentation.shift, pooled.augmentation.shear"
    assert f"Not used any more: audit.near, {gone}, pooled.augmentation.keep_aspect, compare" in "\n".join(lines)


@pytest.mark.parametrize(("depth", "trainable"), [("null", "block4_pool"), ("top", "block4_pool"), ("whole", "all")])
def test_the_last_frozen_layer_of_0_2_0_stays(old: Path, depth: str, trainable: str) -> None:
    text = OLD_PARAMS.replace("cut: null", "cut: block4_pool").replace("depth: top", f"depth: {depth}")
    (old / "params.yaml").write_text(text)
    commit(old)
    upgrade.upgrade_project(old)
    assert yaml.safe_load((old / "params.yaml").read_text())["fine_tune"]["trainable"] == trainable


def test_null_of_0_2_0_is_the_default_now(old: Path) -> None:
    text = OLD_PARAMS.replace("side: 192, mirror: false", "side: null, mirror: true").replace("C: 0.05", "C: null")
    (old / "params.yaml").write_text(text.replace("depth: top", "depth: null"))
    commit(old)
    upgrade.upgrade_project(old)
    document, default = (yaml.safe_load(text) for text in ((old / "params.yaml").read_text(), TEMPLATE["params.yaml"]))
    for section, key in (("features", "image_sizes"), ("linear_probe", "C"), ("fine_tune", "trainable")):
        assert document[section][key] == default[section][key]
    assert document["augmentation"]["flip"] == "horizontal"


def test_what_git_could_not_give_back_is_not_overwritten(project: Path, tmp_path: Path) -> None:
    (project / "dvc.yaml").write_text("# mine\n")
    with pytest.raises(SmallsetError, match=r"a project without changes, found\n M dvc.yaml\nCommit them first"):
        upgrade.upgrade_project(project)
    assert (project / "dvc.yaml").read_text() == "# mine\n"
    with pytest.raises(SmallsetError, match="expected a project, found no dvc.yaml and no params.yaml"):
        upgrade.upgrade_project(tmp_path)
