"""`smallset init`: a pipeline folder for the user's own photos, beside the reference pipeline in a clone."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from ruamel.yaml import YAML

from smallset.pipeline import params, progress
from smallset.pipeline.errors import SmallsetError
from smallset.sources import arrangements, splits
from smallset.storage import files

GRAPH = "dvc.yaml"
ROOT = ("  - root: .\n", "  - root: ..\n")  # where stages/ and src/ are, from the clone's graph and from a folder's
CODE = ("stages", "src")
IGNORED = "# what DVC makes\n/data/\n/models/\n/plots/\n"
GIVEN = params.Subset(by="given")
DRAWN = params.Subset(by="fraction", train=0.6, validation=0.2, test=0.2)
CONVNETS = ("convnet", "convnet_augmented")
LOOKED_AT = 200  # photos whose sizes are read
STEPS = 63  # of an epoch of the reference pipeline, for which its ema_momentum is


def create(folder: Path, photos: Path, table: Path | None) -> str:
    """Make the pipeline `folder`, whole or not at all; return what was found and what to run next.

    The photos are only looked at: the stage `download` copies them.
    """
    photos, table = photos.expanduser(), table.expanduser() if table else None  # no shell does it in --photos=~/birds
    check_place(folder, photos)
    p = params.read(Path("params.yaml"))
    found = arrangements.read(photos, table)
    subset = GIVEN if "split" in found else DRAWN
    drawn = divided(found, photos, subset, p.seed)
    counts = splits.counted(drawn)
    sides, unread = shorter_sides(photos, found)
    side = min(p.image.side, max(p.convnet.smallest, int(np.median(sides))))
    own = {"source": "folder", "folder": str(photos.resolve()), "table": str(table.resolve()) if table else None}
    with files.whole(folder) as draft:
        draft.mkdir()
        share(draft)
        files.write_text(draft / ".gitignore", IGNORED)
        changes = fitted(p, side, int(counts["train"].sum()))
        write_params(draft / "params.yaml", changes | {"download": own, "subset": subset.model_dump()})
        params.read(draft / "params.yaml")
    seen = f"shorter side {np.median(sides):.0f} px in the median, image.side: {side}"
    surprises = [*notes(counts, unread), *([] if table else deeper(found))]
    if not counts.to_numpy().all():
        surprises.append(f"The stage subset will stop: {splits.lacking(counts, drawn, subset, p.seed)}")
    return "\n".join([*described(folder, photos, counts, seen), *surprises, *following(folder, found)])


def check_place(folder: Path, photos: Path) -> None:
    """A new folder right in the top folder of a clone, and photos that lie elsewhere."""
    missing = [name for name in (".dvc", "params.yaml", GRAPH, *CODE) if not Path(name).exists()]
    if missing:
        raise SmallsetError(
            f"{Path.cwd()}: expected the top folder of a clone of smallset's repository, "
            f"found no {', '.join(missing)}. Change to it."
        )
    if folder.name != str(folder) or folder.name.startswith("."):
        raise SmallsetError(
            f"{folder}: expected a plain name, without a slash or a leading dot, as mine. It becomes a folder here."
        )
    if folder.exists() or folder.is_symlink():
        raise SmallsetError(f"{folder}: exists already. Choose another name, or edit {folder / 'params.yaml'}.")
    if not photos.is_dir():
        raise SmallsetError(
            f"{photos}: expected a folder of photos, found {'a file' if photos.exists() else 'nothing'}. "
            f"Name one with --photos; unpack an archive first."
        )
    if Path.cwd().is_relative_to(photos.resolve()):
        raise SmallsetError(f"{photos}: expected a folder of photos alone; this clone is in it. Move the photos.")


def divided(found: pd.DataFrame, photos: Path, p: params.Subset, seed: int) -> pd.DataFrame:
    """The table with the split of each photo, as the stage subset will draw it if all decode."""
    if p.by == "given":
        return found
    paths = progress.bar(found["source"], what="reading", unit=" photos")
    found = found.assign(digest=[files.sha256(photos / path) for path in paths])
    return found.assign(split=splits.by_fraction(found, p.sizes, seed))


def shorter_sides(folder: Path, found: pd.DataFrame) -> tuple[list[int], list[str]]:
    """The shorter sides, px, of up to 200 photos spread over all, and the files that do not open; headers tell."""
    rows = np.unique(np.linspace(0, len(found) - 1, LOOKED_AT).astype(int))
    sides, unread = [], []
    for source in found["source"].iloc[rows]:
        try:
            with Image.open(folder / source) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            unread.append(source)
    if not sides:
        raise SmallsetError(f"{folder}: none of {len(unread)} files that were looked at is a photo, as {unread[0]}.")
    return sides, unread


def fitted(p: params.Params, side: int, photos: int) -> dict[str, dict[str, object]]:
    """What differs from `p` for that many training photos of `side` px."""
    changes: dict[str, dict[str, object]] = {
        name: {"ema_momentum": momentum(getattr(p, name), photos)} for name in CONVNETS
    }
    return changes | {"image": {"side": side}, "larger": {"side": round(side * p.larger.side / p.image.side)}}


def momentum(p: params.Training, photos: int) -> float | None:
    """The ema_momentum for that many training photos: of few, the average would hardly leave the random weights.

    It spans as many epochs as in the reference pipeline, at most as many steps.
    """
    if p.ema_momentum is None:
        return None
    return round(p.ema_momentum ** max(1.0, STEPS * p.batch / photos), 2)


def share(folder: Path) -> None:
    """The graph, which runs the clone's stages: an update of the clone reaches every pipeline."""
    files.write_text(folder / GRAPH, Path(GRAPH).read_text(encoding="utf-8").replace(*ROOT))


