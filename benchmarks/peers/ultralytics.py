"""Ultralytics's classification: YOLO11n-cls with the defaults of `yolo classify train`: 224 px, 100 epochs.

https://docs.ultralytics.com/tasks/classify/
"""

from ultralytics import YOLO

from benchmarks.rounds import Setup, Work

EPOCHS = 100
AT_ONCE = 10  # epochs of a run, so that what the command does before and after them counts little


def prepare() -> None:
    """It seeds itself."""


def work(setup: Setup) -> Work:
    """Some epochs with their validation, and what the command does around them."""

    def run() -> None:
        YOLO("yolo11n-cls.yaml").train(
            data=str(setup.folder), epochs=AT_ONCE, imgsz=224, device="cpu", plots=False, project=str(setup.scratch)
        )

    return Work(run, AT_ONCE * setup.photos)


CASES = {"all": work}
