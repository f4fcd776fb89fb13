"""The report and the model card: their content, that they load nothing, and how the page looks in a browser."""

import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import browser
import fabricate
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from PIL import Image

from smallset.datasets.dataset import Dataset
from smallset.evaluation import comparison, metrics
from smallset.models.calibration import IDENTITY
from smallset.models.classifier import Classifier
from smallset.models.predictions import Predictions
from smallset.pipeline import files, params, stage, text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import charts, costs, figures, rendering, report, results, thumbnails
from smallset.stages import report as report_stage

STYLE = (Path(report.__file__).parent / "templates/report.css").read_text(encoding="utf-8")
PARAMS = params.parse(
    {"seed": 1337, "precision": "auto", "linear_probe": {"C": [0.1], "class_weight": None, "calibrate": True}}
)
NAME = '<b onclick="x">&|*_`[i](u)\n\x1b[31m'  # of a class: HTML, Markdown, and a command to a terminal
VISIBLE = '<b onclick="x">&|*_`[i](u)\\n\\x1b[31m'
IN_MARKDOWN = '\\<b onclick="x"\\>\\&\\|\\*\\_\\`\\[i\\](u)\\\\n\\\\x1b\\[31m'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a report."""
    return fabricate_report(tmp_path_factory.mktemp("project"), fabricate.project)


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chapter with a report."""
    return fabricate_report(tmp_path_factory.mktemp("chapter"), fabricate.chapter)


def fabricate_report(folder: Path, pipeline: Callable[[Path], object]) -> Path:
    pipeline(folder)
    report.write(PARAMS, folder)
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    return Path(shutil.copytree(project, tmp_path / "copy"))


def read_page(folder: Path) -> BeautifulSoup:
    return BeautifulSoup((folder / "plots/report.html").read_text(encoding="utf-8"), "html.parser")


def fill(folder: Path, template: str, **values: Any) -> str:
    """A filled template, without photos."""
    more: dict[str, Any] = {
        "gallery": {"mistakes": {}, "heatmaps": [], "augmented": None},
        "params": "",
        "page": "report.html",
    }
    more |= {"costs": defaultdict(lambda: dict.fromkeys(costs.COLUMNS, "9")), "origin": "", "image_size": 48}
    context = report.build_context(results.Results(folder)) | more | {"weights": 1} | values
    return rendering.render("smallset.reports", template, **context)


def render(folder: Path, **values: Any) -> BeautifulSoup:
    return BeautifulSoup(fill(folder, "report.html", **values), "html.parser")


def flatten(tag: Tag) -> str:
    """The text in one line."""
    return " ".join(tag.get_text(" ").split())


def test_the_report_of_a_project_contains_what_the_tables_say(project: Path) -> None:
    page, found = read_page(project), results.Results(project)
    words, best = flatten(page), found.models.set_index("model").loc[found.best]
    assert page.h1 is not None
    assert page.h1.text == project.name
    assert f"{found.best} gets {round(best.accuracy * 24)} of 24 test photos right" in words
    assert f"{best.accuracy:.3f} 95 % interval {best.low:.3f}–{best.high:.3f}" in words
    assert f"Use {found.best}: it has the lowest loss on the validation photos" in words
    for heading in ("The same photo in two splits", "Label issues", "Left out", "ROC curve", "Prediction sets"):
        assert page.find("h3", string=heading), heading
    assert "photos/cat/cat.666.jpg does not decode as a photo" in words
    assert "photos/cat/cat.0.jpg and photos/cat/cat.35.jpg the same file (train and test)" in words
    assert "photos/cat/cat.0.jpg labeled cat, looks like dog: label quality 0.0269 (train)" in words
    assert "corrections.csv changed the labels of 3 photos and left out 1. None of them is a test photo." in words
    assert "There are few test photos, so cross-validation predicted each of 72 photos" in words
    assert "More photos would help: with twice as many training photos, the linear probe would reach" in words
    assert "class precision recall recall_low recall_high f1 n" in words
    assert "image_size val_loss selected 128 0.4 True" in words
    assert "seed: 1337 precision: auto linear_probe: C: - 0.1" in words


