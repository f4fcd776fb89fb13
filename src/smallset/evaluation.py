"""What a saved model is worth on photos that it has never seen, in float32, as whoever loads the file gets it."""

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

from smallset import images, photos

BATCH = 32  # photos; moves speed and memory, no result


def predict(model: keras.Model, found: photos.Photos) -> NDArray[np.float64]:
    """P(second class) of each photo, (n,), from one pass in the order of `found`."""
    pixels = images.load(found, model.input_shape[1], BATCH)
    return np.asarray(model.predict(pixels, verbose=2), np.float64).ravel()


def measures(labels: NDArray[np.int64], probability: NDArray[np.float64]) -> dict[str, float]:
    """Accuracy at 0.5, cross-entropy in nats, area under the ROC curve, and the number of photos."""
    return {
        "accuracy": round(float(metrics.accuracy_score(labels, probability > 0.5)), 6),
        "loss": round(float(metrics.log_loss(labels, probability, labels=[0, 1])), 6),
        "auc": round(float(metrics.roc_auc_score(labels, probability)), 6),
        "n": len(labels),
    }


def predictions(found: photos.Photos, probability: NDArray[np.float64]) -> pd.DataFrame:
    """A row for each photo: file, actual and predicted class, and the probability of the predicted class (0.5..1)."""
    classes = np.array(found.classes)
    return pd.DataFrame(
        {
            "file": found.files,
            "actual": classes[found.labels],
            "predicted": classes[(probability > 0.5).astype(int)],
            "probability": np.maximum(probability, 1 - probability),
        }
    )


def roc(labels: NDArray[np.int64], probability: NDArray[np.float64]) -> pd.DataFrame:
    """The corners of the ROC curve: false and true positive rate, the second class being the positive one."""
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(labels, probability)
    return pd.DataFrame({"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate})
