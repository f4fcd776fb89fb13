"""8.3.2  Go on training the top of the base together with the head, slowly (listings 8.27-8.28)."""

from pathlib import Path

from smallset import augmentation, caches, files, photos, runtime, saving, stage, transfer

SUBSET = Path("data/subset")
ACTIVATIONS = Path("data/activations")
START = Path("models/augmented.keras")
HISTORY = Path("metrics/fine_tune/history.csv")
MODEL = Path("models/fine_tune.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train = caches.read(ACTIVATIONS / "views/train.npy", photos.find(SUBSET / "train"))
    validation = caches.read(ACTIVATIONS / "photos/validation.npy", photos.find(SUBSET / "validation"))
    start = saving.load(START)
    trunk, top, head = (start.get_layer(name) for name in ("trunk", "top", "head"))
    augment = augmentation.build(p.augmentation, start.input_shape[1], p.seed)
    backup = stage.backup(MODEL)
    parts = [trunk], [top, head]
    model, history, temperature = transfer.fit_views(*parts, train, validation, p.fine_tune, p.seed, backup, augment)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.photos.classes, temperature)
    backup.remove()


stage.run(main)
