"""8.3.1  Fetch a pretrained base and cut it in two: a trunk that stays frozen, and a top (listing 8.19)."""

from pathlib import Path

from smallset.backbones import registry, weights
from smallset.models import model_file, precision
from smallset.pipeline import stage

BASE = Path("models/base")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    base = registry.build(p.base.name, tensors, p.image.side)
    for part in registry.split(base, p.base.name, p.base.cut):
        model_file.save(part, BASE / f"{part.name}.keras")


stage.run(main)
