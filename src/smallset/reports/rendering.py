"""Jinja templates of the report, the model card and the web pages."""

from collections.abc import Sequence

import jinja2

from smallset.pipeline import text


def render(package: str, template: str, **values: object) -> str:
    """Fill a template of a package; a value that the template misses is an error.

    Names of files and classes can be any text. In HTML all values are made visible and escaped; in Markdown, those that
    go through the filter `plain`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=jinja2.select_autoescape(["html"]),
        finalize=lambda value: text.visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def enumerate_words(words: Sequence[str]) -> str:  # as "a, b and c", or "a, b and 98 more"
        if len(words) > text.LISTED:
            words = [*words[: text.LISTED], f"{len(words) - text.LISTED:,} more"]
        return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

    environment.filters |= {"enumerated": enumerate_words, "plain": text.plain, "counted": text.counted}
    environment.globals["LISTED"] = text.LISTED
    return environment.get_template(template).render(**values)
