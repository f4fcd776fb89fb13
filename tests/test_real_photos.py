"""A project with the params that `smallset init` writes learns real photos.

SMALLSET_ANTS_BEES names the zip of the ants and bees photos; the test is skipped without it.
"""

import importlib
import json
import os
import zipfile
from pathlib import Path

import pytest
from projects import identify

from smallset.cli import init

pytestmark = pytest.mark.slow


@pytest.mark.skipif("SMALLSET_ANTS_BEES" not in os.environ, reason="SMALLSET_ANTS_BEES does not name real photos")
def test_the_linear_probe_tells_ants_from_bees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identify(monkeypatch)
    with zipfile.ZipFile(os.environ["SMALLSET_ANTS_BEES"]) as archive:
        archive.extractall(tmp_path / "photos")
    init.create(tmp_path / "project", tmp_path / "photos", None)
    monkeypatch.chdir(tmp_path / "project")
    for stage, *arguments in (["split"], ["features"], ["linear_probe"], ["evaluate", "linear_probe"]):
        monkeypatch.setenv("DVC_STAGE", "@".join([stage, *arguments]))
        importlib.import_module(f"smallset.stages.{stage}").main(*arguments)
    metrics = json.loads(Path("metrics/linear_probe.json").read_text())
    assert metrics["n"] > 60
    assert metrics["accuracy"] >= 0.88
