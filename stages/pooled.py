"""8.3+   Fine-tune the top and a linear classifier of its pooled features, on larger photos."""

from pathlib import Path

from smallset import caches, files, photos, pooling, runtime, saving, stage, transfer

SUBSET = Path("data/subset")
BASE = Path("models/base/larger")
LARGER = Path("data/larger")
HISTORY = Path("metrics/pooled/history.csv")
MODEL = Path("models/pooled.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = (
        caches.read(LARGER / f"{split}.npy", photos.find(SUBSET / split)) for split in ("train", "validation")
    )
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    head = pooling.head(top, train, p.pooled)
    backup = stage.backup(MODEL)
    model, history, temperature = transfer.fit([trunk], [top, head], train, validation, p.pooled, p.seed, backup)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.photos.classes, temperature)
    backup.remove()


stage.run(main)
