"""How TensorFlow computes: reproducible results, and bfloat16 convolutions on processors that they suit."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from smallset.models.model_file import Network
from smallset.pipeline import provenance

BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"  # an option of TensorFlow's graph optimizer
FAST = ({"amx_bf16"}, {"avx512_bf16", "AuthenticAMD"})  # processors with these compute bfloat16 faster than float32
_settings: dict[str, Any] = {}  # the arguments of `prepare`, and whether it enabled bfloat16


def prepare(seed: int, precision: str) -> None:
    """Seed Python, NumPy and TensorFlow, use deterministic kernels, and set the precision of convolutions.

    precision: "auto" uses bfloat16 convolutions (with float32 sums and weights) on a CPU that computes them twice as
    fast as float32, with the same accuracy. Other CPUs use float32, like GPUs. Intel's CPUs with AVX512-BF16 but
    without AMX are among them: bfloat16 takes them twice as long. Dense layers always use float32: between 1/2 and 1
    bfloat16 has only 128 values, too few for probabilities.
    """
    import keras
    import tensorflow as tf

    fast = any(needed <= provenance.processor_flags() for needed in FAST)
    bfloat16 = precision == "auto" and fast and not tf.config.list_physical_devices("GPU")
    _settings.update(seed=seed, precision=precision, bfloat16=bfloat16)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_ALLOWLIST_REMOVE"] = "MatMul"
    tf.config.optimizer.set_experimental_options({BFLOAT16: bfloat16})


def again() -> Callable[[], None]:
    """A function that repeats the call of `prepare` in another process of a cluster."""
    return partial(prepare, _settings["seed"], _settings["precision"]) if _settings else lambda: None


def in_bfloat16() -> bool:
    """Whether `prepare` enabled bfloat16."""
    return bool(_settings.get("bfloat16"))


def suit(network: Network) -> None:
    """Enable bfloat16 to train a network, except one with depthwise convolutions: float32 is faster for those."""
    import keras
    import tensorflow as tf

    depthwise = any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in network._flatten_layers())
    tf.config.optimizer.set_experimental_options({BFLOAT16: in_bfloat16() and not depthwise})
