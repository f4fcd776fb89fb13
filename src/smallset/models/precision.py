"""How TensorFlow computes: one seed for every draw, the same bits in every run, bfloat16 where the CPU has it."""

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from smallset.pipeline import provenance

BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"  # TensorFlow's option for it
CHOSEN: set[str] = set()  # what `prepare` chose
ASKED: dict[str, Any] = {}  # what it was called with


def prepare(seed: int, precision: str) -> None:
    """Seed Python, NumPy and TensorFlow, ask for deterministic kernels, and choose the precision of convolutions.

    precision: "auto" convolves in bfloat16 (float32 sums and weights) on a CPU that does so in hardware: twice as
    fast, with the same accuracy. Without that hardware bfloat16 is emulated and slow, so float32 stays, as on a GPU.
    Dense layers compute in float32 all the same: few products beside those of the convolutions, and the last of them
    gives the probabilities, of which bfloat16 knows 256 between a half and one.
    """
    ASKED.update(seed=seed, precision=precision)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if (
        precision == "auto"
        and not tf.config.list_physical_devices("GPU")
        and has_bfloat16(provenance.processor_flags())
    ):
        os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_ALLOWLIST_REMOVE"] = "MatMul"
        tf.config.optimizer.set_experimental_options({BFLOAT16: True})
        CHOSEN.add(BFLOAT16)


def again() -> Callable[[], None]:
    """What has another process, of a cluster, compute as this one does."""
    return partial(prepare, **ASKED) if ASKED else lambda: None


def in_bfloat16() -> bool:
    """Whether `prepare` chose bfloat16."""
    return BFLOAT16 in CHOSEN


def suit(network: keras.Model) -> None:
    """Take float32 for a network with depthwise convolutions, which TensorFlow trains faster in it than in bfloat16."""
    kinds = {type(layer) for layer in network._flatten_layers()}
    pays = in_bfloat16() and keras.layers.DepthwiseConv2D not in kinds
    tf.config.optimizer.set_experimental_options({BFLOAT16: pays})


def has_bfloat16(flags: Collection[str]) -> bool:
    """True for a processor with AVX512-BF16 or AMX-BF16, by its flags."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
