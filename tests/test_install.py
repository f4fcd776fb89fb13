"""Messages about a missing extra name a pip command that works for a clone, a wheel, a git URL or an index."""

import json
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement

from smallset.pipeline import install

HERE = Path(__file__)
GIT = {"url": "https://a.org/s.git", "vcs_info": {"vcs": "git", "commit_id": "0a"}}
FOLDER = {"url": HERE.parent.as_uri(), "dir_info": {}}
WHEEL = {"url": HERE.as_uri(), "archive_info": {}}


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "smallset[ray]"),
        (GIT, "smallset[ray] @ git+https://a.org/s.git@0a"),
        (FOLDER, f"smallset[ray] @ {FOLDER['url']}"),
        (WHEEL, f"smallset[ray] @ {WHEEL['url']}"),
        ({"url": "file:///gone/smallset.whl", "archive_info": {}}, "smallset[ray]"),
    ],
)
def test_an_extra_comes_from_where_smallset_came_from(
    origin: dict[str, Any] | None, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = origin and json.dumps(origin)
    monkeypatch.setattr(metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))
    assert install.pip_command("ray") == f'pip install "{requirement}"'
    assert Requirement(requirement).extras == {"ray"}
    assert str(install.missing_extra("x", "Ray", "ray")).startswith("x needs Ray, which is not installed. Run: pip ")


def test_an_editable_clone_stays_editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "a clone"
    clone.mkdir()
    text = json.dumps({"url": clone.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.setattr(metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))
    assert install.pip_command("ray") == f'pip install -e "{clone}[ray]"'


def test_messages_name_extras_that_exist() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (HERE.parents[1] / "src").rglob("*.py"))
    named = set(re.findall(r"""(?:pip_command\(|missing_extra\(.*)["'](\w+)["']\)""", sources))
    assert {"export", "hub", "kaggle", "ray", "s3", "shards"} <= named
    assert named <= {*metadata.metadata("smallset").get_all("Provides-Extra", [])}
