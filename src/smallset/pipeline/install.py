"""Where this smallset was installed from, and the pip command that adds one of its optional extras."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from smallset.pipeline.errors import SmallsetError


def source() -> str:
    """What pip installed smallset from, as in `smallset @ SOURCE`; "" for a package index."""
    origin = _read_origin()
    git = origin.get("vcs_info")
    return f"git+{origin['url']}@{git['commit_id']}" if git else origin.get("url", "")


def pip_command(extra: str) -> str:
    """The command that adds an extra to this smallset, from the clone, file, git URL or index that it came from."""
    url = source()
    folder = Path(url2pathname(urlsplit(url).path))
    if url.startswith("file:") and not folder.exists():
        url = ""  # a wheel that has been deleted since
    if url and _read_origin().get("dir_info", {}).get("editable"):
        return f'pip install -e "{folder}[{extra}]"'
    return f'pip install "smallset[{extra}] @ {url}"' if url else f'pip install "smallset[{extra}]"'


def missing_extra(user: str, package: str, extra: str) -> SmallsetError:
    """The error when `user` (a command, an option, a model) needs a package of an extra that is not installed."""
    return SmallsetError(f"{user} needs {package}, which is not installed. Run: {pip_command(extra)}")


def _read_origin() -> dict[str, Any]:
    """The content of direct_url.json (PEP 610), which pip writes unless it installs from an index."""
    return json.loads(metadata.distribution("smallset").read_text("direct_url.json") or "{}")
