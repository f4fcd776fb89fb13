"""fastai's quick start: ResNet-34, one epoch of the new layers and one of all layers.

https://docs.fast.ai/quick_start.html
"""

from fastai.vision.all import ImageDataLoaders, Resize, error_rate, resnet34, set_seed, vision_learner

from benchmarks.rounds import Setup, Work

EPOCHS = 1  # fine_tune(1) is everything that it prescribes


def prepare() -> None:
    """Set the seed."""
    set_seed(0)


def work(setup: Setup) -> Work:
    """fine_tune(1) with the photos of both splits."""
    batches = ImageDataLoaders.from_folder(setup.folder, valid="validation", item_tfms=Resize(224), num_workers=2)

    def run() -> None:
        vision_learner(batches, resnet34, pretrained=False, metrics=error_rate).fine_tune(1)

    return Work(run, len(batches.train_ds))


CASES = {"all": work}
