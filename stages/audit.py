"""8.2.2  Find photos that are in two splits, twice in one, or unlike the rest."""

import json
from pathlib import Path

from smallset.datasets import lists, splits
from smallset.evaluation import duplicates
from smallset.pipeline import files, stage
from smallset.reports import figures

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
RECORD = Path("metrics/subset.json")
METRICS = Path("metrics")
PICTURE = Path("plots/audit.png")


def main() -> None:
    p = stage.load_params()
    looks = duplicates.look({split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in splits.SPLITS})
    table, pairs = duplicates.flagged(looks.table), duplicates.pairs(looks, p.audit.near)
    left_out = json.loads(RECORD.read_text(encoding="utf-8"))["left_out"]
    files.write_json(METRICS / "audit.json", duplicates.summary(table, pairs, left_out))
    files.write_csv(METRICS / "audit/pairs.csv", pairs)
    files.write_csv(METRICS / "audit/photos.csv", table)
    figures.save(figures.pairs(pairs, SUBSET), PICTURE)
    print(duplicates.judge(pairs, left_out, p.audit.leakage))
    files.write_text(METRICS / "audit/passed.txt", "Training may begin.\n")


stage.run(main)
