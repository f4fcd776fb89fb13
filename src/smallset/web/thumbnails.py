"""Photos for a page: thumbnails, which are kept in a folder of limited size, and large pictures."""

import contextlib
import os
import threading
from pathlib import Path

from smallset.images import decoding
from smallset.pipeline import files
from smallset.reports import thumbnails

SIZE, LARGE = 256, 1600  # px, at most
MAX_BYTES = 500_000_000  # that are kept
CHECK_AFTER = 2_000  # new thumbnails, about 20 MB, the size of the folder is checked
DECODERS = threading.Semaphore(max(1, min(4, (os.cpu_count() or 1) - 1)))  # each photo takes tens of megabytes


def load_jpeg(path: Path, size: int) -> bytes:
    """A photo with at most `size` px, as a JPEG; SmallsetError for a file that does not decode."""
    with DECODERS:
        return thumbnails.encode_jpeg(thumbnails.shrink(decoding.decode(path), size))


class Thumbnails:
    """The thumbnails in a folder, by the sha256 of their photo."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock, self.count = folder, threading.Lock(), 0
        self._prune()

    def read(self, sha256: str, path: Path) -> bytes:
        """The thumbnail of a photo, a JPEG; it is made and kept if it does not exist."""
        kept = self.folder / sha256[:2] / f"{sha256}.jpg"
        try:
            return kept.read_bytes()
        except OSError:
            content = load_jpeg(path, SIZE)
        with self.lock, contextlib.suppress(OSError):  # on a full disk nothing is kept
            with files.atomic_write(kept, durable=False) as draft:
                draft.write_bytes(content)
            self.count += 1
            if self.count % CHECK_AFTER == 0:
                self._prune()
        return content

    def _prune(self) -> None:
        """Remove the oldest thumbnails until the others take MAX_BYTES or less."""
        kept = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.rglob("*.jpg"))
        excess = sum(size for _, size, _ in kept) - MAX_BYTES
        for _, size, path in kept:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size
