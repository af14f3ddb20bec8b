"""The launch report: what a head of CRM reads in two minutes, and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from experiments.judge.audit import gate_sentence
from experiments.judge.contenders import LEARNED, LOGGED, SEGMENTS
from experiments.report.bars import Mark, Scale, mark, scale_of
from experiments.report.launch_details import (
    Exploring,
    Group,
    Rule,
    SharePair,
    Support,
    exploring_cause,
    exploring_of,
    groups_of,
    rules_of,
    shares_of,
    supports_of,
    unknown_of,
)
from experiments.report.launch_metrics import GateLine, Layer, gate_lines, layers_of
from experiments.report.page import Card, Picture, environment
from experiments.report.volume_curve import curve_picture
from experiments.report.words import VERDICTS, Names, amount, between, capital, interval_text, percent, tried, unbroken

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate
    from experiments.judge.backtest import BacktestOutput

GO, STAY, UNKNOWN = "go", "stay", "unknown"


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

    question: str
    answer: str
    tone: str
    badge: str
    because: tuple[str, ...]
    notes: tuple[str, ...]
    cards: tuple[Card, ...]
    chart: Chart
    further: Chart
    gate: tuple[GateLine, ...]
    gate_passed: bool | None
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
    rows: tuple[Estimate, ...]
    policy: str
    baseline: str
    confidence: str
    curve: Picture | None = None
    exploring: Exploring | None = None
    segments: tuple[tuple[str, str, str], ...] = ()
    together: str = ""
    messages: str = ""


def single_messages(output: BacktestOutput, estimator: str) -> str:
    """How many of the constant messages are shown to do better than the baseline."""
    hold = (f"always:{output.log.hold}", "always:hold")
    rows = [
        row
        for row in output.results
        if row.policy.startswith("always:") and row.policy not in hold and row.estimator == estimator
    ]
    baseline = next((row.difference.baseline for row in rows if row.difference is not None), LOGGED)
    return tried(rows, "single messages", Names(output.log.hold, baseline))


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
    tone, badge, answer = _answer(output, learned, baseline, names)
    unit = output.log.unit
    return LaunchPage(
        question=f"Should {names(LEARNED)} replace {names(baseline)}?",
        answer=answer,
        tone=tone,
        badge=badge,
        because=_because(output, learned, baseline, names),
        notes=(*_audit_notes(output), *output.log.notes),
        cards=_cards(output, learned, baseline),
        chart=_chart(_named(deciding, baseline, output.log.hold), unit, names),
        further=_chart(output.comparisons, unit, names, others=True, skip=baseline),
        gate=() if output.gate is None else gate_lines(output.gate, unit),
        gate_passed=None if output.gate is None else output.gate.passed,
        curve=None if output.volume_curve is None else curve_picture(output.volume_curve),
        exploring=None if output.exploring is None else exploring_of(output.exploring, unit, names),
        layers=layers_of(output.metrics, LEARNED, baseline),
        distance="" if output.treatment is None else f"{100 * output.treatment.distance:.0f} %",
        shares=() if output.treatment is None else shares_of(output.treatment),
        groups=() if output.treatment is None else groups_of(output.treatment),
        rules=rules_of(output.rules, unit),
        support=supports_of(output.support, names),
        unknown=unknown_of(output, LEARNED, baseline, names),
        facts=_facts(output, baseline, estimator, names),
        provenance=tuple(output.provenance.items()),
        command=command,
        estimator=estimator,
        rows=_figures(output.results, estimator),
        policy=names(LEARNED),
        baseline=names(baseline),
        confidence=f"{100 * (1 - learned.alpha):g} %",
        together=_together(output.comparisons, deciding),
        messages=single_messages(output, estimator),
        segments=tuple((row.who, row.action, percent(row.share)) for row in output.segments[:MOST_SEGMENTS]),
    )


def _answer(output: BacktestOutput, learned: Estimate, baseline: str, names: Names) -> tuple[str, str, str]:
    """Tone, badge and the answer in a sentence."""
    new, today = names(learned.policy), names(baseline)
    launch, metric = output.launch, _metric(output)
    if launch.policy == learned.policy:
        return GO, "Launch", f"Yes. {capital(new)} does better on {metric} than {today}{_harm(output)}."
    stay = f"Stay with {today}" if launch.policy == baseline else "Do not launch"
    if learned.verdict == "better":
        asked = [check.label for check in output.gate.checks if check.blocks] if output.gate else []
        refusal = f"the log does not show that {_listed(asked)} stay within what may be lost"
        return STAY, stay, f"Not yet. {capital(new)} does better on {metric} than {today}, but {refusal}."
    if learned.verdict == "worse":
        return STAY, stay, f"No. {capital(new)} does worse on {metric} than {today}."
    if learned.verdict == "no difference":
        return STAY, stay, f"No. The log does not show that {new} does better on {metric} than {today}."
    return UNKNOWN, stay, f"The log cannot say: it holds too little that speaks for {new}. Nothing should change."


def _harm(output: BacktestOutput) -> str:
    """What the answer may claim of the guardrail metrics: unknown is not unharmed."""
    asked = [check for check in output.gate.checks if check.role == "guardrail"] if output.gate is not None else []
    if not asked:
        return ""
    known = [check for check in asked if check.verdict != "n/a"]
    if len(known) == len(asked):
        return ", and every guardrail metric stays within its margin"
    if not known:
        return "; what it does to guardrail metrics this log cannot say"
    if len(known) == 1:
        return ", and the one guardrail metric that the log knows stays within its margin"
    return f", and the {len(known)} guardrail metrics that the log knows stay within their margins"


def _because(output: BacktestOutput, learned: Estimate, baseline: str, names: Names) -> tuple[str, ...]:
    """The figures behind the answer, one sentence each."""
    unit, found = output.log.unit, []
    gap = learned.difference
    if learned.verdict == "insufficient":
        found += [f"{capital(note)}." for note in learned.notes[:2]]
    elif gap is not None and gap.value is not None:
        found.append(
            f"The difference in {_metric(output)} is {amount(gap.value, unit, signed=True)} per decision; "
            f"{100 * (1 - learned.alpha):g} % interval {between(gap.low, gap.high, unit, signed=True)}."
        )
    cause = exploring_cause(output.exploring, unit, names)
    found += [cause] if cause else []
    today = _today(output, baseline)
    if today is not None and today.difference is not None and output.launch.policy != LEARNED:
        said = VERDICTS[today.verdict]
        tail = ""
        if today.verdict != "insufficient":
            tail = f" ({between(today.difference.low, today.difference.high, unit, signed=True)})"
        found.append(f"{capital(names(baseline))} against {names(today.difference.baseline)}: {said}{tail}.")
        if output.launch.policy not in (LEARNED, baseline):
            found.append(
                f"By the fixed order of the rule, {names(output.launch.policy)} is what the log supports: it is shown "
                f"to do better than {names(baseline)}."
            )
    if output.gate is not None:
        passed = [check for check in output.gate.checks if check.role == "guardrail" and check.verdict == "pass"]
        asked = [check for check in output.gate.checks if check.role == "guardrail"]
        blocked = [check.label for check in asked if check.blocks]
        silent = sum(check.verdict == "n/a" for check in asked)
        tail = f"; not shown: {_listed(blocked)}" if blocked else ""
        unknown = f"; {silent} the log cannot say" if silent else ""
        found.append(f"Guardrail metrics: {len(passed)} of {len(asked)} within their margins{tail}{unknown}.")
    return tuple(found)


def _today(output: BacktestOutput, baseline: str) -> Estimate | None:
    """Today's practice against doing nothing."""
    quiet = [row for row in output.comparisons if row.policy == baseline and row.difference is not None]
    return quiet[0] if quiet else None


