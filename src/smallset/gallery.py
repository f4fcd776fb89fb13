"""Pictures of photos: what augmentation does to them, and which ones a model gets wrong."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from smallset import images, photos, plots

AUGMENTED = 9  # draws of one photo, in three rows: listing 8.15
MISTAKES = 12  # photos in the picture of a model's most confident mistakes


def augmented(found: photos.Photos, augment: keras.Model) -> Figure:
    """The first photo, augmented again and again."""
    pixels = images.first(found, 1, augment.input_shape[1])
    draws = [np.asarray(augment(pixels, training=True))[0] for _ in range(AUGMENTED)]
    return plots.grid(draws, [""] * AUGMENTED, columns=3)


def mistakes(predictions: pd.DataFrame, folder: Path) -> Figure:
    """The photos below `folder` that the model is most sure of and wrong about, the surest first."""
    wrong = predictions[predictions.actual != predictions.predicted]
    worst = wrong.sort_values(["probability", "file"], ascending=[False, True]).head(MISTAKES)
    titles = [f"{row.file}\n{row.predicted} {row.probability:.4f}" for row in worst.itertuples()]
    pixels = [photos.decode(folder / file).astype(np.float32) for file in worst.file]
    return plots.grid(pixels, titles, columns=4)
