"""8.3.1  Fetch a pretrained base and cut it in two: a trunk that stays frozen, and a top (listing 8.19).

Arguments: the params keys whose `side` it is built for.
"""

import sys
from pathlib import Path

from smallset.bases import applications, weights
from smallset.networks import runtime, saving
from smallset.pipeline import stage

FOLDERS = {"image": Path("models/base"), "larger": Path("models/base/larger")}


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    for key in sys.argv[1:]:
        base = applications.build(p.base.name, tensors, getattr(p, key).side)
        for part in applications.split(base, p.base.name, p.base.cut):
            saving.save(part, FOLDERS[key] / f"{part.name}.keras")


stage.run(main)
