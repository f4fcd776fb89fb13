"""The report: what it tells, that it asks nothing of a network, and that it reads well in a browser of any width."""

import itertools
import re
import runpy
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import browser
import made
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from PIL import Image

from smallset.cli import prediction
from smallset.images import metadata
from smallset.models import convnets
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import charts, findings, report, results, thumbnails

ROOT = Path(__file__).parents[1]
STYLE = (ROOT / "src/smallset/showing/templates/report.css").read_text(encoding="utf-8")
NASTY = '<b onclick="x">&|*_`[i](u)\n\x1b[31m'  # a name that is markup, and a command to a terminal
SEEN = '<b onclick="x">&|*_`[i](u)\\n\\x1b[31m'
PLAIN = '\\<b onclick="x"\\>\\&\\|\\*\\_\\`\\[i\\](u)\\\\n\\\\x1b\\[31m'
NOTHING = thumbnails.Gallery({}, [], None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder in which the stage has run."""
    folder = tmp_path_factory.mktemp("pipeline")
    made.pipeline(folder)
    run(folder)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """One to change."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def run(folder: Path) -> None:
    """The stage, as DVC runs it."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_STAGE", "report")
        runpy.run_path(str(ROOT / "stages/report.py"))
    signal.signal(signal.SIGTERM, before)


def read(folder: Path) -> results.Results:
    return results.read(folder / "metrics", folder / "params.yaml", "mine")


def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup(page, "html.parser")


def flat(page: Tag) -> str:
    """Its text in one line."""
    return " ".join(page.get_text(" ").split())


def test_the_report_tells_what_the_tables_say(folder: Path) -> None:
    page = parsed((folder / "plots/report.html").read_text(encoding="utf-8"))
    found, text = read(folder), flat(page)
    best = found.models.set_index("model").loc[found.best]
    assert page.h1 is not None
    assert page.h1.text == folder.name
    assert f"{found.best} gets {round(best.accuracy * best.n)} of 24 test photos right" in text
    assert f"{best.accuracy:.3f} 95 % interval {best.low:.3f}–{best.high:.3f}" in text
    assert f"Take {found.best}: it has the lowest loss on the validation photos" in text
    assert "Trained with 5 seeds it has" in text
    for heading in ("Beside the book", "ROC curve", "The same photo in two splits", "Labels in doubt", "Left out"):
        assert page.find("h3", string=heading), heading
    assert "cat/cat.666.jpg does not decode as a photo" in text
    assert "train/cat/cat.0.jpg and test/cat/cat.0.jpg the same file" in text
    assert "train/cat/cat.0.jpg labelled cat, looks like dog" in text
    assert "By cross-validation over all 72 photos it gets 0.800, 0.700–0.875" in text
    assert page.find("h2", string="More photos")
    assert "training photos linear would get" in text
    assert "7" * 64 in text
    assert "seed: 1337 # of every random draw, <b>" in text


def test_the_run_before_is_compared_where_there_is_one(folder: Path, copy: Path) -> None:
    assert "Since the run before" not in (folder / "plots/report.html").read_text(encoding="utf-8")
    best = "the best model (<linear> before, pooled now)"
    row = {"before_only": 3, "now_only": 6, "p": 0.50781, "words": ""}
    content = {
        "photos": ["+20 photos of heron & co: 13 train, 4 validation, 3 test"],
        "test_photos": {"before": 1400, "now": 1432, "both": 1300},
        "models": [row | {"model": best, "before": 0.953, "now": 0.9612, "verdict": "no more than chance"}],
    }
    files.write_json(copy / "metrics/since.json", content)
    text = flat(parsed(report.page(read(copy), [], NOTHING)))
    assert "+20 photos of heron & co: 13 train, 4 validation, 3 test On the 1,300 test photos that both runs" in text
    assert f"{best} 0.9530 0.9612 6 3 0.51 no more than chance" in text
    files.write_json(copy / "metrics/since.json", content | {"photos": [], "models": []})
    text = flat(parsed(report.page(read(copy), [], NOTHING)))
    assert "The photos and their splits are the same. No test photo is in both runs" in text


def test_what_deserves_a_look_is_said_first_and_shown(folder: Path) -> None:
    page = parsed((folder / "plots/report.html").read_text(encoding="utf-8"))
    header = page.header
    assert header is not None
    listed = [flat(item) for item in header.select("ul.prose li")]
    assert listed[1:] == [
        "2 pairs of photos alike in two splits",
        "1 pair of photos alike twice in one split",
        "1 label in doubt",  # the other one is believed
        "3 photos unlike the others",
        "2 blurred photos",
        "1 photo left out",
    ]  # and not that all are grey: what all are is not odd
    places = [str(link["href"])[1:] for link in header.select("ul.prose a")]
    assert all(page.find(id=place) for place in places)
    assert [flat(name) for name in page.select("#blurred ~ .gallery")[0].select(".name")] == [
        *["train/dog/dog.11.jpg", "train/dog/dog.10.jpg"]  # the most blurred first
    ]


def test_of_each_kind_of_chart_the_best_model_s_is_open_and_the_others_are_folded(folder: Path) -> None:
    page = parsed((folder / "plots/report.html").read_text(encoding="utf-8"))
    best, others = read(folder).best, len(made.MODELS) - 1
    for section, chart in (("errors", ".matrix"), ("calibration", ".chart"), ("training", ".column")):
        drawn = page.select(f"#{section} {chart}")
        is_open = [one for one in drawn if not one.find_parent("details")]
        assert [len(is_open), len(drawn)] == [1, 1 + others] if chart != ".chart" else len(drawn) == 1 + others
        assert best in is_open[0].text
    assert [tag["id"] for tag in page.find_all("section")][:2] == ["mistakes", "errors"]


def test_the_last_lines_of_a_run_are_its_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder)
    *_, best, score, more, look, page, time = capsys.readouterr().out.splitlines()
    found = read(folder)
    assert best == f"{folder.name}: Take {found.best}: it has the lowest loss on the validation photos."
    assert score.startswith("It gets ")
    assert "with twice the training photos linear would get" in more
    assert look == (
        "Worth a look: 2 pairs of photos alike in two splits, 1 pair of photos alike twice in one split, "
        "1 label in doubt, 3 photos unlike the others, 2 blurred photos."
    )
    assert page == f"All of it: {folder / 'plots/report.html'}"
    assert time.startswith("report: ")


def test_the_surest_mistakes_are_shown_and_where_the_best_model_looks(folder: Path) -> None:
    page = parsed((folder / "plots/report.html").read_text(encoding="utf-8"))
    found = read(folder)
    rows = found.predictions[found.best]
    wrong = rows[rows.actual != rows.predicted].sort_values("probability", ascending=False)
    captions = [flat(caption) for caption in page.select("#mistakes figcaption")]
    row = wrong.iloc[0]
    assert captions[0] == f"{row.file} {row.actual}, taken for {row.predicted}: {thumbnails.sure(row.probability)}"
    assert len(page.select("#mistakes .pair.wrong")) == min(len(wrong), thumbnails.EXAMPLES)
    assert len(page.select("#mistakes .pair:not(.wrong)")) == thumbnails.EXAMPLES
    folded = page.select("#mistakes details h3")
    assert [heading.text for heading in folded] == [name for name in made.MODELS if name != found.best]


def test_the_report_is_one_file_that_anyone_can_read(folder: Path) -> None:
    file = folder / "plots/report.html"
    page = parsed(file.read_text(encoding="utf-8"))
    assert file.stat().st_size < 1_000_000
    assert not page.find_all(["script", "iframe", "object", "embed", "base"])
    assert all(str(tag["href"]).startswith(("#", "data:")) for tag in page.find_all(href=True))
    assert all(str(tag["src"]).startswith("data:image/jpeg;base64,") for tag in page.find_all(src=True))
    assert not re.search(r"url\(|@import|https?:", STYLE)
    assert page.find_all("img")
    assert all(str(tag["alt"]).strip() for tag in page.find_all("img"))
    assert all(int(str(tag[side])) <= thumbnails.SIDE for tag in page.find_all("img") for side in ("width", "height"))
    assert all(tag["aria-label"] for tag in page.find_all("svg", role="img"))
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile("^h[1-6]$"))]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    identities = [tag["id"] for tag in page.find_all(id=True)]
    assert len(identities) == len(set(identities))
    assert {str(tag["href"])[1:] for tag in page.nav.find_all("a")} <= set(identities) if page.nav else False


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(scheme: str) -> None:
    """Contrast by WCAG 2.2, section 1.4.3: 4.5 for text, and by 1.4.11: 3 for lines."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", light if scheme == "light" else dark))
    texts = [
        ("ink", "paper"),
        ("ink", "panel"),
        ("ink", "shade"),
        ("muted", "paper"),
        ("blue", "paper"),
        ("red", "paper"),
    ]
    lines = [("orange", "paper")]
    for pairs, least in ((texts, 4.5), (lines, 3)):
        for front, back in pairs:
            assert contrast(colours[front], colours[back]) >= least, (front, back)


