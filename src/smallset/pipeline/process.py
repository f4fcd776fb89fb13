"""Settings of the whole process. Importing smallset changes none of them; stages and commands call `prepare` first."""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


def prepare() -> None:
    """Open closed standard streams, choose Keras's backend, and silence warnings about what is normal here."""
    _open_standard_streams()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow warns when a process trains several models, as each seed does.
    logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
    import pandas as pd
    from PIL import Image

    pd.set_option("mode.string_storage", "python")  # Arrow's strings cannot hold a file name that is not UTF-8
    Image.MAX_IMAGE_PIXELS = None  # images.decoding has a limit of its own
    warnings.filterwarnings("ignore", module="PIL")  # about metadata, which smallset does not use
    if "keras" in sys.modules:
        import_tensorflow()


def import_tensorflow() -> ModuleType:
    """Import TensorFlow without its messages, and set Keras to (height, width, channels), whatever keras.json says.

    Stages and commands call this before they import a module that imports TensorFlow.
    """
    with silence_stderr():
        tensorflow = importlib.import_module("tensorflow")
        importlib.import_module("keras").config.set_image_data_format("channels_last")
    return tensorflow


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard everything that this process writes to stderr, including messages of C++ code."""
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _open_standard_streams() -> None:
    """Connect closed streams to the null device, or else the next file that is opened gets their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
