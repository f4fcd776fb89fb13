"""`smallset init`: a pipeline folder for the user's own photos, beside the reference pipeline in a clone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from smallset.photos import decoding, walking
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.sources import arrangements, splits
from smallset.storage import files

GRAPH = "dvc.yaml"
ROOT = ("  - root: .\n", "  - root: ..\n")  # where stages/ and src/ are, from the clone's graph and from a folder's
CODE = ("stages", "src")
IGNORED = "# what DVC makes\n/data/\n/models/\n/plots/\n"
FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
CONVNETS = ("convnet", "convnet_augmented")
LOOKED_AT = 200  # photos whose sizes are read
FEW = 50  # test photos of a class; of fewer, one mistake moves its recall by more than two points
NAMED = 6  # classes in one line
STEPS = 63  # of an epoch of the reference pipeline, for which its ema_momentum is


def create(folder: Path, photos: Path, table: Path | None) -> str:
    """Make the pipeline `folder`, whole or not at all; return what was found and what to run next.

    The photos are only looked at: the stage `download` copies them.
    """
    photos, table = photos.expanduser(), table.expanduser() if table else None  # no shell does it in --photos=~/birds
    check_place(folder, photos)
    p = params.read(Path("params.yaml"))
    found, words = arrangements.read(photos, table)
    counts = split_counts(found, p.seed)
    sides, unread = shorter_sides(photos, found)
    side = min(p.image.side, max(p.convnet.smallest, int(np.median(sides))))
    subset = {"by": "given", **dict.fromkeys(FRACTIONS)} if "split" in found else {"by": "fraction", **FRACTIONS}
    subset |= {"exclude": []}  # of other photos
    own = {"source": "folder", "folder": str(photos.resolve()), "table": str(table.resolve()) if table else None}
    with files.whole(folder) as draft:
        draft.mkdir()
        share(draft)
        files.write_text(draft / ".gitignore", IGNORED)
        changes = fitted(p, side, int(counts["train"].sum()))
        write_params(draft / "params.yaml", changes | {"download": own, "subset": subset})
        params.read(draft / "params.yaml")
    seen = f"shorter side {np.median(sides):.0f} px in the median, image.side: {side}"
    said = [*described(folder, photos, counts, seen), *words, *notes(counts, unread), *following(folder, found)]
    return "\n".join(said)


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


def split_counts(found: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Photos by class (rows) and split (columns), if all decode; SmallsetError for a class that is too small."""
    split = found["split"] if "split" in found else splits.by_fraction(found, FRACTIONS, seed)
    counts = pd.crosstab(found["label"], split).reindex(columns=list(FRACTIONS), fill_value=0)
    rare = counts[(counts == 0).any(axis=1)]
    if len(rare):
        parts = [
            f"{label}: {row.sum()} ({', '.join(f'{n} {split}' for split, n in row.items())})"
            for label, row in rare.iterrows()
        ]
        raise SmallsetError(
            f"Too few photos to be in every split, at 0.6, 0.2, 0.2: {'; '.join(parts)}. Add photos of "
            f"{'these classes' if len(rare) > 1 else 'that class'}, or take them away. (Groups are not divided.)"
        )
    return counts


def shorter_sides(folder: Path, found: pd.DataFrame) -> tuple[list[int], dict[str, str]]:
    """The shorter sides, px, of up to 200 photos spread over all; headers tell. And why others do not open."""
    rows = np.unique(np.linspace(0, len(found) - 1, LOOKED_AT).astype(int))
    sides, unread = [], {}
    for source in found["source"].iloc[rows]:
        try:
            sides.append(min(decoding.size(folder / source)))
        except SmallsetError as error:
            unread[source] = str(error).removeprefix(f"{folder / source}: ")
    if not sides:
        raise SmallsetError(
            f"{folder}: no photo opens of {len(unread)} that were looked at: {walking.counted(unread)}."
        )
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


def notes(counts: pd.DataFrame, unread: dict[str, str]) -> list[str]:
    """What may surprise later."""
    lines = []
    totals = counts.sum(axis=1)
    if totals.max() > 2 * totals.min():
        lines.append(
            f"Unbalanced: {totals.max()} photos of {totals.idxmax()}, {totals.min()} of {totals.idxmin()}. "
            f"Each class counts alike all the same, by class_weights: balanced."
        )
    if few := [f"{label} ({count})" for label, count in counts["test"].items() if count < FEW]:
        lines.append(f"Few test photos: {listed(few)}. Small differences between the models will mean nothing.")
    if unread:
        lines.append(
            f"Of the photos looked at, not read: {walking.counted(unread)}. The stage subset leaves such photos out and "
            f"lists them in metrics/subset.json."
        )
    return lines


def listed(words: Sequence[str]) -> str:
    """The words, or the first ones and how many more there are."""
    return ", ".join(words[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")


def following(folder: Path, found: pd.DataFrame) -> list[str]:
    """The commands that come next."""
    name = shlex.quote(str(folder))
    rule = "as given" if "split" in found else "by fraction, drawn with the seed"
    rule += ", groups undivided" if "group" in found else ""
    return [
        f"Splits: {rule}. All this is in {folder / 'params.yaml'}, to be edited. Next:",
        f"  dvc --cd {name} repro              # copy the photos, train seven models, measure them",
        f"  cat {name}/plots/compare.md        # the models side by side; dvc metrics show has those of all pipelines",
        f"  smallset predict {name}/models/pooled.keras PHOTO",
        f"When the photos change: dvc --cd {name} repro --force download, then dvc --cd {name} repro",
    ]
