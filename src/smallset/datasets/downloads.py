"""Published archives: a local copy, or the first mirror that answers with the right bytes."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import gdown

from smallset.pipeline import files, install, params
from smallset.pipeline.errors import SmallsetError

DOWNLOADS = Path("data/downloads")  # keeps archives, also partial ones, so that a broken download is continued
ALTERNATIVES = """You can:
- get the archive with a browser and name it: {variable}=/path/of/{name} dvc repro
- use your own photos: download.source: folder and download.folder in params.yaml
- use generated pictures, without a network: download.source: synthetic, or the pipeline in sample/"""


def locate(mirrors: Sequence[params.Mirror], variable: str, name: str) -> Path:
    """The archive that an environment variable names, or else downloaded; a SmallsetError lists the alternatives.

    Its location on this machine is not a parameter, because results do not depend on it.
    """
    if variable in os.environ:
        return Path(os.environ[variable])
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    tried = []
    for mirror in mirrors:
        try:
            return _check(_fetch(mirror.url, name), mirror.sha256)
        except (SmallsetError, OSError, gdown.exceptions.DownloadError) as error:
            tried.append(f"- {mirror.url}: {' '.join(str(error).split())[:300]}")
    alternatives = ALTERNATIVES.format(variable=variable, name=name)
    raise SmallsetError("\n".join(["no mirror sent the archive. Tried:", *tried, alternatives]))


def _fetch(url: str, name: str) -> Path:
    """Download a URL unless the file is there already; a partial file is continued.

    Kaggle's client needs an account, a key in ~/.kaggle, and consent to the rules of the competition.
    """
    path = Path(urlparse(url).path)
    target = DOWNLOADS / (path.name if path.suffix in (".zip", ".npz") else name)
    if target.exists():
        return target
    if "kaggle.com/competitions/" not in url:
        gdown.download(url=url, output=str(target), resume=True, use_cookies=False, timeout=30, retries=2)
        return target
    if shutil.which("kaggle") is None:
        fix = f"Run: {install.pip_command('kaggle')}, and put your key in ~/.kaggle"
        raise SmallsetError(f"Kaggle's client is not installed. {fix}")
    command = ["kaggle", "competitions", "download", "-c", path.name, "-p", str(DOWNLOADS)]
    if code := subprocess.run(command, check=False).returncode:
        raise SmallsetError(f"{' '.join(command)} failed with exit code {code}; its messages are above")
    return DOWNLOADS / f"{path.name}.zip"


def _check(archive: Path, sha256: str | None) -> Path:
    """The archive if it is a zip with this digest; otherwise it is set aside, so that the next attempt starts anew."""
    actual = files.sha256(archive)
    if sha256 in (None, actual) and zipfile.is_zipfile(archive):
        return archive
    archive.replace(archive.with_suffix(".wrong"))
    problem = f"expected a zip with sha256 {sha256 or '(any)'}, found {actual}"
    raise SmallsetError(f"{archive}: {problem}. Set aside as {archive.stem}.wrong; delete it")
