"""The report page: one self-contained HTML file without scripts, readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.outputs import LogSummary
from experiments.report.figures import with_prefix
from experiments.report.launch_metrics import MetricLines
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate, Skipped


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


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title: the question.
        answer: the answer in a sentence.
        log: what was evaluated.
        rows: results in the order to be shown.
        pictures: pictures in the order to be shown.
        facts: name -> value lines about the run.
        reproduce: the command that makes the page again.
        cautions: what is not known, and why.
        metrics: the stack of metrics, or None.
    """

    title: str
    answer: str
    log: LogSummary
    rows: Sequence[Estimate]
    pictures: Sequence[Picture]
    facts: Mapping[str, Any]
    reproduce: str
    cautions: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()
    metrics: MetricLines | None = None


def render(report: Report) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    return environment().get_template("page.html.j2").render(report=report, interval=interval_text)
