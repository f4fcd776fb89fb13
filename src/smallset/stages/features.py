"""Embed all photos with the frozen backbone, at the image size that the validation photos prefer."""

from pathlib import Path
from typing import Any

from smallset.datasets.dataset import Dataset
from smallset.features import embedding, store
from smallset.features.store import Features
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training.linear_probe import LinearProbe

DRAFTS = files.draft_path(store.FILE, "shards")


def main() -> None:
    """Write the features, the network that computed them, and the search for the image size."""
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)

    def score(features: Features) -> dict[Any, float]:
        search = LinearProbe(**dict(p.linear_probe) | {"calibrate": False}).fit(features).search_
        return search[search["selected"]].iloc[0].to_dict()

    earlier = embedding.find_earlier()
    embedded = embedding.search_and_embed(Dataset.read(), p.features, p.augmentation.flip, score, DRAFTS, earlier)
    model_file.save(embedded.network, Path("models/backbone.keras"))
    files.write_csv(Path("metrics/features/search.csv"), embedded.search)
    embedded.features.write()
    files.remove(DRAFTS)
