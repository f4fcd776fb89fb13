"""8.2-8.3  One page on all of it, and a card that goes with the best model."""

from pathlib import Path

from smallset.measures import since
from smallset.networks import saving
from smallset.pipeline import stage
from smallset.showing import explanation, pictures, report, results
from smallset.storage import files

METRICS = Path("metrics")
PARAMS = Path("params.yaml")
SUBSET = Path("data/subset")
MODELS = Path("models")
PLOTS = Path("plots")


def main() -> None:
    print(since.record(METRICS))
    found = results.read(METRICS, PARAMS)
    name = found.best
    model, classes = saving.load(MODELS / f"{name}.keras"), saving.classes(MODELS / f"{name}.keras")
    chosen = pictures.examples(found.predictions[name])
    overlays = explanation.overlays(model, classes, chosen, SUBSET / "test", pictures.SIDE)
    gallery = pictures.Gallery(
        mistakes=pictures.mistakes(found.predictions, name, SUBSET / "test"),
        heat=pictures.heat(name, chosen, overlays, SUBSET / "test"),
        duplicates=pictures.duplicates(found.duplicates, SUBSET),
        suspects=pictures.suspects(found.suspects, SUBSET),
        augmented=pictures.drawn(PLOTS / "augmented.png", "One training photo, augmented nine times"),
    )
    files.write_text(PLOTS / "report.html", report.page(found, gallery))
    files.write_text(PLOTS / "model-card.md", report.card(found, model.input_shape[1], model.count_params()))


stage.run(main)
