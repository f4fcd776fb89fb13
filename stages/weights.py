"""8.3.1  Fetch VGG16's ImageNet weights (listing 8.19)."""

from pathlib import Path

from smallset import files, stage, weights

WEIGHTS = Path("models/vgg16.weights.h5")


def main() -> None:
    p = stage.load_params()
    with files.whole(WEIGHTS) as draft:
        weights.fetch(p.base.weights, p.seed).save_weights(draft)


stage.run(main)
