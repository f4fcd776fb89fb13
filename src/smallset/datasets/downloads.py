"""The dogs-vs-cats archive: a local file, or the first mirror that answers."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import gdown

from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError

WAYS_ON = """Three ways on:
- get the archive with a browser and name it: SMALLSET_ARCHIVE=/path/of/the.zip dvc repro
- take your own photos: download.source: folder and download.folder in params.yaml
- take the drawn sample, which needs no network: download.source: sample, or the pipeline in sample/"""


def local_archive() -> Path | None:
    """The archive that the environment names: where it lies on a disk is no part of the experiment."""
    name = os.environ.get("SMALLSET_ARCHIVE")
    return Path(name) if name else None


def from_mirrors(mirrors: list[params.Mirror], downloads: Path) -> Path:
    """Download from the first mirror that answers; SmallsetError lists what was tried and the ways on."""
    downloads.mkdir(parents=True, exist_ok=True)
    tried = []
    for mirror in mirrors:
        try:
            return checked(fetch(mirror.url, downloads), mirror.sha256)
        except (SmallsetError, OSError, gdown.exceptions.DownloadError) as error:
            tried.append(f"- {mirror.url}: {_one_line(error)}")
    raise SmallsetError("\n".join(["no mirror gave the archive. Tried:", *tried, WAYS_ON]))


def fetch(url: str, downloads: Path) -> Path:
    """Fetch one url into `downloads`, going on where a broken download stopped; what is there is not fetched again."""
    address = urlparse(url)
    name = Path(address.path).name if address.path.endswith(".zip") else "dogs-vs-cats.zip"
    if (downloads / name).exists():
        return downloads / name
    if "kaggle.com/competitions/" in url:
        return from_kaggle(url.rsplit("/", 1)[-1], downloads)
    gdown.download(url=url, output=str(downloads / name), resume=True, use_cookies=False, timeout=30, retries=2)
    return downloads / name


def from_kaggle(competition: str, downloads: Path) -> Path:
    """Kaggle's own client: it needs an account, a key in ~/.kaggle, and the competition's rules accepted."""
    if shutil.which("kaggle") is None:
        raise SmallsetError(
            'Kaggle\'s client is not installed: pip install -e ".[kaggle]", and put your key in ~/.kaggle'
        )
    command = ["kaggle", "competitions", "download", "-c", competition, "-p", str(downloads)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SmallsetError(f"{' '.join(command)} ended with exit code {code}; its own words are above")
    return downloads / f"{competition}.zip"


def checked(archive: Path, sha256: str | None) -> Path:
    """The archive, if it is a zip with the expected digest; another is set aside so that the next try starts anew."""
    found = files.sha256(archive)
    if sha256 in (None, found) and zipfile.is_zipfile(archive):
        return archive
    archive.replace(archive.with_suffix(".wrong"))
    raise SmallsetError(
        f"{archive}: expected a zip with sha256 {sha256 or 'of any value'}, found {found}. "
        f"Set aside as {archive.stem}.wrong; delete it"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
