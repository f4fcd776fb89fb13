"""The report and the model card: what the tables say, in words, charts and tables of one page."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd

from smallset.evaluation import comparison
from smallset.pipeline import provenance, text
from smallset.reports import charts, findings, insights, results, thumbnails

MATRIX = 12  # classes; a confusion matrix of more is no picture for people, and the commonest confusions are listed
CONFUSIONS = 12  # of each model, then
LEFT_OUT = 50  # photos that are listed with the reason
SHOWN = 6  # photos of a kind; the others are folded
SELF = "report"  # this stage
SOURCES = {  # where the photos are from, by what metrics/download.json begins with; of a project of one's own nothing
    "dogs-vs-cats": "Dogs vs. Cats, as Microsoft and Kaggle published them",
    "mnist": "MNIST's handwritten digits",
    "sample": "drawn by smallset, not photographed",
}
OWN = "the project's own"


@dataclass(frozen=True)
class Row:
    """A model in the table of all."""

    model: str
    accuracy: float
    low: float
    high: float
    val_loss: float
    loss: float
    auc: float | None
    ece: float
    noise: float  # the ECE below which it is noise
    runs: tuple[str, int] | None  # mean ± standard deviation of the accuracy, and over how many seeds
    published: tuple[str, ...]


@dataclass(frozen=True)
class Confusion:
    """Photos of each actual class by predicted class: counts and shares of the row; or where there are many classes,
    the commonest confusions: actual, predicted, photos."""

    classes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, float]]]]
    commonest: Sequence[tuple[str, str, int]]


def environment() -> jinja2.Environment:
    """Templates of this package; a value that is missing is an error.

    What a file or a class may be called is text in both: in HTML every value is made visible and escaped; in Markdown,
    those that go through the filter `plain`.
    """
    own = jinja2.Environment(
        loader=jinja2.PackageLoader("smallset.reports"),
        autoescape=jinja2.select_autoescape(["html"]),
        finalize=lambda value: text.visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own.filters |= {"listed": listed, "plain": text.plain, "counted": text.counted}
    return own


def page(found: results.Results, odd: Sequence[findings.Finding], gallery: thumbnails.Gallery) -> str:
    """The report: an HTML document with all that it shows, which asks nothing of any network."""
    areas = found.models.set_index("model").auc
    more = charts.learning(found.learning) if len(found.learning) else None
    figures: dict[str, Mapping[str, Any]] = {
        "training": {model: charts.training(model, rows) for model, rows in found.history.items()},
        "confusion": {model: confusion(rows, found.classes) for model, rows in found.predictions.items()},
        "roc": {model: charts.roc(model, rows, areas[model]) for model, rows in found.roc.items()},
        "reliability": {
            model: charts.reliability(model, rows, errors(found.calibration.get(model)))
            for model, rows in found.reliability.items()
        },
    }
    return (
        environment()
        .get_template("report.html")
        .render(
            **context(found, odd),
            **{name: first(of_models, found.best) for name, of_models in figures.items()},
            gallery=gallery,
            more=more,
            plot=charts.PLOT,
            columns=comparison.COLUMNS,
            temperatures=[(model, *ends(rows)) for model, rows in found.calibration.items() if len(rows) == 2],
            left_out=list(found.subset.get("left_out", {}).items()),
            most=LEFT_OUT,
            shown=SHOWN,
            machines=machines(found.stages),
        )
    )


def card(found: results.Results, odd: Sequence[findings.Finding], side: int, weights: int) -> str:
    """The best model's card in Markdown (Mitchell et al. 2019; Hugging Face's sections).

    side: px of the square that the model takes; weights: how many numbers it has. It tells nothing that differs from
    one run to the next.
    """
    return environment().get_template("model-card.md").render(**context(found, odd), side=side, weights=weights)


def summary(found: results.Results, odd: Sequence[findings.Finding], page: str) -> str:
    """The result in a few lines for a terminal; page: where the report is."""
    take, *others = comparison.choice(found.models, found.pairs)
    look = ", ".join(finding.count for finding in odd) or "nothing in the photos, as far as the audit sees"
    learnt = filter(None, [insights.more_photos(found.learning)])
    audited = [f"Worth a look: {look}."] if len(found.photos) else []
    told = [f"{found.name}: {take}", *others, *learnt, *audited, f"All of it: {page}"]
    return "\n".join(map(text.visible, told))


def context(found: results.Results, odd: Sequence[findings.Finding]) -> dict[str, Any]:
    """What both templates tell."""
    table = rows(found)
    best = next(row for row in table if row.model == found.best)
    n = int(found.models.n.iloc[0])
    return {
        "found": found,
        "findings": odd,
        "audited": len(found.photos) > 0,
        "table": table,
        "repeated": any(row.runs for row in table),
        "best": best,
        "n": n,
        "right": round(best.accuracy * n),
        "ends": (min(row.low for row in table), max(row.high for row in table)),
        "choice": comparison.choice(found.models, found.pairs),
        "crossed": insights.crossed(found.crossed, found.models),
        "learning": insights.more_photos(found.learning),
        "even": comparison.rivals(found.pairs, found.best, real=False),
        "worse": comparison.rivals(found.pairs, found.best, real=True),
        "sets": found.sets[found.best].to_dict("records") if found.best in found.sets else [],
        "unlike": unlike(found),
        "crossing": int(found.duplicates.crosses_splits.sum()) if len(found.duplicates) else 0,
        "source": SOURCES.get(found.download.get("source", "").partition(":")[0], OWN),
        "counts": found.subset.get("photos", {}),
        "corrected": insights.corrected(found.subset),
    }


def unlike(found: results.Results) -> float | None:
    """The share of test photos that the best model calls unlike those that it was trained on; None if it cannot."""
    share = next(row for row in found.models.to_dict("records") if row["model"] == found.best).get("unlike")
    return None if share is None or pd.isna(share) else float(share)


def rows(found: results.Results) -> list[Row]:
    """A row for each model, in the pipeline's order."""
    return [
        Row(
            **{name: row[name] for name in ("model", "accuracy", "low", "high", "val_loss", "loss", "ece")},
            auc=None if pd.isna(row["auc"]) else row["auc"],
            noise=row["ece_noise"],
            runs=(f"{row['mean']:.4f} ± {row['sd']:.4f}", int(row["seeds"])) if row["seeds"] > 1 else None,
            published=results.PUBLISHED.get(row["model"], ("–",) * 3) if found.published else (),
        )
        for row in found.models.to_dict("records")
    ]


