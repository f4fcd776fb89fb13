"""The probabilities of classes from the outputs of a network."""

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError

TOLERANCE = 0.02  # of a probability and of the sum of all classes: bfloat16 has 8 bits of precision


def to_class_probabilities(output: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert a network's output to P(class), (n, classes): the column p of a sigmoid becomes 1 - p and p.

    Raises:
        SmallsetError: The values are not in 0..1, or the rows of a softmax do not sum to 1.
    """
    values = np.asarray(output, np.float64)
    rows = np.hstack([1 - values, values]) if values.shape[1] == 1 else values
    if not (np.abs(rows - 0.5) <= 0.5 + TOLERANCE).all() or not (np.abs(rows.sum(axis=1) - 1) <= TOLERANCE).all():
        raise SmallsetError(
            f"The model's outputs are not probabilities: expected values in 0..1 with a sum of 1 per photo, found "
            f"{values.min():.3g} to {values.max():.3g}. Use a model whose last layer is a softmax, or one sigmoid."
        )
    return rows
