"""The templates of this room, and what stands beside them."""

from pathlib import Path

import jinja2

from smallset.pipeline import text

STATIC = Path(__file__).parent / "static"


def rendered(template: str, **facts: object) -> str:
    """A template with its values, which are text: visible and escaped."""
    own = jinja2.Environment(
        loader=jinja2.PackageLoader("smallset.web"),
        autoescape=True,
        finalize=lambda value: text.visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return own.get_template(template).render(**facts)
