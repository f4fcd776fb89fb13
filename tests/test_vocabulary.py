"""One concept has one name: the words of earlier versions do not come back, neither as names nor in prose."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
GUIDES = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "params.yaml", ROOT / "dvc.yaml"]
TEMPLATES = [path for path in (ROOT / "src").rglob("*.*") if path.suffix in (".html", ".md", ".yaml", ".txt")]
OLD_PROJECTS = ROOT / "src/smallset/cli/upgrade.py"  # it reads the params and files of version 0.2.0

NAMES = re.compile(  # of variables, arguments, attributes, functions and classes, which say what the value is instead
    r"found|own|known|one|given|said|told|asked|made|suspects|suspected|unlike|unlikeness|larger|audit|trunk|doubt"
    r"|adjusted|chosen|a_class|ece_noise|bringing|healing|saying|walking"
)
PROSE = re.compile(
    r"(?<!\w)(frozen features?|data sets?|suspects?|suspected|unlikeness|boastful|rooms|trunk|audit|ece_noise|a_class"
    r"|larger\.(side|mirror)|(models?/|`)(pooled|linear)(\.keras|`)|--unlike-rate|--chapter|smallset (since|update)"
    r"|in the mean|searched to the bottom|bucket is made|with a slip|stays? possible|labels of the others?)(?!\w)",
    re.IGNORECASE,
)


def find_names(path: Path) -> Iterator[str]:
    """The names that a module defines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def test_names_say_what_the_value_is() -> None:
    assert not [f"{path}: {name}" for path in CODE for name in find_names(path) if NAMES.fullmatch(name)]


def test_prose_has_no_old_words() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in {*CODE, *GUIDES, *TEMPLATES} - {OLD_PROJECTS}}
    assert not [f"{path}: {match[0]}" for path, text in texts.items() for match in PROSE.finditer(text)]
