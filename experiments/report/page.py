"""The report page: one self-contained HTML file without scripts, readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.ope.estimate import Estimate, Skipped
from experiments.outputs import LogSummary
from experiments.report.environment import environment
from experiments.report.launch import LaunchPage
from experiments.report.launch_metrics import MetricLines
from experiments.report.text import interval_text


@dataclass(frozen=True)
class Picture:
    """An inline SVG with the sentence that stands in for it."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title: the question.
        answer: the answer in a sentence.
        log: what was evaluated.
        rows: results in the order to be shown.
        pictures: in order.
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


def render_launch(page: LaunchPage) -> str:
    """The launch report as HTML; every text is escaped."""
    rendered = environment().get_template("launch.html.j2").render(page=page, interval=interval_text)
    return rendered.lstrip()
