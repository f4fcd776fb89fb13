"""docs/your-own-photos.md and docs/folders.md, run as they stand, on drawn photos of three classes and with training that takes seconds."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import make_tiny, run

from smallset.sources import drawing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FACES = {"heron": drawing.cat, "robin": drawing.dog, "wren": drawing.cat}
PHOTOS = 20  # a class, of which each split has some
NEW = 3


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with ~/Pictures/birds in class folders, new photos, and ~/Pictures/walks with a table."""
    pictures = tmp_path / "home/Pictures"
    rows = []
    for label, (name, face) in enumerate(FACES.items()):
        (pictures / "birds" / name).mkdir(parents=True)
        for number in range(PHOTOS):
            picture = drawing.picture(face, 80, np.random.default_rng([label, number]))
            picture.save(pictures / f"birds/{name}/bird.{number}.jpg")
            (pictures / f"walks/walk-{number}").mkdir(parents=True, exist_ok=True)
            picture.save(pictures / f"walks/walk-{number}/{name}.jpg")
            rows.append({"file": f"walk-{number}/{name}.jpg", "label": name, "group": f"walk {number}"})
    pd.DataFrame(rows).to_csv(pictures / "walks.csv", index=False)
    (pictures / "new").mkdir()
    for number in range(NEW):
        drawing.picture(drawing.dog, 80, np.random.default_rng([9, number])).save(pictures / f"new/{number}.jpg")
    return tmp_path / "home"


def test_every_command_of_the_pages_does_what_they_say(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("tf2onnx", reason='smallset export needs pip install -e ".[export]"')
    pages = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("your-own-photos", "folders"))
    begin, *then = re.findall(r"```bash\n(.*?)```", pages, re.DOTALL)
    environment = {"HOME": str(home), "PAGER": "cat", "PYTHONPATH": str(ROOT / "src")}
    place, birds = tmp_path / "place", tmp_path / "place/birds"
    place.mkdir()
    answer = run(place, "bash", "-euo", "pipefail", "-c", begin, **environment)
    assert f"birds: a project with {3 * PHOTOS} photos of 3 classes" in answer
    make_tiny(birds)
    answer = run(birds, "bash", "-euo", "pipefail", "-c", "\n".join(then), **environment)
    assert "| pooled |" in answer
    lines = [json.loads(line) for line in (place / "new.jsonl").read_text().splitlines()]
    assert len(lines) == NEW
    assert set(lines[0]["probabilities"]) == set(FACES)
    assert len((place / "new.csv").read_text().splitlines()) == 1 + NEW
    assert (place / "new.png").is_file()
    assert (birds / "models/pooled.onnx").is_file()
    counted = json.loads((birds / "metrics/subset.json").read_text())["photos"].values()
    assert sum(photos["robin"] for photos in counted) == PHOTOS + NEW
    assert "Data and pipelines are up to date." in answer  # the colleague's dvc repro
    assert run(place / "colleague", "git", "status", "--porcelain") == ""
    assert (
        yaml.safe_load((birds / "params.yaml").read_text())["pooled"]["epochs"] == 2
    )  # as the named experiment left it
    assert ": up to date" in answer
    assert yaml.safe_load((place / "walks/params.yaml").read_text())["subset"]["by"] == "fraction"
    assert len((place / "walks/photos/photos.csv").read_text().splitlines()) == 1 + 3 * PHOTOS
