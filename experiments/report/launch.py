"""The launch report: what a head of CRM reads in two minutes, and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from experiments.judge.audit import gate_sentence
from experiments.judge.contenders import LEARNED
from experiments.judge.launch.learned_rule import LEARNED_RULE
from experiments.report.bars import Mark, Scale, mark, scale_of
from experiments.report.first_screen import FirstScreen, first_screen, practice_in_words
from experiments.report.launch_details import (
    Apart,
    Exploring,
    Group,
    Rule,
    SharePair,
    Support,
    ViewLine,
    apart_of,
    exploring_of,
    groups_of,
    rules_of,
    shares_of,
    supports_of,
    unknown_of,
    views_of,
)
from experiments.report.launch_metrics import GateLine, Layer, absent_metrics, gate_lines, layers_of, silent_demands
from experiments.report.learned_rule import RulePart, rule_part
from experiments.report.page import Picture, environment
from experiments.report.volume_curve import curve_picture
from experiments.report.words import (
    VERDICTS,
    Names,
    amount,
    between,
    capital,
    estimator_in_words,
    interval_text,
    percent,
    unbroken,
)

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate
    from experiments.judge.backtest import BacktestOutput

# Segments beyond the largest are in the file of rules alone.
MOST_SEGMENTS: Final = 24


@dataclass(frozen=True)
class Line:
    """A difference with its interval, in words and as a mark."""

    name: str
    against: str
    value: str
    interval: str
    verdict: str
    tone: str
    mark: Mark | None


@dataclass(frozen=True)
class Chart:
    """Lines on one scale; `ends` are the labels below the last that is drawn, (percent, text)."""

    lines: tuple[Line, ...]
    ends: tuple[tuple[float, str], ...]

    @property
    def last(self) -> int:
        """Place of the last line that is drawn; -1 where none is."""
        return max((place for place, line in enumerate(self.lines) if line.mark is not None), default=-1)


@dataclass(frozen=True)
class LaunchPage:
    """Everything that the page shows, in its order."""

    first: FirstScreen
    notes: tuple[str, ...]
    chart: Chart
    further: Chart
    gate: tuple[GateLine, ...]
    gate_silent: str
    gate_passed: bool | None
    apart: Apart | None
    views: tuple[ViewLine, ...]
    rule: RulePart | None
    absent: str
    layers: tuple[Layer, ...]
    distance: str
    shares: tuple[SharePair, ...]
    groups: tuple[Group, ...]
    rules: tuple[Rule, ...]
    support: tuple[Support, ...]
    unknown: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    command: str
    estimator: str
    rows: tuple[tuple[str, str, Estimate], ...]
    policy: str
    baseline: str
    confidence: str
    curve: Picture | None = None
    exploring: Exploring | None = None
    segments: tuple[tuple[str, str, str], ...] = ()
    together: str = ""


def launch_page(output: BacktestOutput, baseline: str, estimator: str, command: str) -> LaunchPage:
    """The page of a backtest.

    Args:
        output: what the backtest found.
        baseline: today's practice.
        estimator: the estimator that decides.
        command: the command that makes the page again.
    """
    deciding = [row for row in output.results if row.estimator == estimator]
    learned = next(row for row in deciding if row.policy == LEARNED)
    names = Names(output.log.hold, baseline)
    unit = output.log.unit
    return LaunchPage(
        first=first_screen(output, baseline, estimator),
        notes=(*_audit_notes(output), *output.warnings, *output.log.notes),
        chart=_chart(_named(deciding, baseline, output.log.hold), unit, names),
        further=_chart(output.comparisons, unit, names, others=True, skip=baseline),
        gate=() if output.gate is None else gate_lines(output.gate, unit),
        gate_silent="" if output.gate is None else silent_demands(output.gate),
        apart=None if output.apart is None else apart_of(output.apart, unit, names),
        views=views_of(output),
        rule=_rule(output, deciding, names),
        absent=absent_metrics(output.metrics, (LEARNED, baseline)),
        gate_passed=None if output.gate is None else output.gate.passed,
        curve=None if output.volume_curve is None else curve_picture(output.volume_curve),
        exploring=None if output.exploring is None else exploring_of(output.exploring, unit, names),
        layers=layers_of(output.metrics, LEARNED, baseline),
        distance="" if output.treatment is None else f"{100 * output.treatment.distance:.0f} %",
        shares=() if output.treatment is None else shares_of(output.treatment),
        groups=() if output.treatment is None else groups_of(output.treatment),
        rules=rules_of(output.rules, unit),
        support=supports_of(output.support, names),
        unknown=unknown_of(output, (LEARNED, baseline), estimator, names),
        facts=_facts(output, baseline, estimator, names),
        provenance=tuple(output.provenance.items()),
        command=command,
        estimator=estimator,
        rows=_figures(output.results, estimator, names),
        policy=names(LEARNED),
        baseline=names(baseline),
        confidence=f"{100 * (1 - learned.alpha):g} %",
        together=_together(output.comparisons, deciding),
        segments=tuple((row.who, row.action, percent(row.share)) for row in output.segments[:MOST_SEGMENTS]),
    )


def _named(rows: Sequence[Estimate], baseline: str, hold: str) -> list[Estimate]:
    """Policies with a name; constants are in the table of all figures."""
    return [
        row
        for row in rows
        if row.policy != baseline and (not row.policy.startswith("always:") or row.policy == f"always:{hold}")
    ]


def _chart(rows: Sequence[Estimate], unit: str, names: Names, *, others: bool = False, skip: str = "") -> Chart:
    drawn = [row for row in rows if row.difference is not None and row.difference.baseline != skip]
    known = [row.difference for row in drawn if row.difference and row.verdict != "insufficient"]
    scale = scale_of([end for gap in known for end in (gap.low, gap.high, gap.value)])
    lines = tuple(_line(row, scale, unit, names, others=others) for row in drawn)
    ends = tuple((place, amount(value, unit, signed=True)) for place, value in scale.labels)
    return Chart(lines, ends)


def _rule(output: BacktestOutput, deciding: Sequence[Estimate], names: Names) -> RulePart | None:
    """The learned policy as a rule, with its own difference."""
    if output.learned_rule is None:
        return None
    own = next((row for row in deciding if row.policy == LEARNED_RULE), None)
    return rule_part(output.learned_rule, own, output.log.unit, names)


def _together(*tables: Sequence[Estimate]) -> str:
    """How the further differences are corrected, for people; "" where each stands alone."""
    for row in (row for rows in tables for row in rows if row.policy != LEARNED):
        said = next((note for note in row.notes if note.startswith("the intervals of")), "")
        if said:
            return f"The question's own interval stands alone; of all others, {said}."
    return ""


def _line(row: Estimate, scale: Scale, unit: str, names: Names, *, others: bool) -> Line:
    gap = row.difference
    against = f"against {names(gap.baseline)}" if others and gap else ""
    name = capital(names(row.policy))
    if gap is None or row.verdict == "insufficient":
        return Line(name, against, "n/a", "too little data", VERDICTS["insufficient"], "grey", None)
    tone = {"better": "good", "worse": "bad"}.get(row.verdict, "even")
    return Line(
        name,
        against,
        amount(gap.value, unit, signed=True),
        between(gap.low, gap.high, unit, signed=True),
        VERDICTS[row.verdict],
        tone,
        mark(scale, gap.value, gap.low, gap.high),
    )


def _figures(rows: Sequence[Estimate], estimator: str, names: Names) -> tuple[tuple[str, str, Estimate], ...]:
    """Policy and estimator in words; the deciding one first, constant actions by it alone."""
    shown = [row for row in rows if row.estimator == estimator or not row.policy.startswith("always:")]
    ordered = sorted(shown, key=lambda row: row.estimator != estimator)
    return tuple((capital(names(row.policy)), estimator_in_words(row.estimator), row) for row in ordered)


def _facts(output: BacktestOutput, baseline: str, estimator: str, names: Names) -> tuple[tuple[str, str], ...]:
    log, split = output.log, output.split
    dropped = "; ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in log.dropped.items())
    return (
        ("The rule's own words", f"launch {output.launch.policy} ({output.launch.verdict}): {output.launch.reason}"),
        ("What is measured", log.description or log.metric),
        ("Log", f"{log.rows:,} decisions about {log.contacts:,} contacts, {log.actions} possible actions"),
        ("Not used", dropped or "nothing"),
        ("Split", f"by {split['by']}: {split['train_rows']:,} decisions train, {split['evaluation_rows']:,} judge"),
        ("Decides", f"{estimator_in_words(estimator)}, fixed before any result was seen"),
        ("Held against", practice_in_words(output, baseline, names)),
        ("Independent units", f"each {log.clusters}{'; groups were assigned to contacts' if log.assigned else ''}"),
        ("Audit of the log", gate_sentence(output.audit)),
    )


def _audit_notes(output: BacktestOutput) -> tuple[str, ...]:
    """A log whose audit was overridden must not look like any other."""
    audit = output.audit
    if audit is None or not audit.overridden:
        return ()
    return (f"The audit of this log fails ({', '.join(audit.failed)}) and was overridden: {audit.overridden}",)


def render_launch(page: LaunchPage) -> str:
    """The launch report as HTML; every text is escaped."""
    rendered = environment().get_template("launch.html.j2").render(page=page, interval=interval_text)
    return unbroken(rendered.lstrip())
