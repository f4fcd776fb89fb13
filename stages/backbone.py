"""8.3.1  Fetch a pretrained backbone and split it into frozen layers and the last block (listing 8.19)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

from smallset.backbones import registry, weights
from smallset.models import model_file, precision
from smallset.pipeline import stage


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    backbone = registry.build_backbone(
        p.backbone.name, weights.fetch(p.backbone.name, p.backbone.weights), p.image_size
    )
    for part in registry.split_at(backbone, p.backbone.name, p.backbone.last_frozen_layer):
        model_file.save(part, Path(f"models/backbone/{part.name}.keras"))


stage.run(main)
