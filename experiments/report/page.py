"""The report page: one self-contained HTML file without scripts, readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.report.figures import with_prefix
from experiments.report.words import figure_text


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


@dataclass(frozen=True)
class Picture:
    """An inline SVG with the sentence that stands in for it."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Card:
    """A figure that must not be missed."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Sheet:
    """The first screen of a page.

    Attributes:
        question: what the page answers; its title.
        eyebrow: what kind of page it is, and of what.
        tone: go, stay or unknown: the colour of the answer.
        badge: the answer in a word or two.
        answer: the answer in a sentence.
        because: reasons, and what to do.
        notes: what must not be overlooked.
        cards: key figures.
    """

    question: str
    eyebrow: str
    tone: str
    badge: str
    answer: str
    because: Sequence[str] = ()
    notes: Sequence[str] = ()
    cards: Sequence[Card] = ()