def _cards(output: BacktestOutput, learned: Estimate, baseline: str) -> tuple[Card, ...]:
    unit, metric = output.log.unit, _metric(output)
    gap = learned.difference
    trusted = learned.verdict != "insufficient" and gap is not None
    value = amount(gap.value, unit, signed=True) if trusted and gap is not None else "not known"
    detail = between(gap.low, gap.high, unit, signed=True) if trusted and gap is not None else "too little data"
    cards = [Card(f"{capital(metric)} per decision, against today", value, detail)]
    rows = {(row.policy, row.metric): row for row in output.metrics}
    for name in ("sends_per_decision", "unsubscribe_rate"):
        own, today = rows.get((LEARNED, name)), rows.get((baseline, name))
        if own is None or today is None:
            continue
        if own.value is None or today.value is None:
            cards.append(Card(own.label, "n/a", own.missing or today.missing))
            continue
        change = own.difference
        tail = f"; change {between(change.low, change.high, own.unit, signed=True)}" if change else ""
        shown = amount(own.value, own.unit)
        cards.append(Card(own.label, shown, f"today {amount(today.value, own.unit)}{tail}"))
    if output.treatment is not None:
        cards.append(Card("Treated differently", f"{100 * output.treatment.distance:.0f} %", "of decisions"))
    return tuple(cards)


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