def first(of_models: Mapping[str, Any], best: str) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """What is shown of the best model, if anything, and of the others: each a list of names and charts."""
    return [(best, of_models[best])] if best in of_models else [], [
        (model, one) for model, one in of_models.items() if model != best
    ]


def ends(calibration: pd.DataFrame) -> tuple[dict[Hashable, float], dict[Hashable, float]]:
    """The row "before" and the row "after" of one model's temperature."""
    known = calibration.set_index("when").to_dict("index")
    return known["before"], known["after"]


def errors(calibration: pd.DataFrame | None) -> dict[str, float]:
    """The expected calibration error by "before" and "after"; nothing of a model that has none."""
    return {} if calibration is None else dict(zip(calibration.when, calibration.ece, strict=True))


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> Confusion:
    """Of one model."""
    if len(classes) > MATRIX:
        wrong = predictions[predictions.actual != predictions.predicted]
        pairs = wrong.value_counts(["actual", "predicted"]).head(CONFUSIONS).reset_index()
        return Confusion(classes, [], list(pairs.itertuples(index=False, name=None)))
    counts = pd.crosstab(predictions.actual, predictions.predicted)
    counts = counts.reindex(index=list(classes), columns=list(classes), fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    lines = [(name, list(zip(counts.loc[name], shares.loc[name], strict=True))) for name in classes]
    return Confusion(classes, lines, [])


def machines(stages: provenance.Record) -> list[tuple[list[str], provenance.Facts]]:
    """What the stages ran with: those with the same facts together; this one is not known yet."""
    alike: dict[str, tuple[list[str], provenance.Facts]] = {}
    for name, record in stages.items():
        facts = {key: value for key, value in record.items() if key != provenance.RESULTS}
        if name != SELF:
            alike.setdefault(repr(facts), ([], facts))[0].append(name)
    return list(alike.values())


def listed(words: Sequence[str]) -> str:
    """As a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
