"""8.2-8.3  One page on all of it, a card that goes with the best model, and the result in a few lines."""

from pathlib import Path

from smallset.measures import since
from smallset.networks import saving
from smallset.pipeline import names, stage
from smallset.showing import explanation, findings, pictures, report, results
from smallset.storage import files

METRICS = Path("metrics")
PARAMS = Path("params.yaml")
SUBSET = Path("data/subset")
MODELS = Path("models")
PLOTS = Path("plots")
PAGE = Path("plots/report.html")


def main() -> None:
    print(names.lines(since.record(METRICS)))
    found = results.read(METRICS, PARAMS, names.project(Path.cwd()))
    name = found.best
    model, classes = saving.classifier(MODELS / f"{name}.keras")
    chosen = pictures.examples(found.predictions[name])
    overlays = explanation.overlays(model, classes, chosen, SUBSET / "test", pictures.SIDE)
    gallery = pictures.Gallery(
        mistakes=pictures.mistakes(found.predictions, name, SUBSET / "test"),
        heat=pictures.heat(name, chosen, overlays, SUBSET / "test"),
        augmented=pictures.drawn(PLOTS / "augmented.png", "One training photo, augmented nine times"),
    )
    odd = findings.all_of(found, SUBSET)
    files.write_text(PAGE, report.page(found, odd, gallery))
    files.write_text(PLOTS / "model-card.md", report.card(found, odd, model.input_shape[1], model.count_params()))
    print(report.summary(found, odd, str(PAGE.absolute())))


stage.run(main)
