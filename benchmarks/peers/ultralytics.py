"""Ultralytics's classification: YOLO11n-cls with the defaults of `yolo classify train`: 224 px, 100 epochs.

https://docs.ultralytics.com/tasks/classify/
"""

from ultralytics import YOLO

from benchmarks.rounds import Setup, Work

EPOCHS = 100
AT_ONCE = 10  # epochs per run, so that the work before and after them counts little


def prepare() -> None:
    """Change nothing: the command sets its own seed."""


def work(setup: Setup) -> Work:
    """A few epochs with their validation, and the work before and after them."""

    def run() -> None:
        YOLO("yolo11n-cls.yaml").train(
            data=str(setup.folder), epochs=AT_ONCE, imgsz=224, device="cpu", plots=False, project=str(setup.scratch)
        )

    return Work(run, AT_ONCE * setup.photos)


CASES = {"all": work}
