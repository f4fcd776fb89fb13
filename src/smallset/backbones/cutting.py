"""Where a base is cut that has no layer in `applications.CUTS`: by its graph alone."""

import math

import keras
import numpy as np
from keras import tree

ABOVE = 0.1  # of the weights, at least, lie above the cut where all blocks are of one resolution: of 12 blocks, 2


def end_of_trunk(base: keras.Model) -> str:
    """The layer that ends a base's last stage but one, as of ResNets; a stage is what has one resolution.

    Where all blocks are of one, as in ViTs, the last of them lie above it, with `ABOVE` of the weights; of a base in
    one piece, nothing does.
    """
    steps = base.operations
    weighted = [index for index, step in enumerate(steps) if weights_of(step)]
    finer = [index for index in weighted if places(steps[index]) > places(steps[weighted[-1]])]
    ends = [index for index in bottlenecks(base) if weighted[0] <= index < len(steps) - 1]
    if finer:
        last_stage = min(index for index in weighted if index > finer[-1])
        return steps[narrowest([index for index in ends if index < last_stage], base)].name
    above = base.count_params() - np.cumsum([weights_of(step) for step in steps])
    upper = [index for index in ends if above[index] >= ABOVE * base.count_params()]
    return steps[(upper or ends)[-1]].name


def weights_of(step: keras.Operation) -> int:
    """How many weights a layer has; an operation that is no layer has none."""
    return step.count_params() if isinstance(step, keras.Layer) else 0


def places(step: keras.Operation) -> int:
    """How many places the map (n, h, w, c) or the tokens (n, t, c) have that a layer gives."""
    return math.prod(step.output.shape[1:-1])


def bottlenecks(base: keras.Model) -> list[int]:
    """Which of a model's operations are layers whose output is all that those after them need."""
    steps = base.operations
    needed = {id(given): index for index, step in enumerate(steps) for given in tree.flatten(step.input)}
    needed[id(base.output)] = len(steps)
    found: list[int] = []
    waiting: set[int] = set()
    for index, step in enumerate(steps):
        outputs = {id(output) for output in tree.flatten(step.output)}
        waiting = {tensor for tensor in waiting | outputs if needed.get(tensor, 0) > index}
        if len(outputs) == 1 and waiting == outputs and isinstance(step, keras.Layer):
            found.append(index)
    return found


def narrowest(ends: list[int], base: keras.Model) -> int:
    """The last of the ends, or one right before it that gives fewer values, as that before a block that widens."""
    sizes = [math.prod(base.operations[index].output.shape[1:]) for index in ends]
    first = len(ends) - 1
    while first and ends[first - 1] == ends[first] - 1 and sizes[first - 1] <= sizes[first]:
        first -= 1
    return ends[max(range(first, len(sizes)), key=lambda at: (-sizes[at], at))]