def test_the_report_of_the_chapter_compares_with_the_book(chapter: Path) -> None:
    page = read_page(chapter)
    words = flatten(page)
    assert page.find("h3", string="Comparison with the book")
    assert "Trained with 5 seeds, it has 0.8960 ± 0.0032 (mean ± standard deviation)" in words
    assert "Dogs vs. Cats, as Microsoft and Kaggle published them" in words
    assert "7" * 64 in words
    assert "augmented nine times" in words
    assert "Which differences between ways of training are significant" in words
    titles = ["What to look at", "Mistakes", "Classes", "Photos", "Models", "Calibration", "Training", "Environment"]
    assert [tag.text for tag in page.find_all("h2")] == titles
    best = results.Results(chapter).best  # is shown, and the others are folded
    others = [model for model in fabricate.CHAPTER if model != best]
    assert [tag.text for tag in page.select("#mistakes details h3")] == others
    for drawn in map(page.select, ("#errors .matrix", "#errors .chart", "#calibration .chart", "#training .column")):
        [shown] = [tag for tag in drawn if not tag.find_parent("details")]
        assert best in shown.text
        assert len(drawn) == len(fabricate.CHAPTER)


def test_what_to_look_at_comes_first_and_links_to_it(project: Path) -> None:
    page = read_page(project)
    items = page.select("header ul.prose li")
    assert [flatten(item) for item in items][1:] == [
        "2 pairs of duplicates in two splits",
        "1 pair of duplicates in one split",
        "1 label issue",
        "1 outlier",
        "2 blurry photos",
        "1 dark photo",
        "1 photo left out",
    ]
    assert all(page.find(id=str(link["href"])[1:]) for link in page.select("header ul.prose a"))
    names = [flatten(name) for name in page.select("#blurry ~ .gallery")[0].select(".name")]
    assert names == ["photos/dog/dog.2.jpg", "photos/dog/dog.1.jpg"]  # the blurriest photo first


def test_the_most_confident_mistakes_come_first(project: Path) -> None:
    page, found = read_page(project), results.Results(project)
    rows = found.of_models("predictions")[found.best]
    wrong = rows[rows.actual != rows.predicted].sort_values("probability", ascending=False)
    captions = [flatten(caption) for caption in page.select("#mistakes figcaption")]
    row = wrong.iloc[0]
    assert captions[0] == f"{row.file} {row.actual}, predicted as {row.predicted}: {row.probability:.4f}"
    certain: dict[Any, Any] = {"file": "a.jpg", "actual": "cat", "predicted": "cat", "probability": 0.99996}
    shown = thumbnails.show_prediction("model", certain, np.zeros((4, 4, 3), np.uint8))
    assert shown.description == "cat: > 0.9999"
    table = pd.DataFrame({"actual": [*"aaabbb"], "predicted": [*"bbbaaa"], "probability": 0.9})
    assert thumbnails.sort_mistakes(table)["actual"].tolist() == [*"ababab"]  # equally confident ones alternate
    assert len(page.select("#mistakes .pair.wrong")) == min(len(wrong), thumbnails.EXAMPLES)
    assert len(page.select("#mistakes .pair:not(.wrong)")) == thumbnails.EXAMPLES