def write_params(path: Path, changes: Mapping[str, Mapping[str, object]]) -> None:
    """The repository's params.yaml with these values; its order, comments and numbers stay as they are written."""
    yaml = YAML()
    yaml.width = 4096  # no line is folded
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml.load(Path("params.yaml"))
    for key, values in changes.items():
        for name, value in values.items():
            document[key][name] = value
    yaml.dump(document, path)


def described(folder: Path, photos: Path, counts: pd.DataFrame, seen: str) -> list[str]:
    """What was found: each class with its photos by split."""
    lines = [f"{folder}: a pipeline for {counts.to_numpy().sum()} photos of {len(counts)} classes in {photos} ({seen})"]
    for label, row in counts.iterrows():
        lines.append(f"  {label}: {row.sum()} photos: {', '.join(f'{row[name]} {name}' for name in row.index)}")
    return lines


def notes(counts: pd.DataFrame, unread: list[str]) -> list[str]:
    """What may surprise later."""
    lines = []
    totals = counts.sum(axis=1)
    if totals.max() > 2 * totals.min():
        lines.append(
            f"Unbalanced: {totals.max()} photos of {totals.idxmax()}, {totals.min()} of {totals.idxmin()}. "
            f"Each class counts alike all the same, by class_weights: balanced."
        )
    lines += splits.few(counts)
    if unread:
        lines.append(
            f"No photo: {len(unread)} of the files looked at, as {unread[0]}. The stage subset leaves such files out "
            f"and lists them in metrics/subset.json."
        )
    return lines


def deeper(found: pd.DataFrame) -> list[str]:
    """A line if some class has all its photos in two folders or more of its own: perhaps those are the classes."""
    level = 2 if "split" in found else 1  # that of the folders in a class folder
    inner: dict[str, set[str]] = {}  # of each class; "" for a photo right in the class folder
    for label, source in zip(found["label"], found["source"], strict=True):
        below = source.split("/")[level:-1]
        inner.setdefault(label, set()).add(below[0] if below else "")
    labels = [label for label, names in inner.items() if len(names) > 1 and "" not in names]
    if not labels:
        return []
    return [
        f"Folders in class folders: {splits.named(labels)}. All photos below count as that class. If the classes are "
        f"those inner folders, name the folder right above them with --photos."
    ]


def following(folder: Path, found: pd.DataFrame) -> list[str]:
    """The commands that come next."""
    name = shlex.quote(str(folder))
    rule = "as given" if "split" in found else "by fraction, of each photo by its bytes"
    rule += ", groups undivided" if "group" in found else ""
    return [
        f"Splits: {rule}. All this is in {folder / 'params.yaml'}, to be edited. Next:",
        f"  dvc --cd {name} repro              # copy the photos, train seven models, measure them",
        f"  cat {name}/plots/compare.md        # the models side by side; dvc metrics show has those of all pipelines",
        f"  smallset predict {name}/models/pooled.keras PHOTO",
        f"When the photos change: dvc --cd {name} repro --force download, then dvc --cd {name} repro",
    ]
