"""The report and the model card: what the tables say, in words, charts and tables of one page."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd

from smallset.pipeline import provenance
from smallset.showing import charts, pictures, results

MATRIX = 12  # classes; a confusion matrix of more is no picture for people, and the commonest confusions are listed
CONFUSIONS = 12  # of each model, then
LEFT_OUT = 50  # photos that are listed with the reason
FINDINGS = ("pairs", "flags")  # the audit's counts of them
SELF = "report"  # this stage


@dataclass(frozen=True)
class Row:
    """A model in the table of all."""

    model: str
    accuracy: float
    low: float
    high: float
    loss: float
    auc: float | None
    ece: float | None
    runs: tuple[str, int] | None  # mean ± standard deviation of the accuracy, and over how many seeds
    published: tuple[str, ...]


@dataclass(frozen=True)
class Confusion:
    """Photos of each actual class by predicted class: counts and shares of the row; or where there are many classes,
    the commonest confusions: actual, predicted, photos."""

    model: str
    classes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, float]]]]
    commonest: Sequence[tuple[str, str, int]]


def environment() -> jinja2.Environment:
    """Templates of this package: HTML is escaped, Markdown is not; a value that is missing is an error."""
    own = jinja2.Environment(
        loader=jinja2.PackageLoader("smallset.showing"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own.filters |= {"listed": listed, "cell": cell}
    return own


def page(found: results.Results, gallery: pictures.Gallery) -> str:
    """The report: an HTML document with all that it shows, which asks nothing of any network."""
    areas = found.comparison.set_index("model").auc
    return (
        environment()
        .get_template("report.html")
        .render(
            **context(found),
            gallery=gallery,
            plot=charts.PLOT,
            training=[charts.training(model, rows) for model, rows in found.history.items()],
            confusion=[confusion(model, rows, found.classes) for model, rows in found.predictions.items()],
            roc=[charts.roc(model, rows, areas[model]) for model, rows in found.roc.items()],
            reliability=[
                charts.reliability(model, rows, errors(found.calibration.get(model)))
                for model, rows in found.reliability.items()
            ],
            temperatures=[(model, *ends(rows)) for model, rows in found.calibration.items() if len(rows) == 2],
            left_out=list(found.subset.get("left_out", {}).items()),
            shown=LEFT_OUT,
            machines=machines(found.stages),
        )
    )


def card(found: results.Results, side: int, weights: int) -> str:
    """The best model's card in Markdown (Mitchell et al. 2019; Hugging Face's sections).

    side: px of the square that the model takes; weights: how many numbers it has. It tells nothing that differs from
    one run to the next.
    """
    return environment().get_template("model-card.md").render(**context(found), side=side, weights=weights)


def context(found: results.Results) -> dict[str, Any]:
    """What both templates tell."""
    table = rows(found)
    best = next(row for row in table if row.model == found.best)
    n = int(found.comparison.n[found.comparison.model == found.best].iloc[0])
    return {
        "found": found,
        "table": table,
        "repeated": any(row.runs for row in table),
        "best": best,
        "n": n,
        "right": round(best.accuracy * n),
        "ends": (min(row.low for row in table), max(row.high for row in table)),
        "even": found.rivals(real=False),
        "worse": found.rivals(real=True),
        "crossing": int(found.duplicates.crosses_splits.sum()) if len(found.duplicates) else 0,
        "source": found.download.get("source", ""),
        "counts": found.subset.get("photos", {}),
        "findings": [(name, count) for kind in FINDINGS for name, count in found.audit.get(kind, {}).items()],
    }


def rows(found: results.Results) -> list[Row]:
    """A row for each model, in the pipeline's order."""
    return [
        Row(
            model=row["model"],
            accuracy=row["accuracy"],
            low=row["low"],
            high=row["high"],
            loss=row["loss"],
            auc=None if pd.isna(row["auc"]) else row["auc"],
            ece=row.get("ece"),
            runs=(f"{row['mean']:.4f} ± {row['sd']:.4f}", int(row["seeds"])) if row.get("seeds", 0) > 1 else None,
            published=results.PUBLISHED.get(row["model"], ("–",) * 3) if found.published else (),
        )
        for row in found.comparison.to_dict("records")
    ]


def ends(calibration: pd.DataFrame) -> tuple[dict[Hashable, float], dict[Hashable, float]]:
    """The row "before" and the row "after" of one model's temperature."""
    known = calibration.set_index("when").to_dict("index")
    return known["before"], known["after"]


def errors(calibration: pd.DataFrame | None) -> dict[str, float]:
    """The expected calibration error by "before" and "after"; nothing of a model that has none."""
    return {} if calibration is None else dict(zip(calibration.when, calibration.ece, strict=True))


def confusion(model: str, predictions: pd.DataFrame, classes: Sequence[str]) -> Confusion:
    """Of one model."""
    if len(classes) > MATRIX:
        wrong = predictions[predictions.actual != predictions.predicted]
        pairs = wrong.value_counts(["actual", "predicted"]).head(CONFUSIONS).reset_index()
        return Confusion(model, classes, [], list(pairs.itertuples(index=False, name=None)))
    counts = pd.crosstab(predictions.actual, predictions.predicted)
    counts = counts.reindex(index=list(classes), columns=list(classes), fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    lines = [(name, list(zip(counts.loc[name], shares.loc[name], strict=True))) for name in classes]
    return Confusion(model, classes, lines, [])


def machines(stages: provenance.Record) -> list[tuple[list[str], provenance.Facts]]:
    """What the stages ran with: those with the same facts together; this one is not known yet."""
    alike: dict[str, tuple[list[str], provenance.Facts]] = {}
    for name, record in stages.items():
        facts = {key: value for key, value in record.items() if key != provenance.RESULTS}
        if name != SELF:
            alike.setdefault(repr(facts), ([], facts))[0].append(name)
    return list(alike.values())


def listed(names: Sequence[str]) -> str:
    """As a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def cell(text: object) -> str:
    """Text in a Markdown table."""
    return str(text).replace("|", "\\|")
