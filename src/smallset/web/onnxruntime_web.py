"""The two files of onnxruntime-web, which runs an ONNX model in a browser, from the user's cache or from the network.

No package on PyPI contains them. npm fetches them where it is installed, from the registry in its settings; otherwise
two public mirrors of npm serve them. Without a network, SMALLSET_ONNXRUNTIME_WEB names npm's archive or a folder.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import gdown
import platformdirs

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

VERSION = "1.30.0"
FILES = {  # in dist/, with their sha256: WebAssembly only, without threads and without a GPU
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
NPM, PACK = "npm", ["npm", "pack", f"onnxruntime-web@{VERSION}"]
MIRRORS = (
    f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist",
    f"https://unpkg.com/onnxruntime-web@{VERSION}/dist",
)
VARIABLE = "SMALLSET_ONNXRUNTIME_WEB"


def find_folder() -> Path:
    """The folder in the user's cache with the FILES, which are fetched first if necessary."""
    folder = platformdirs.user_cache_path("smallset") / f"onnxruntime-web-{VERSION}"
    named = os.environ.get(VARIABLE)
    if named or _list_wrong(folder):
        with files.atomic_write(folder) as draft:
            draft.mkdir()
            if named:
                _copy(Path(named), draft)
            else:
                _fetch(draft)
    return folder


def _list_wrong(folder: Path) -> list[str]:
    """The FILES that are missing in a folder, or that have another sha256."""
    return [name for name in FILES if not (folder / name).is_file() or files.sha256(folder / name) != FILES[name]]


def _fetch(draft: Path) -> None:
    """Fetch the files with npm or from the first mirror that answers; the SmallsetError lists what was tried."""
    errors = []
    for source in (NPM, *MIRRORS):
        try:
            if source == NPM:
                return _fetch_with_npm(draft)
            for name in FILES:
                gdown.download(url=f"{source}/{name}", output=str(draft / name), timeout=30, retries=2)
            return _check(draft, source)
        except (SmallsetError, OSError, gdown.exceptions.DownloadError) as error:
            errors.append(f"- {source}: {' '.join(str(error).split())[:300]}")
    title = f"onnxruntime-web {VERSION}, which runs the model in a browser, cannot be downloaded. Tried:"
    advice = f"Run {' '.join(PACK)} on another machine, and name its archive here: {VARIABLE}=/path/of/the.tgz"
    raise SmallsetError("\n".join([title, *errors, advice]))


def _fetch_with_npm(draft: Path) -> None:
    if shutil.which(NPM) is None:
        raise SmallsetError("it is not installed")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(PACK, cwd=folder, capture_output=True, text=True, check=False)
        archives = [*Path(folder).glob("*.tgz")]
        if done.returncode or not archives:
            raise SmallsetError(done.stderr.strip() or "it wrote no archive")
        _copy(archives[0], draft)


def _copy(source: Path, draft: Path) -> None:
    """Copy the files from npm's archive, or from a folder that contains them or dist/ with them."""
    try:
        if source.is_dir():
            inner = source / "dist" if (source / "dist").is_dir() else source
            for name in FILES:
                shutil.copyfile(inner / name, draft / name)
        else:
            with tarfile.open(source) as archive:
                for name in FILES:
                    member = archive.getmember(f"package/dist/{name}").replace(name=name)
                    archive.extract(member, draft, filter="data")
    except (OSError, KeyError, tarfile.TarError) as error:
        expected = f"expected onnxruntime-web-{VERSION}.tgz from npm, or a folder with its files"
        raise SmallsetError(f"{source}: {expected}: {error}") from None
    _check(draft, source)


def _check(folder: Path, source: Path | str) -> None:
    if wrong := _list_wrong(folder):
        raise SmallsetError(f"{source}: {', '.join(wrong)}: the sha256 is not that of onnxruntime-web {VERSION}.")
