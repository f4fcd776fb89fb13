"""8.3.1  Fetch a pretrained base and cut it in two: a trunk that stays frozen, and a top (listing 8.19)."""

from pathlib import Path

from smallset import bases, runtime, saving, stage, weights

BASE = Path("models/base")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    trunk, top = bases.split(bases.build(p.base.name, tensors, p.image.side), p.base.name, p.base.cut)
    for part in (trunk, top):
        saving.save(part, BASE / f"{part.name}.keras")


stage.run(main)