def contrast(front: str, back: str) -> float:
    brightness = []
    for colour in (front, back):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        brightness.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(brightness) + 0.05) / (min(brightness) + 0.05)


@pytest.mark.skipif(browser.find() is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_it_at_any_width_without_a_network(folder: Path, tmp_path: Path) -> None:
    with browser.page(str(browser.find()), tmp_path) as page:
        for width, dark in ((360, False), (1280, False), (1280, True)):
            page.open(folder / "plots/report.html", width, dark=dark)
            assert page.ask("document.documentElement.scrollHeight") < 10000  # px, all that is folded being so
            page.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.ask("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
            assert page.ask("[...document.images].filter(one => !one.naturalWidth).length") == 0
            paper = re.findall(r"--paper: (#\w{6})", STYLE)[dark]
            red, green, blue = (int(paper[at : at + 2], 16) for at in (1, 3, 5))
            colour = page.ask("getComputedStyle(document.body).backgroundColor")
            assert colour == f"rgb({red}, {green}, {blue})"
        addresses = {event["request"]["url"].split(":")[0] for event in page.all("Network.requestWillBeSent")}
        assert addresses == {"file", "data"}
        assert [event["entry"]["text"] for event in page.all("Log.entryAdded")] == []
        assert page.all("Runtime.consoleAPICalled") + page.all("Runtime.exceptionThrown") == []


def test_a_pipeline_with_fewer_stages_has_fewer_sections(copy: Path) -> None:
    for name in (
        *("audit", "suspects.csv", "learning_curve.csv", "cross_validation.csv", "download.json", "subset.json"),
        "provenance.json",
    ):
        path = copy / "metrics" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for kind in ("reliability", "calibration", "sets", "unlike"):
        for path in (copy / "metrics").glob(f"*/{kind}.csv"):
            path.unlink()
    (copy / "plots/augmented.png").unlink()
    run(copy)
    page = parsed((copy / "plots/report.html").read_text(encoding="utf-8"))
    assert [tag.text for tag in page.find_all("h2")] == [
        *["What deserves a look", "Mistakes", "Right and wrong", "All models", "Training", "How it was made"]
    ]
    assert not page.find_all("h3", string=["Beside the book", "The same photo in two splits", "Labels in doubt"])


def test_a_name_of_a_class_or_a_file_is_text_on_the_page_in_the_card_and_on_a_terminal(copy: Path) -> None:
    for path in (copy / "metrics").rglob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False).replace("dog", NASTY)
        files.write_csv(path, table.replace("dog/dog.11.jpg", f"dog/{NASTY}"))
    (copy / "data/subset/train/dog/dog.11.jpg").rename(copy / "data/subset/train/dog" / NASTY)
    found = read(copy)
    odd = findings.all_of(found, copy / "data/subset")
    text = report.page(found, odd, NOTHING)
    page = parsed(text)
    assert not page.find_all(["b", "i"])
    assert "\x1b" not in text
    assert SEEN in page.text
    assert f"train/dog/{SEEN}" in page.text
    card = report.card(found, odd, 48, 1)
    assert "\x1b" not in card
    assert f"Tells {PLAIN} and cat apart" in card
    assert "\x1b" not in report.summary(found, odd, f"/a{NASTY}")


@pytest.mark.parametrize("name", ["mean", "accuracy", "nan", "1e5", "=cmd", "None", "items", "0", "a,b", 'a"b', "\r"])
def test_a_class_may_have_any_name(copy: Path, name: str) -> None:
    for path in (copy / "metrics").rglob("*.csv"):
        files.write_csv(path, pd.read_csv(path, dtype=str, keep_default_na=False).replace("dog", name))
    counts = {"cat": 12, name: 7}
    files.write_json(copy / "metrics/subset.json", {"photos": {"train": counts}, "left_out": {}})
    found = read(copy)
    assert found.classes == sorted(["cat", name])
    page = parsed(report.page(found, [], NOTHING))
    shown = [[flat(cell) for cell in row.find_all(["th", "td"])] for row in page.select("#data tbody tr")]
    assert [text.visible(name), "7"] in shown
    assert text.visible(name) in [flat(cell) for cell in page.select("#errors .matrix thead th")]


def test_of_many_classes_the_commonest_confusions_are_listed() -> None:
    classes = [f"class {number}" for number in range(report.MATRIX + 1)]
    predictions = pd.DataFrame({"actual": classes * 2 + classes[:1], "predicted": classes[1:2] * 27})
    listed = report.confusion(predictions, classes)
    assert not listed.rows
    assert listed.commonest[0] == ("class 0", "class 1", 3)
    assert len(listed.commonest) == report.CONFUSIONS


def test_no_probability_is_1() -> None:
    assert [thumbnails.sure(value) for value in (1, 0.99996, 0.9999, 0.5)] == [
        "> 0.9999",
        "> 0.9999",
        "0.9999",
        "0.5000",
    ]


def test_a_chart_puts_values_at_their_px() -> None:
    bins = pd.DataFrame({"when": "after", "confidence": [0.5, 1.0], "accuracy": [0.5, 0.75], "n": 2})
    chart = charts.reliability("a", bins, {"after": 0.125})
    width, height = charts.PLOT
    assert chart.lines == (("guess", f"0,{height} {width},0"), ("after", f"0,{height} {width},{height / 2:g}"))
    assert chart.dots == (("after", 0, height), ("after", width, height / 2))
    assert chart.x.ticks[0] == (0, "0.5")
    assert "calibration error is 0.1250 after the temperature" in chart.alt


def test_the_card_says_how_to_load_the_model(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (folder / "plots/model-card.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "keras"
    headings = re.findall(r"^## (.*)", card, re.MULTILINE)
    assert headings == [
        *["Model details", "How to load it", "Intended use", "Training data", "Metrics", "Limits"],
    ]
    assert "\n\n\n" not in card
    run(copy)
    assert (copy / "plots/model-card.md").read_text(encoding="utf-8") == card  # the same in every run
    monkeypatch.chdir(copy)
    Image.new("RGB", (60, 40)).save("photo.jpg")
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], {})  # noqa: S102 - what people copy


def test_without_a_comparison_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"compare.csv has no model. Run: dvc repro compare"):
        read(tmp_path)