def test_a_difference_from_the_previous_run_is_shown(project: Path, copy: Path) -> None:
    assert "Difference from the previous run" not in flatten(read_page(project))
    best = "the best model (<linear_probe> before, fine_tuned now)"
    row = {"before_only": 3, "now_only": 6, "p": 0.50781, "summary": ""}
    content = {
        "photos": ["20 photos added to heron & co (13 train, 4 validation, 3 test)."],
        "test_photos": {"before": 1400, "now": 1432, "both": 1300},
        "models": [row | {"model": best, "before": 0.953, "now": 0.9612, "verdict": "no more than chance"}],
    }
    files.write_json(copy / "metrics/diff.json", content)
    words = flatten(render(copy))
    assert "20 photos added to heron & co (13 train, 4 validation, 3 test). On the 1,300 test photos that both" in words
    assert f"{best} 0.9530 0.9612 6 3 0.51 no more than chance" in words
    files.write_json(copy / "metrics/diff.json", content | {"photos": [], "models": []})
    words = flatten(render(copy))
    assert "The photos and their splits are the same. The runs have no test photo in common" in words


def test_the_summary_names_the_model_the_issues_and_the_page(copy: Path) -> None:
    name, score, baseline, folds, more, issues, page = report.write(PARAMS, copy).splitlines()
    assert name == "copy: Use fine_tuned: it has the lowest loss on the validation photos."
    assert score.startswith("It gets ")
    assert re.fullmatch(r"Always answering cat gets 12 right \(0\.500\), .* fewer than fine_tuned: more .*\.", baseline)
    assert folds.startswith(
        "There are few test photos, so cross-validation predicted each of 72 photos from the others"
    )
    assert "with twice as many training photos" in more
    assert issues.startswith("Issues in the photos: 2 pairs of duplicates in two splits, 1 pair of duplicates in one")
    assert page == f"The report: {copy / 'plots/report.html'}"
    files.write_csv(copy / "metrics/issues.csv", results.Results(copy).table("issues")[:0])
    files.write_csv(copy / "metrics/label_issues.csv", results.Results(copy).table("label_issues")[:0])
    wrong = "About 1 of the 80 training and validation labels are wrong (95 % interval: 0 to 3)."
    assert report.write(PARAMS, copy).splitlines()[5] == f"Issues in the photos: none. {wrong}"


def test_the_stage_compares_with_the_models_of_another_pipeline(
    copy: Path, chapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy)
    monkeypatch.setattr(stage, "load_params", lambda: PARAMS)
    report_stage.main(str(chapter / "metrics"))
    assert "There is no earlier run to compare with." in capsys.readouterr().out
    models = [*fabricate.CHAPTER, *fabricate.PROJECT]
    assert pd.read_csv("metrics/compare.csv")["model"].tolist() == models
    assert len(pd.read_csv("metrics/model_pairs.csv")) == len(models) * (len(models) - 1) / 2
    assert "| convnet |" in Path("plots/compare.md").read_text(encoding="utf-8")
    page = read_page(Path())
    assert len(page.select("#models table.wide tbody tr")) == len(models)
    assert len(page.select("#errors .matrix")) == len(fabricate.PROJECT)  # only its own models have photos here


def test_the_report_is_one_file_that_everybody_can_read(project: Path) -> None:
    page = read_page(project)
    assert (project / "plots/report.html").stat().st_size < 1_000_000
    assert not page.find_all(["script", "iframe", "object", "embed", "base"])
    assert all(str(tag["href"]).startswith(("#", "data:")) for tag in page.find_all(href=True))
    assert all(str(tag["src"]).startswith("data:image/jpeg;base64,") for tag in page.find_all(src=True))
    assert not re.search(r"url\(|@import|https?:", STYLE)
    images = page.find_all("img")
    assert images
    assert all(str(tag["alt"]).strip() for tag in images)
    assert all(int(str(tag[side])) <= thumbnails.SIZE for tag in images for side in ("width", "height"))
    assert all(tag["aria-label"] for tag in page.find_all("svg", role="img"))
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile("^h[1-6]$"))]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {str(tag["href"])[1:] for tag in page.select("nav a")} <= set(ids)


