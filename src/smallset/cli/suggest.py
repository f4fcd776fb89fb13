"""`smallset suggest`: print which photos to label next."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from smallset.cli import console, options
from smallset.cli.predict import Query, predictions_of

if TYPE_CHECKING:
    from smallset.models.classifier import Prediction
    from smallset.models.reference import Reference

Number = Annotated[int, typer.Option("--top", min=1, metavar="N", help="How many photos to print.")]


def suggest(
    model: options.Model,
    folder: options.Folder,
    top: Number = 50,
    format: options.Format = None,  # noqa: A002 - the option's name
    batch_size: options.BatchSize = 32,
) -> None:
    """Print which photos to label next, the most useful ones first.

    These are photos for which two labels are about equally probable, and photos that probably show none of the classes.
    Photos that resemble one higher in the list come later.
    """
    from smallset.cli.output import Formatter
    from smallset.models.reference import OOD_RATE

    query, classifier = Query.for_model(model, ood_rate=OOD_RATE), console.load_classifier(model)
    predictions = list(predictions_of(classifier, [str(folder)], query, batch_size))
    formatter = Formatter(format, classifier.classes, 1, query.columns)
    print(formatter.header(), end="")
    readable = [prediction for prediction in predictions if not prediction.error]
    for prediction in select(readable, cast("Reference", classifier.reference), top):
        print(formatter.line(prediction), end="")
    raise typer.Exit(int(len(readable) < len(predictions)))


def select(predictions: "Sequence[Prediction]", reference: "Reference", top: int) -> "list[Prediction]":
    """Select up to `top` predictions, the photo to label first in front.

    The value of a photo is how uncertain its label is plus the rank of its OOD score. It falls with its similarity to
    each selected photo: a copy of it has none (maximal marginal relevance, Carbonell and Goldstein 1998, as a product).
    """
    if not predictions:
        return []
    rows = np.stack([prediction.coordinates for prediction in predictions])
    directions = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
    ordered = np.sort(np.stack([prediction.probabilities for prediction in predictions]), axis=1)
    scores = [prediction.ood_score for prediction in predictions]
    ranks = np.searchsorted(reference.ood_scores, scores) / len(reference.ood_scores)
    values, selected = 1 - (ordered[:, -1] - ordered[:, -2]) + ranks, list[int]()  # in 0..2
    for _ in range(min(top, len(predictions))):
        selected.append(int(np.argmax(values)))
        values *= 1 - np.clip(directions @ directions[selected[-1]], 0, 1)
        values[selected] = -1
    return [predictions[row] for row in selected]
