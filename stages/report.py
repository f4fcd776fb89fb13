"""8.2-8.3  Show the results on one page, and describe the best model in a model card."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

from smallset.evaluation import diff
from smallset.pipeline import stage, text
from smallset.reports import report


def main() -> None:
    p = stage.load_params()
    print(text.lines(diff.record(Path("metrics"))))
    print(report.write(p))


stage.run(main)
