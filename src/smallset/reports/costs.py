"""What a model costs: the size of its file, and how much it computes for a photo."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smallset.models import model_file

if TYPE_CHECKING:
    import keras

MB, GMAC = "MB", "GMAC"
COLUMNS = {MB: "size of the model's file", GMAC: "billions of multiply-adds for one photo, which its time depends on"}


def measure(folder: Path, models: Sequence[str]) -> dict[str, dict[str, str]]:
    """The COLUMNS of each model; a dash for those of other pipelines.

    A time in ms would differ from run to run, and so would the bytes of the report.
    """
    costs = {}
    for model in models:
        path, costs[model] = folder / f"models/{model}.keras", dict.fromkeys(COLUMNS, "–")
        if path.is_file():
            computed = count_multiply_adds(model_file.open_network(path)) / 1e9
            costs[model] = {MB: f"{path.stat().st_size / 1e6:.1f}", GMAC: f"{float(f'{computed:.2g}'):g}"}
    return costs


def count_multiply_adds(network: "keras.Model") -> int:
    """Multiply-adds of one photo through the convolutions and dense layers of a network.

    For each value of its output, a dense layer takes as many as it has inputs, a convolution as many as its kernel has
    values for one channel of the output.
    """
    import keras

    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            total += count_multiply_adds(layer)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            total += math.prod(layer.kernel.shape[:2]) * math.prod(layer.output.shape[1:])
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            total += math.prod(layer.kernel.shape[:-1]) * math.prod(layer.output.shape[1:])
    return total
