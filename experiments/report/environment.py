"""The one environment of the pages' templates: every text is escaped, and a name that is not there is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.report.figures import with_prefix
from experiments.report.text import figure_text


def environment() -> Environment:
    """Templates of this folder, with the filters `figure` (a number as text) and `own_ids` (ids of inline SVG)."""
    made = Environment(
        loader=PackageLoader("experiments", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(figure=figure_text, own_ids=with_prefix)
    return made
