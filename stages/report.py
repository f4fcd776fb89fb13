"""8.2-8.3  One page on all of it, a card that goes with the best model, and the result in a few lines."""

from pathlib import Path

from smallset.evaluation import diff
from smallset.models import model_file
from smallset.pipeline import files, stage, text
from smallset.reports import findings, gradcam, report, results, thumbnails

METRICS = Path("metrics")
PARAMS = Path("params.yaml")
SUBSET = Path("data/subset")
MODELS = Path("models")
PLOTS = Path("plots")
PAGE = Path("plots/report.html")


def main() -> None:
    print(text.lines(diff.record(METRICS)))
    found = results.read(METRICS, PARAMS, text.project(Path.cwd()))
    name = found.best
    model, classes = model_file.classifier(MODELS / f"{name}.keras")
    chosen = thumbnails.examples(found.predictions[name])
    overlays = gradcam.overlays(model, classes, chosen, SUBSET / "test", thumbnails.SIDE)
    gallery = thumbnails.Gallery(
        mistakes=thumbnails.mistakes(found.predictions, name, SUBSET / "test"),
        heat=thumbnails.heat(name, chosen, overlays, SUBSET / "test"),
        augmented=thumbnails.drawn(PLOTS / "augmented.png", "One training photo, augmented nine times"),
    )
    odd = findings.all_of(found, SUBSET)
    files.write_text(PAGE, report.page(found, odd, gallery))
    files.write_text(PLOTS / "model-card.md", report.card(found, odd, model.input_shape[1], model.count_params()))
    print(report.summary(found, odd, str(PAGE.absolute())))


stage.run(main)
