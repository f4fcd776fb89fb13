"""8.3.1  Fetch a pretrained base and cut it in two: a trunk that stays frozen, and a top (listing 8.19)."""

from pathlib import Path

from smallset.bases import applications, weights
from smallset.networks import runtime, saving
from smallset.pipeline import stage

BASE = Path("models/base")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    base = applications.build(p.base.name, tensors, p.image.side)
    for part in applications.split(base, p.base.name, p.base.cut):
        saving.save(part, BASE / f"{part.name}.keras")


stage.run(main)
