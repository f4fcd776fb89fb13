"""Names for people: no name breaks a line or is obeyed by a terminal, and the usual ones stay as they are."""

from pathlib import Path

import pytest

from smallset.pipeline import text


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),  # it would be read as aexe.jpg
        ("\udc80", r"\x80"),  # a byte of a name that is not UTF-8
        ("Zaunkönig 鷦鷯 \u200c👩\u200d🔬 a$b", "Zaunkönig 鷦鷯 \u200c👩\u200d🔬 a$b"),
    ],
)
def test_what_would_not_be_seen_is_an_escape(name: str, seen: str) -> None:
    assert text.visible(name) == seen
    assert text.lines(f"{name}\nnext").endswith("\nnext")


def test_numbers_have_their_noun() -> None:
    assert [text.counted(number, "photo") for number in (0, 1, 2, 1000)] == [
        "0 photos",
        "1 photo",
        "2 photos",
        "1,000 photos",
    ]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/me/birds", "birds"),
        ("/clone/sample", "sample"),
        ("/home/me/birds/.dvc/tmp/exps/tmpk3", "birds"),
        ("/clone/.dvc/tmp/exps/standalone/sample", "sample"),
    ],
)
def test_a_project_is_called_as_its_folder_in_an_experiment_too(folder: str, name: str) -> None:
    assert text.project(Path(folder)) == name