def _figures(rows: Sequence[Estimate], estimator: str) -> tuple[Estimate, ...]:
    """The deciding estimator first; constant actions by it alone, the results file has them by all."""
    shown = [row for row in rows if row.estimator == estimator or not row.policy.startswith("always:")]
    return tuple(sorted(shown, key=lambda row: row.estimator != estimator))


def _facts(output: BacktestOutput, baseline: str, estimator: str, names: Names) -> tuple[tuple[str, str], ...]:
    log, split = output.log, output.split
    dropped = "; ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in log.dropped.items())
    return (
        ("The rule's own words", f"launch {output.launch.policy} ({output.launch.verdict}): {output.launch.reason}"),
        ("What is measured", log.description or log.metric),
        ("Log", f"{log.rows:,} decisions about {log.contacts:,} contacts, {log.actions} possible actions"),
        ("Not used", dropped or "nothing"),
        ("Split", f"by {split['by']}: {split['train_rows']:,} decisions train, {split['evaluation_rows']:,} judge"),
        ("Decides", f"estimator {estimator}, fixed before any result was seen"),
        ("Held against", _practice(output, baseline, names)),
        ("Independent units", f"each {log.clusters}"),
        ("Audit of the log", gate_sentence(output.audit)),
    )


def _practice(output: BacktestOutput, baseline: str, names: Names) -> str:
    """What the learned policy would replace, and whose it is."""
    if baseline == SEGMENTS:
        by = ", ".join(output.split["segments"]) or "nothing: one segment"
        return f"{names(baseline)}, by {by}; your own rule would be --practice RULE.yaml"
    if baseline == LOGGED:
        return f"{names(baseline)}; your own rule would be --practice RULE.yaml"
    return names(baseline)


def _audit_notes(output: BacktestOutput) -> tuple[str, ...]:
    """A log whose audit was overridden must not look like any other."""
    audit = output.audit
    if audit is None or not audit.overridden:
        return ()
    return (f"The audit of this log fails ({', '.join(audit.failed)}) and was overridden: {audit.overridden}",)


def _metric(output: BacktestOutput) -> str:
    return output.log.metric.replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    """Names as people list them."""
    lower = [name[:1].lower() + name[1:] if not name.isupper() else name for name in names]
    return lower[0] if len(lower) == 1 else f"{', '.join(lower[:-1])} and {lower[-1]}" if lower else "all metrics"


def render_launch(page: LaunchPage) -> str:
    """The launch report as HTML; every text is escaped."""
    rendered = environment().get_template("launch.html.j2").render(page=page, interval=interval_text)
    return unbroken(rendered.lstrip())
