"""TensorFlow without its start lines: it logs from C++ before its own log level counts. Its exceptions still come."""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


def start() -> None:
    """From now on, whoever imports TensorFlow first."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what it logs once it runs
    # Each seed trains a model of its own, as each stage does; TensorFlow takes several in a process for a mistake.
    logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
    sys.meta_path.insert(0, Finder())


class Finder:
    """Imports the package tensorflow as ever, but without stderr meanwhile."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """None for any other module, which leaves it to the usual finders."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def quietly(module: ModuleType) -> None:
            with nowhere():
                run(module)

        spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def nowhere() -> Iterator[None]:
    """Nothing that any code of this process writes to stderr arrives, that of C++ included."""
    try:
        stderr = os.dup(2)
    except OSError:  # closed already
        yield
        return
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
