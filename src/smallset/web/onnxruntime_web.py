"""onnxruntime-web, which runs an ONNX model in a browser: its two files, cached or from where they are published.

They are published on npm, and no package on PyPI has them. Where npm is installed it fetches them, from the mirror that
its settings name; elsewhere two public copies of what is on npm give the same files by address. That is once: then
they are in the user's cache. What comes, and what is there, is checked by its digest. Without a network
SMALLSET_ONNXRUNTIME_WEB names npm's archive, or a folder.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gdown
import platformdirs

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

VERSION = "1.30.0"
FILES = {  # of dist/, and their sha256: WebAssembly alone, which needs neither threads nor a graphics card
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
ADDRESSES = (
    f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist",
    f"https://unpkg.com/onnxruntime-web@{VERSION}/dist",
)
NAMED = "SMALLSET_ONNXRUNTIME_WEB"


def folder() -> Path:
    """The folder of the user's cache that has FILES, filled where it is not yet; SmallsetError lists what was tried."""
    cached = platformdirs.user_cache_path("smallset") / f"onnxruntime-web-{VERSION}"
    named = os.environ.get(NAMED)
    if named or not whole(cached):
        with files.atomic_write(cached) as draft:
            draft.mkdir()
            if named:
                from_disk(Path(named), draft)
            else:
                published(draft)
    return cached


def whole(folder: Path) -> bool:
    """Whether a folder has FILES, to the byte."""
    return all((folder / name).is_file() and files.sha256(folder / name) == FILES[name] for name in FILES)


def published(draft: Path) -> None:
    """Fill a folder from npm, or else from the first of ADDRESSES that gives them."""
    ways: dict[str, Callable[[Path], None]] = {"npm": from_npm}
    ways |= {address: partial(from_address, address) for address in ADDRESSES}
    tried = []
    for way, fetch in ways.items():
        try:
            fetch(draft)
            return checked(draft)
        except (SmallsetError, OSError, gdown.exceptions.DownloadError) as error:
            tried.append(f"- {way}: {' '.join(str(error).split())[:300]}")
    raise SmallsetError(
        "\n".join(
            [
                f"onnxruntime-web {VERSION}, which runs the model in a browser, could not be had. Tried:",
                *tried,
                f"Get onnxruntime-web-{VERSION}.tgz where there is a network (npm pack onnxruntime-web@{VERSION}), "
                f"and name it: {NAMED}=/path/of/the.tgz",
            ]
        )
    )


def from_npm(draft: Path) -> None:
    """By npm, from the registry that its own settings name."""
    npm = shutil.which("npm")
    if npm is None:
        raise SmallsetError("not installed")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(place).glob("*.tgz"))
        if done.returncode or not archives:
            raise SmallsetError(done.stderr.strip() or "it packed nothing")
        from_disk(archives[0], draft)


def from_address(address: str, draft: Path) -> None:
    """File by file, over the network."""
    for name in FILES:
        gdown.download(url=f"{address}/{name}", output=str(draft / name), use_cookies=False, timeout=30, retries=2)


def from_disk(source: Path, draft: Path) -> None:
    """From npm's .tgz, or a folder that has FILES, in dist/ maybe; SmallsetError where they are not those files."""
    try:
        if source.is_dir():
            inner = source / "dist" if (source / "dist").is_dir() else source
            for name in FILES:
                shutil.copyfile(inner / name, draft / name)
        else:
            with tarfile.open(source) as archive:
                for name in FILES:
                    content = archive.extractfile(f"package/dist/{name}")
                    (draft / name).write_bytes(content.read() if content else b"")
    except (OSError, KeyError, tarfile.TarError) as error:
        raise SmallsetError(
            f"{source}: expected onnxruntime-web-{VERSION}.tgz of npm, or a folder with its files: {error}"
        ) from None
    checked(draft, f"{source}: ")


def checked(folder: Path, where: str = "") -> None:
    """SmallsetError unless the files are those of VERSION."""
    wrong = [name for name in FILES if not (folder / name).is_file() or files.sha256(folder / name) != FILES[name]]
    if wrong:
        raise SmallsetError(f"{where}{', '.join(wrong)}: not of onnxruntime-web {VERSION}, by the sha256")
