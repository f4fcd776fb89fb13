"""Pictures of photos for a page: thumbnails, made once and kept in a folder that stays small, and large ones."""

import contextlib
import io
import os
import threading
from pathlib import Path

from PIL import Image

from smallset.images import decoding
from smallset.pipeline import files

SIDE, LARGE = 256, 1600  # px, at most
MOST = 500_000_000  # bytes that are kept
EVERY = 2_000  # thumbnails, after which the folder is looked at again; 20 MB
# Photos that are decoded at once: each takes tens of megabytes, and a core is left for decisions.
AT_ONCE = threading.Semaphore(max(1, min(4, (os.cpu_count() or 1) - 1)))


def jpeg(path: Path, side: int) -> bytes:
    """A photo in at most `side` px, upright; SmallsetError for what does not decode."""
    with AT_ONCE:
        picture = Image.fromarray(decoding.decode(path))
    picture.thumbnail((side, side))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


class Thumbnails:
    """Those below a folder, by the digest of the photo's bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock, self.new = folder, threading.Lock(), 0
        prune(folder)

    def of(self, digest: str, path: Path) -> bytes:
        """A photo's thumbnail, a JPEG."""
        kept = self.folder / digest[:2] / f"{digest}.jpg"
        try:
            return kept.read_bytes()
        except OSError:
            content = jpeg(path, SIDE)
        with self.lock, contextlib.suppress(OSError):  # on a full disk they are made anew
            with files.atomic_write(kept, durable=False) as draft:
                draft.write_bytes(content)
            self.new += 1
            if self.new % EVERY == 0:
                prune(self.folder)
        return content


def prune(folder: Path) -> None:
    """Remove the oldest thumbnails until the rest takes MOST bytes or less."""
    found = [(path, path.stat()) for path in folder.rglob("*.jpg")]
    excess = sum(stat.st_size for _, stat in found) - MOST
    for path, stat in sorted(found, key=lambda one: one[1].st_mtime):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= stat.st_size
