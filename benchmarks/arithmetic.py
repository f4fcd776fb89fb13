"""How much a network computes, and how fast this machine multiplies at best."""

import math

import keras
import tensorflow as tf

from benchmarks.rounds import Work
from smallset.reports import costs

SIDE = 2048  # of the square matrices
TIMES = 16  # products a round: 275 GFLOP


def flop(model: keras.Model) -> int:
    """Floating point operations of one photo through the convolutions and dense layers; a multiply-add is two."""
    return 2 * costs.count_multiply_adds(model)


def product() -> Work:
    """Products of float32 matrices one after the other, in whatever precision this process multiplies."""
    factor = tf.Variable(tf.random.normal((SIDE, SIDE)) / math.sqrt(SIDE))  # keeps the values near 1
    start = tf.random.normal((SIDE, SIDE))

    @tf.function
    def products(x: tf.Tensor) -> tf.Tensor:
        for _ in range(TIMES):
            x = x @ factor
        return x

    return Work(lambda: products(start).numpy(), photos=1, gflop=TIMES * 2 * SIDE**3 / 1e9)
