"""docs/your-own-photos.md, run as it stands, on drawn photos of three classes and with training that takes seconds."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pipelines import ROOT, Pipeline

from smallset.sources import drawing

pytestmark = pytest.mark.slow

FACES = {"heron": drawing.cat, "robin": drawing.dog, "wren": drawing.cat}
PHOTOS = 20  # a class, of which each split has some


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with ~/Pictures/birds in class folders, and ~/Pictures/walks with a table."""
    pictures = tmp_path / "home/Pictures"
    rows = []
    for label, (name, face) in enumerate(FACES.items()):
        (pictures / "birds" / name).mkdir(parents=True)
        for number in range(PHOTOS):
            picture = drawing.picture(face, 80, np.random.default_rng([label, number]))
            picture.save(pictures / f"birds/{name}/{number}.jpg")
            (pictures / f"walks/walk-{number}").mkdir(parents=True, exist_ok=True)
            picture.save(pictures / f"walks/walk-{number}/{name}.jpg")
            rows.append({"file": f"walk-{number}/{name}.jpg", "label": name, "group": f"walk {number}"})
    pd.DataFrame(rows).to_csv(pictures / "walks.csv", index=False)
    return tmp_path / "home"


def test_every_command_of_the_page_does_what_the_page_says(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("tf2onnx", reason='smallset export needs pip install -e ".[export]"')
    (tmp_path / "clone").mkdir()
    clone = Pipeline(tmp_path / "clone")
    commands = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/your-own-photos.md").read_text(), re.DOTALL)
    answer = clone.run("bash", "-euo", "pipefail", "-c", "\n".join(commands), HOME=str(home), PAGER="cat")
    assert f"birds: a pipeline for {3 * PHOTOS} photos of 3 classes" in answer
    assert "| pooled |" in answer
    lines = [json.loads(line) for line in (clone.folder / "birds.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * PHOTOS
    assert set(lines[0]["probabilities"]) == set(FACES)
    assert len((clone.folder / "birds.csv").read_text().splitlines()) == 1 + 3 * PHOTOS
    assert (clone.folder / "robin.png").is_file()
    assert (clone.folder / "birds/models/pooled.onnx").is_file()
    assert "units: 32" in (clone.folder / "birds/params.yaml").read_text()  # as the named experiment left it
    assert (clone.folder / "walks/dvc.yaml").read_text() == (ROOT / "sample/dvc.yaml").read_text()