def jpeg(path: Path, size: tuple[int, int], mode: str = "RGB", turn: int = 1) -> None:
    """Noise over a slope, so that every step on the way to the model's pixels shows."""
    random, (width, height) = np.random.default_rng(0), size
    slope = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    pixels = (slope + random.integers(0, 75, (height, width, 3))).astype(np.uint8)
    exif = Image.Exif()
    exif[metadata.ORIENTATION] = turn
    Image.fromarray(pixels).convert(mode).save(path, "JPEG", exif=exif)


def transparent(path: Path, mode: str) -> None:
    image = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
    image.putalpha(Image.radial_gradient("L").resize((90, 60)))
    (image.quantize(64) if mode == "P" else image.convert(mode)).save(path, "PNG")


@pytest.mark.parametrize(
    "photo",
    [
        partial(jpeg, size=(300, 200)),
        partial(jpeg, size=(300, 200), turn=6),
        partial(jpeg, size=(300, 200), turn=5),
        partial(jpeg, size=(4400, 2200)),  # halved while it is decoded
        partial(jpeg, size=(2100, 4300), turn=8),
        partial(jpeg, size=(300, 200), mode="L"),
        partial(jpeg, size=(300, 200), mode="CMYK"),
        partial(transparent, mode="RGBA"),
        partial(transparent, mode="LA"),
        partial(transparent, mode="P"),
    ],
)
def test_the_card_s_code_gives_what_predict_gives(
    folder: Path, monkeypatch: pytest.MonkeyPatch, photo: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(folder)
    card = Path("plots/model-card.md").read_text(encoding="utf-8")
    photo(Path("photo.jpg"))
    space: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], space)  # noqa: S102 - as it stands
    [answer] = prediction.answers(space["model"], ["photo.jpg"], 1)
    assert not answer.error
    found = convnets.per_class(space["model"].predict(space["pixels"], verbose=0))
    np.testing.assert_allclose(found[0], answer.probability, rtol=0, atol=2e-6)
    _, pixels, _ = next(iter(prediction.load(["photo.jpg"], 48, 1)))
    np.testing.assert_allclose(np.array(space["pixels"]), pixels, atol=1e-3)
