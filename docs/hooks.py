"""Hooks of mkdocs.yml: README.md is the first page, and the site also contains the files that pages link to."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")  # text, path and anchor; not of other sites


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add README.md, and what it and the other pages link to."""
    waiting, visited = ["README.md", *(f"docs/{file.src_uri}" for file in files)], set[str]()
    while waiting:
        source = waiting.pop()
        if source in visited or not is_shown(source):
            continue
        visited.add(source)
        if files.get_file_from_path(locate(source)) is None:
            files.append(File.generated(config, locate(source), abs_src_path=str(ROOT / source)))
        if source.endswith(".md"):
            markdown = (ROOT / source).read_text(encoding="utf-8")
            waiting += [resolve(source, path) for _, path, _ in LINK.findall(markdown)]


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links lead to where the files are in the site; only the text stays of links to folders and hidden files."""
    place = page.file.src_uri
    sources = ("README.md" if place == "index.md" else place, f"docs/{place}")
    source = next(path for path in sources if (ROOT / path).is_file())

    def move(match: re.Match[str]) -> str:
        text, path, anchor = match.groups("")
        target = resolve(source, path)
        link = posixpath.relpath(locate(target), posixpath.dirname(place))
        return f"[{text}]({link}{anchor})" if is_shown(target) else text

    return LINK.sub(move, markdown)


def resolve(source: str, path: str) -> str:
    """The path in the repository of a link in one of its files."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def locate(source: str) -> str:
    """Where a file of the repository is in the site."""
    return "index.md" if source == "README.md" else source.removeprefix("docs/")


def is_shown(source: str) -> bool:
    """Whether the site contains this path of the repository."""
    return (ROOT / source).is_file() and not source.startswith((".", "src"))
