"""python -m benchmarks.probe OLD NEW: test whether version 0.3.0 labels more test photos correctly than version 0.2.0.

OLD and NEW are folders with a project per dataset, with the same names and test photos, after `dvc repro` of each.
"""

from pathlib import Path

import pandas as pd
import typer

from smallset.evaluation import significance
from smallset.pipeline import files

TABLE = Path(__file__).parent / "probe_pairs.csv"


def main(old: Path, new: Path) -> None:
    """Compare the linear probes of OLD (0.2.0) and NEW (0.3.0), paired by photo, and write probe_pairs.csv."""
    rows = [compare(old / folder.name, folder) for folder in sorted(new.iterdir()) if folder.is_dir()]
    table = pd.DataFrame(rows)
    table["p_holm"] = significance.holm(table["p"])
    files.write_csv(TABLE, table.round(6))
    typer.echo(table.to_string(index=False))


def compare(old: Path, new: Path) -> dict[str, str | int | float]:
    """Count the test photos of a dataset that only one of two projects labels correctly, with McNemar's exact p."""
    before, after = read_correct(old / "metrics/linear"), read_correct(new / "metrics/linear_probe")
    if set(before.index) != set(after.index):
        raise typer.BadParameter(f"{old} and {new} have different test photos.")
    after = after[before.index]
    only_old, only_new = int((before & ~after).sum()), int((after & ~before).sum())
    p = significance.mcnemar(only_old, only_new)
    return {"dataset": new.name, "n": len(before), "only_0.2.0": only_old, "only_0.3.0": only_new, "p": p}


def read_correct(metrics: Path) -> "pd.Series[bool]":
    """Whether each test photo, by class folder and name, is labeled correctly."""
    table = pd.read_csv(metrics / "predictions.csv", dtype=str, keep_default_na=False)
    names = ["/".join(Path(file).parts[-2:]) for file in table["file"]]
    return pd.Series((table["actual"] == table["predicted"]).to_numpy(), index=names)


if __name__ == "__main__":
    typer.run(main)