@pytest.mark.parametrize("scheme", [0, 1])  # light, dark
def test_colors_have_enough_contrast(scheme: int) -> None:
    """WCAG 2.2: 4.5 for text (section 1.4.3), 3 for lines (1.4.11)."""
    colors = dict(re.findall(r"--(\w+): (#\w{6})", re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]))

    def luminance(name: str) -> float:
        channels = np.array([int(colors[name][at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for pair in ("ink paper", "ink panel", "ink shade", "muted paper", "blue paper", "red paper", "orange paper"):
        low, high = sorted(map(luminance, pair.split()))
        assert (high + 0.05) / (low + 0.05) >= (3 if pair == "orange paper" else 4.5), pair


def test_a_browser_shows_it_at_any_width_without_a_network(project: Path) -> None:
    with browser.open_page() as page:
        requests, messages = list[str](), list[str]()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto((project / "plots/report.html").as_uri())
        page.set_viewport_size({"width": 360, "height": 900})
        assert page.evaluate("document.documentElement.scrollHeight") < 10000  # px, with folded details
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        browser.assert_fits(page)
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        for number, scheme in enumerate(("light", "dark")):
            page.emulate_media(color_scheme=scheme)
            paper = re.findall(r"--paper: (#\w{6})", STYLE)[number]
            color = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert color == f"rgb({', '.join(str(int(paper[at : at + 2], 16)) for at in (1, 3, 5))})"
        assert (requests, messages) == ([(project / "plots/report.html").as_uri()], [])


def test_names_are_text_in_html_in_markdown_and_on_a_terminal(copy: Path) -> None:
    file = "photos/dog/dog.2.jpg"
    for path in (copy / "metrics").rglob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False).replace({"dog": NAME, file: f"photos/{NAME}"})
        files.write_csv(path, table)
    (copy / file).rename(copy / "photos" / NAME)
    page = render(copy, name=NAME)
    assert not page.find_all(["b", "i"])
    assert f"photos/{VISIBLE}" in page.text
    card = fill(copy, "model-card.md")
    assert f"Classifies photos of {IN_MARKDOWN} and cat" in card
    assert "\x1b" not in str(page) + card + fill(copy, "summary.txt", page=NAME)


@pytest.mark.parametrize("name", ["mean", "accuracy", "nan", "1e5", "=cmd", "None", "items", "0", "a,b", 'a"b', "\r"])
def test_a_class_can_have_any_name(copy: Path, name: str) -> None:
    for path in (copy / "metrics").rglob("*.csv"):
        files.write_csv(path, pd.read_csv(path, dtype=str, keep_default_na=False).replace("dog", name))
    page = render(copy)
    rows = [[flatten(cell) for cell in row.find_all(["th", "td"])] for row in page.select("#data tbody tr")]
    assert [text.visible(name), "12", "12", "12"] in rows
    assert text.visible(name) in [flatten(cell) for cell in page.select("#errors .matrix thead th")]


def test_lists_of_many_classes_are_cut_and_name_the_file_with_all(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LISTED", 1)
    report.write(PARAMS, copy)
    card = (copy / report.CARD).read_text()
    assert "| and 1 more, see metrics/photos.csv |" in card
    assert "Classifies photos of cat and 1 more:" in card


def test_with_many_classes_the_most_frequent_confusions_are_listed() -> None:
    classes = [f"class {number}" for number in range(report.MAX_MATRIX + 1)]
    predictions = pd.DataFrame({"actual": classes * 2 + classes[:1], "predicted": classes[1:2] * 27})
    table = report.count_confusions(predictions, classes)
    assert table.iloc[0].tolist() == ["class 0", "class 1", 3]
    assert len(table) == report.MAX_CONFUSIONS


def test_a_chart_puts_values_at_their_px() -> None:
    bins = pd.DataFrame({"when": "after", "confidence": [0.5, 1.0], "accuracy": [0.5, 0.75], "n": 2})
    chart = charts.plot_reliability(bins)
    width, height = charts.PLOT
    assert chart.lines == [("guess", [(0, height), (width, 0)]), ("after", [(0, height), (width, height / 2)])]
    assert chart.x.ticks[0] == (0, "0.5")


def test_equal_figures_have_equal_bytes_and_show_the_pictures_in_order(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    pictures = [np.full((20, 40, 3), value) for value in (-5.0, 100.0, 300.0)]
    titles = ["a$b_{$", "猫\N{HATCHING CHICK}", ""]
    drawn = [figures.grid(pictures, titles, columns=2) for _ in range(2)]
    for number, figure in enumerate(drawn):
        figures.save(figure, tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    with Image.open(tmp_path / "1.png") as image:
        assert image.size == (440, 300)  # two columns and two rows
    axes = drawn[0].axes
    assert [ax.get_title() for ax in axes] == [*titles, ""]
    assert [int(np.asarray(ax.images[0].get_array())[0, 0, 0]) for ax in axes[:3]] == [0, 100, 255]
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("low", "high", "draws", "expected"),
    [
        (0.009, 0.015, 0, "More photos would help: with twice as many training photos, the linear probe would reach a"),
        (0.009, 0.015, 0, "a validation accuracy of 0.985 to 0.991; now it has 0.983."),
        (0.009, 0.017, 0, "It is uncertain whether more photos would help: "),
        (0.0153, 0.017, 0, "More photos of the same kind would hardly help: "),
        (np.nan, np.nan, 1, "400 training photos are too few to tell whether more photos would help."),
    ],
)
def test_the_learning_curve_tells_whether_more_photos_would_help(
    copy: Path, low: float, high: float, draws: int, expected: str
) -> None:
    rows = [[200, 5, 0.03, 0.03], [400, 1, 0.017, 0.02], [800, 0, np.nan, 0.01]][: 3 - draws]
    table = pd.DataFrame(rows, columns=["photos", "draws", "error", "fitted"]).assign(low=low, high=high)
    files.write_csv(copy / "metrics/linear_probe/learning_curve.csv", table)
    assert expected in flatten(render(copy))


def test_corrections_of_test_photos_are_named(copy: Path) -> None:
    record = results.Results(copy).record("split")
    record["corrections"]["test"] = {"relabeled": 2, "left_out": 0}
    files.write_json(copy / "metrics/split.json", record)
    words = flatten(render(copy))
    assert (
        "corrections.csv changed the labels of 5 photos and left out 1. 2 of them are test photos, so earlier" in words
    )


def test_a_model_that_is_no_better_than_a_constant_answer_is_not_recommended(copy: Path) -> None:
    photos = results.Results(copy).dataset  # with skewed classes, groups, and a fine-tuning that changed nothing
    position = photos.table.groupby("split").cumcount()
    labels, groups = np.where(position % 8 == 0, NAME, "cat"), "day " + (position // 4).astype(str)
    skewed = Dataset(photos.table.assign(label=labels, group=groups), (NAME, "cat"))
    second = np.where(position < 4, 0.2, 0.8)
    predictions = Predictions(skewed, np.stack([1 - second, second], axis=1), np.full(len(skewed), np.nan))
    skewed.write(copy / "metrics/photos.csv")
    for model in fabricate.PROJECT:
        metrics.write_evaluation(predictions, None, IDENTITY, copy / "metrics", model)
    models = comparison.read_models(copy / "metrics", [*fabricate.PROJECT])
    comparison.write_comparison(models, copy / "metrics", copy / "plots")
    page = render(copy)
    words, card = flatten(page), " ".join(fill(copy, "model-card.md").split())
    markdown = (copy / "plots/compare.md").read_text(encoding="utf-8")
    assert "linear_probe gets 19 of 24 test photos of 6 groups right, no better than always answering cat" in words
    assert page.title is not None
    assert "19 of 24 test photos right, no more than a constant answer" in page.title.text
    for sentence in (
        "No model is recommended: linear_probe has the lowest loss on the validation photos, but it is no better than ",
        "Always answering cat gets 21 right (0.875), 2 more than linear_probe: no more than chance (p = 1).",
        "24 test photos of 6 groups are few, so that only a large difference is more than chance; 88 % of the test",
        "fine_tuned is identical to linear_probe.",
    ):
        assert all(sentence in document for document in (words, card, markdown))
    assert "19 of 24 test photos of 6 groups are right, which is no better than always answering cat." in card
    assert "fine_tuned: 0.7917" in card
    assert ", identical" in card
    assert "Use linear_probe" not in words + card


def test_without_a_comparison_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"compare.csv: expected at least one model. Run: dvc repro"):
        report.build_context(results.Results(tmp_path))


def test_equal_runs_have_equal_cards(project: Path, copy: Path) -> None:
    card = (project / "plots/model-card.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["library_name"] == "keras"
    [result] = metadata["model-index"][0]["results"]  # as in huggingface/hub-docs/modelcard.md
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"] == {"name": "Photos of cat, dog", "type": "imagefolder", "split": "test"}
    assert [metric["type"] for metric in result["metrics"]] == ["accuracy", "balanced_accuracy"]
    assert re.fullmatch(r"Accuracy \(95 % interval 0\.\d{3}–0\.\d{3}\)", result["metrics"][0]["name"])
    assert re.search(r"in one Keras file of 0\.\d MB, `models/.*`\. One photo takes [\d.]+ ms on the machine", card)
    headings = re.findall(r"^## (.*)", card, re.MULTILINE)
    assert headings == ["Model details", "How to load it", "Intended use", "Training data", "Metrics", "Limitations"]
    assert "\n\n\n" not in card
    assert "of the test photos by mistake; 1 % is intended" in " ".join(card.split())
    assert "2 pairs of duplicates in two splits make the accuracy too good." in card
    report.write(PARAMS, copy)
    assert (copy / "plots/model-card.md").read_text(encoding="utf-8") == card


@pytest.mark.parametrize(
    ("settings", "model", "words"),
    [
        (
            {"backbone": "efficientnet_lite0", "weights": "imagenet"},
            "linear_probe",
            "the license apache-2.0; the",
        ),
        ({"backbone": "hub:dinov2_small", "weights": "imagenet"}, "fine_tuned", "Ask their author for the license"),
        ({"backbone": "VGG16", "weights": "mine.weights.h5"}, "fine_tuned", "the weights in mine.weights.h5. Ask"),
        ({"backbone": "VGG16", "weights": None}, "fine_tuned", "from VGG16 with random weights"),
        ({"backbone": "VGG16", "weights": "imagenet"}, "convnet", "It was trained from random weights"),
    ],
)
def test_the_card_names_the_license_of_the_pretrained_weights(settings: Any, model: str, words: str) -> None:
    p = params.parse({"features": settings | {"image_sizes": [224]}})
    assert words in report.describe_origin(p, model)
    assert "random weights" in report.describe_origin(params.parse({"seed": 1}), model)


OTHER_PIXELS = ["large.png", "wide-gamut.jpg", "wide-gamut.png", "gamma.png"]  # are reduced, or converted to sRGB


def test_the_code_in_the_card_gives_the_probabilities_of_predict(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    code = Path("plots/model-card.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    classifier, names = Classifier.load("models/fine_tuned.keras"), dict[str, Any]()
    for path in browser.save_photos(tmp_path / "photos"):
        if path.suffix in (".jpg", ".png") and path.name not in OTHER_PIXELS:
            shutil.copyfile(path, "photo.jpg")
            exec(code, names)  # noqa: S102 - the code as users copy it
            np.testing.assert_allclose(np.array(names["pixels"])[0], classifier.resize("photo.jpg"), atol=1e-3)
            code = re.sub(r"(?m)^(model = |print).*$", "", code)  # both take seconds, and once is enough
    second = float(names["model"].predict(names["pixels"], verbose=0)[0, 0])
    expected = classifier.predict("photo.jpg").probabilities
    np.testing.assert_allclose([1 - second, second], expected, rtol=0, atol=2e-6)
