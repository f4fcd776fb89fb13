"""8.2.2  Find photos that are in two splits, twice in one, or unlike the rest."""

import json
from pathlib import Path

from smallset.measures import audit
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.showing import plots
from smallset.sources import splits
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
RECORD = Path("metrics/subset.json")
METRICS = Path("metrics")
PICTURE = Path("plots/audit.png")


def main() -> None:
    p = stage.load_params()
    looks = audit.look({split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in splits.SPLITS})
    table, pairs = audit.flagged(looks.table), audit.pairs(looks, p.audit.near)
    left_out = json.loads(RECORD.read_text(encoding="utf-8"))["left_out"]
    files.write_json(METRICS / "audit.json", audit.summary(table, pairs, left_out))
    files.write_csv(METRICS / "audit/pairs.csv", pairs)
    files.write_csv(METRICS / "audit/photos.csv", table)
    plots.save(plots.pairs(pairs, SUBSET), PICTURE)
    print(audit.judge(pairs, left_out, p.audit.leakage))
    files.write_text(METRICS / "audit/passed.txt", "Training may begin.\n")


stage.run(main)
