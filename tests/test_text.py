"""Names of files and classes do not break a line or control a terminal, and usual names stay as they are."""

from pathlib import Path

import pytest

from smallset.pipeline import text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),  # a terminal would show aexe.jpg
        ("\udc80", r"\x80"),  # a byte of a name that is not UTF-8
        ("Zaunkönig 鷦鷯 \u200c👩\u200d🔬 a$b", "Zaunkönig 鷦鷯 \u200c👩\u200d🔬 a$b"),
    ],
)
def test_invisible_characters_become_escapes(name: str, expected: str) -> None:
    assert text.visible(name) == expected
    assert text.lines(f"{name}\nnext").endswith("\nnext")


def test_markdown_shows_a_name_as_it_is_and_numbers_have_a_noun() -> None:
    assert text.plain("a|b*<c> _x_ fine_tune") == r"a\|b\*\<c\> \_x\_ fine_tune"
    assert [text.counted(number, "photo") for number in (0, 1, 2000)] == ["0 photos", "1 photo", "2,000 photos"]


def test_a_long_list_is_cut_and_says_how_many_lines_are_missing() -> None:
    lines = [str(number) for number in range(1_020)]
    assert text.first_lines(lines, "and {} more") == [*lines[:20], "and 1,000 more"]
    assert text.first_lines(lines[:20], "and {} more") == lines[:20]


@pytest.mark.parametrize("copy", ["birds", "birds/.dvc/tmp/exps/tmpk3", ".dvc/tmp/exps/standalone/birds"])
def test_an_experiment_has_the_name_of_its_project(copy: str) -> None:
    assert text.project(Path("/home/me", copy)) == "birds"
