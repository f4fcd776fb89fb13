"""Smallset trains image classifiers on small sets of photos, with uncertainty for every number that it reports.

It is a library for notebooks, a command line, and a DVC pipeline that anyone can rerun.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time, __getattr__ imports these names
    from smallset.datasets.dataset import Dataset as Dataset
    from smallset.evaluation.issues import find_issues as find_issues
    from smallset.evaluation.label_issues import find_label_issues as find_label_issues
    from smallset.evaluation.metrics import evaluate as evaluate
    from smallset.features.embedding import embed as embed
    from smallset.features.store import Features as Features
    from smallset.models.classifier import Classifier as Classifier
    from smallset.models.classifier import Prediction as Prediction
    from smallset.models.classifier import load as load
    from smallset.training.fine_tune import fine_tune as fine_tune
    from smallset.training.linear_probe import LinearProbe as LinearProbe

_MODULES = {
    "Classifier": "models.classifier",
    "Dataset": "datasets.dataset",
    "Features": "features.store",
    "LinearProbe": "training.linear_probe",
    "Prediction": "models.classifier",
    "embed": "features.embedding",
    "evaluate": "evaluation.metrics",
    "find_issues": "evaluation.issues",
    "find_label_issues": "evaluation.label_issues",
    "fine_tune": "training.fine_tune",
    "load": "models.classifier",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any object of the public API
    """Import a public name when it is first used (PEP 562): TensorFlow takes seconds, and few names need it."""
    if name == "__version__":
        from importlib import metadata  # takes longer than the rest of this module

        return metadata.version("smallset")
    if name not in _MODULES:
        raise AttributeError(f"module 'smallset' has no attribute {name!r}. It has: {', '.join(__all__)}")
    globals()[name] = value = getattr(import_module(f"smallset.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
