"""How TensorFlow computes: one seed for every draw, the same bits in every run, bfloat16 where the CPU has it."""

import os
from collections.abc import Collection

import keras
import tensorflow as tf

from smallset.pipeline import provenance


def prepare(seed: int, precision: str) -> None:
    """Seed Python, NumPy and TensorFlow, ask for deterministic kernels, and choose the precision of convolutions.

    precision: "auto" convolves in bfloat16 (float32 sums and weights) on a CPU that does so in hardware: twice as
    fast, with the same accuracy. Without that hardware bfloat16 is emulated and slow, so float32 stays, as on a GPU.
    Dense layers compute in float32 all the same: few products beside those of the convolutions, and the last of them
    gives the probabilities, of which bfloat16 knows 256 between a half and one.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if (
        precision == "auto"
        and not tf.config.list_physical_devices("GPU")
        and has_bfloat16(provenance.processor_flags())
    ):
        os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_ALLOWLIST_REMOVE"] = "MatMul"
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def has_bfloat16(flags: Collection[str]) -> bool:
    """True for a processor with AVX512-BF16 or AMX-BF16, by its flags."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
