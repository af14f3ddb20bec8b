"""Treatment, rules, support and what is not known, for the launch report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.judge.launch.exploring import NOT, SHOWN
from experiments.report.words import VERDICTS, Names, amount, between, capital, percent

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate
    from experiments.judge.backtest import BacktestOutput
    from experiments.judge.launch.exploring import ExploringOutput
    from experiments.judge.launch.rule_costs import RuleCost
    from experiments.judge.launch.support import SupportRow, WeightBin
    from experiments.judge.launch.taken_apart import ApartOutput
    from experiments.judge.launch.treatment import ShareRow, TreatmentOutput

KINDS = {"treatment": "", "channel": "Channel", "hours": "Local hour", "arm": "Content"}
MAX_NOTES = 6


@dataclass(frozen=True)
class SharePair:
    """A share of decisions under both policies, as text and as percent of the bar."""

    kind: str
    level: str
    today: str
    new: str
    today_at: float
    new_at: float
    change: str


@dataclass(frozen=True)
class Group:
    """A group of contacts and what changes for it."""

    name: str
    share: str
    changed: str
    held: str
    most: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """What a rule takes away."""

    name: str
    removed: str
    silenced: str
    sends: str
    value: str
    note: str


@dataclass(frozen=True)
class Bin:
    """A bar of the weights' histogram."""

    label: str
    rows: str
    weight: str
    rows_at: float
    weight_at: float


@dataclass(frozen=True)
class Support:
    """How much of the log speaks for a policy."""

    name: str
    sentence: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class ExploringLine:
    """One way to explore, as text."""

    name: str
    off: str
    cost: str
    month: str
    width: str


@dataclass(frozen=True)
class Exploring:
    """What exploring costs beside what it buys."""

    sentence: str
    measured: str
    lines: tuple[ExploringLine, ...]


def exploring_of(found: ExploringOutput, unit: str, names: Names) -> Exploring:
    """The sentence, what the log itself says, and one line for each way to explore."""
    gap = found.measured
    known = gap is not None and gap.value is not None
    said = "and this log does not show it"
    if gap is not None and known:
        tail = f" ({between(gap.low, gap.high, unit, signed=True)})" if gap.low is not None else ""
        said = f"and by this log exploring changes the value by {amount(gap.value, unit, signed=True)}{tail}"
    return Exploring(
        exploring_sentence(found, unit, names(found.baseline)),
        said,
        tuple(
            ExploringLine(
                capital(row.name),
                percent(row.off_greedy),
                amount(row.cost, unit),
                amount(row.cost_month, unit),
                _width(row.half_width, row.unseen, unit),
            )
            for row in found.rows
        ),
    )


def exploring_cause(found: ExploringOutput | None, unit: str, names: Names) -> str:
    """That exploring is what makes the policy lose, or may be; "" where it is not."""
    if found is None or found.measured is None or found.without is None or found.cause == NOT:
        return ""
    without = between(found.without.low, found.without.high, unit, signed=True)
    cost = between(found.measured.low, found.measured.high, unit, signed=True)
    change = amount(found.measured.value, unit, signed=True)
    said = "The price of exploring may be what makes it lose, which this log does not show"
    if found.cause == SHOWN:
        said = "The price of exploring is what makes it lose"
    return (
        f"{said}: exploring changes the value by {change} per decision ({cost}), and without it the learned policy is "
        f"not shown to do worse than {names(found.baseline)} ({without})."
    )


def _width(half_width: float | None, unseen: float, unit: str) -> str:
    if half_width is not None:
        return amount(half_width, unit)
    return f"none: {percent(unseen)} of today's choices are never drawn" if unseen > 0.0 else "n/a"


def exploring_sentence(found: ExploringOutput, unit: str, baseline: str) -> str:
    """The row as configured in a sentence; `unit` is that of the metric, `baseline` the name of today's practice."""
    own = found.rows[0]
    said = (
        f"Exploring takes {percent(own.off_greedy)} of the decisions and costs {amount(own.cost, unit)} a decision, "
        f"{amount(own.cost_month, unit)} over {found.decisions_month:,} decisions, by the model that was learnt"
    )
    if own.half_width is not None:
        width = amount(own.half_width, unit)
        return f"{said}; next month's interval against {baseline} is planned at {width} to either side."
    if own.unseen > 0.0:
        never = percent(own.unseen)
        return f"{said}; {never} of what {baseline} would do is then never drawn, so next month's log cannot judge it."
    return f"{said}; this log does not tell how wide next month's interval will be."


PARTS = {
    "sends": ("Messages per decision", "what is sent more or less"),
    "answers": ("Answered, of those sent", "what is answered more or less"),
    "worth": ("Money per answered message", "what an answer is worth"),
    "rest": ("Money per decision without an answer", "what comes by itself, and costs"),
}


@dataclass(frozen=True)
class ApartLine:
    """A part of the difference, as text."""

    label: str
    what: str
    today: str
    new: str
    brings: str
    interval: str


@dataclass(frozen=True)
class Apart:
    """The difference taken apart."""

    stage: str
    lines: tuple[ApartLine, ...]
    missing: str


def apart_of(found: ApartOutput, unit: str, names: Names) -> Apart:
    """One line for each part, in its own unit, with what its change brings."""
    units = {"sends": "share", "answers": "share"}
    lines = tuple(
        ApartLine(
            *PARTS[row.part],
            amount(row.baseline, units.get(row.part, unit)),
            amount(row.policy, units.get(row.part, unit)),
            amount(row.value, unit, signed=True),
            between(row.low, row.high, unit, signed=True),
        )
        for row in found.rows
    )
    who = {found.baseline: names(found.baseline), found.policy: names(found.policy)}
    missing = found.missing
    for policy, name in who.items():
        missing = missing.replace(f"speak for {policy}:", f"speak for {name}:")
    return Apart(readable(found.stage), lines, missing)


FIGURES = {
    "metric": "{metric} itself",
    "stage_worth": "what answers are worth, by what was learnt",
    "credited": "{metric} of answered messages, beyond the contact's own",
    "adjusted": "{metric} less what the contact brings by itself",
}
CHECKS = {
    "unbiased": "leaves nothing out that an action changes",
    "not refuted": "what it leaves out is not shown to differ between the two",
    "refuted": "refuted: what it leaves out differs between the two",
    "unknown": "the log cannot check what it leaves out",
}


@dataclass(frozen=True)
class ViewLine:
    """The question by one figure, as text."""

    name: str
    setting: str
    decides: bool
    value: str
    interval: str
    verdict: str
    tone: str
    check: str


def views_of(output: BacktestOutput) -> tuple[ViewLine, ...]:
    """One line for each figure, the metric itself first."""
    metric = readable(output.log.metric) if output.log.metric not in FIGURES else "money"
    return tuple(
        ViewLine(
            capital(FIGURES[view.judged_by].format(metric=metric)),
            view.judged_by,
            view.decides,
            *_gap_text(view.estimate),
            {"better": "good", "worse": "bad", "no difference": "even"}.get(view.estimate.verdict, "grey"),
            CHECKS[view.check],
        )
        for view in output.views
    )


def _gap_text(row: Estimate) -> tuple[str, str, str]:
    """Difference, interval and verdict; the difference of no answer is not shown."""
    gap, said = row.difference, VERDICTS[row.verdict]
    if gap is None or row.verdict == "insufficient":
        return "n/a", "", "no answer"
    return amount(gap.value, "usd", signed=True), between(gap.low, gap.high, "usd", signed=True), said


def shares_of(treatment: TreatmentOutput) -> tuple[SharePair, ...]:
    """All decisions, kind by kind."""
    top = max([max(row.baseline, row.policy) for row in treatment.overall] or [1.0])
    return tuple(
        SharePair(
            kind=KINDS[row.kind],
            level=readable(row.level),
            today=percent(row.baseline),
            new=percent(row.policy),
            today_at=100.0 * row.baseline / max(top, 1e-12),
            new_at=100.0 * row.policy / max(top, 1e-12),
            change=_points(row),
        )
        for row in treatment.overall
    )


def groups_of(treatment: TreatmentOutput) -> tuple[Group, ...]:
    """The groups whose treatment changes otherwise than everybody's, with the two largest changes of each."""
    found = []
    for group in treatment.groups:
        held = next(row for row in group.shares if row.kind == "treatment")
        rest = sorted(
            (row for row in group.shares if row.kind != "treatment"), key=lambda row: -abs(row.policy - row.baseline)
        )
        most = tuple(
            f"{KINDS[row.kind].lower()} {readable(row.level)}: {percent(row.baseline)} to {percent(row.policy)}"
            for row in rest[:2]
            if abs(row.policy - row.baseline) >= 0.005
        )
        found.append(
            Group(
                name=f"{capital(readable(group.feature))}: {readable(group.level)}",
                share=percent(group.share),
                changed=percent(group.distance),
                held=f"{percent(held.baseline)} to {percent(held.policy)}",
                most=most,
            )
        )
    return tuple(found)


def rules_of(rules: Sequence[RuleCost], unit: str) -> tuple[Rule, ...]:
    """The rules that take something away, the costliest in sends first; then those that take nothing."""
    ordered = sorted(rules, key=lambda rule: (-(rule.sends or 0.0), -rule.removed))
    return tuple(
        Rule(
            name=f"{capital(readable(rule.rule))} ({rule.id}, {rule.kind})",
            removed=percent(rule.removed),
            silenced=percent(rule.silenced),
            sends="n/a" if rule.sends is None else f"{100 * rule.sends:.1f}",
            value=_value(rule, unit),
            note=rule.note,
        )
        for rule in ordered
    )


def _value(rule: RuleCost, unit: str) -> str:
    if rule.value is not None:
        return amount(100.0 * rule.value, unit, signed=True)
    return "not priced" if rule.note.startswith("not priced") else "n/a"


def supports_of(rows: Sequence[SupportRow], names: Names) -> tuple[Support, ...]:
    """The weights of each policy."""
    return tuple(
        Support(
            name=capital(names(row.policy)),
            sentence=(
                f"{row.rows:,} decisions speak for it like {row.effective:,.0f} of its own "
                f"({percent(row.effective / max(row.rows, 1))}); the largest weight is {row.largest_weight:.3g}, "
                f"the mean {row.mean_weight:.3f} (1 is expected)."
            ),
            bins=tuple(_bin(one, row) for one in row.bins if one.rows or one.weight),
        )
        for row in rows
    )


def _bin(one: WeightBin, row: SupportRow) -> Bin:
    top = max(max(each.rows, each.weight) for each in row.bins)
    label = f"above {one.low:g}" if one.high is None else "0" if one.high == 0.0 else f"{one.low:g} to {one.high:g}"
    return Bin(
        label, percent(one.rows), percent(one.weight), 100.0 * one.rows / (top or 1), 100.0 * one.weight / (top or 1)
    )


def unknown_of(
    output: BacktestOutput, policies: tuple[str, str], estimator: str, names: Names
) -> tuple[tuple[str, str], ...]:
    """(what, why) of everything that the log cannot say of two policies, each once; by the deciding estimator."""
    found: dict[tuple[str, str], None] = {}
    why_of: dict[str, list[str]] = {}
    for row in output.metrics:
        if row.policy in policies and row.missing and row.label not in why_of.get(row.missing, []):
            why_of.setdefault(row.missing, []).append(row.label)
    for why, labels in why_of.items():
        found[", ".join(labels), why] = None
    for result in output.results:
        if result.policy in policies and result.estimator == estimator and result.verdict == "insufficient":
            for note in result.notes[:MAX_NOTES]:
                found[capital(names(result.policy)), note] = None
    for skipped in output.skipped:
        if skipped.policy in policies and skipped.estimator in ("", estimator):
            found[capital(names(skipped.policy)), skipped.reason] = None
    found[
        "Later effects", "single decisions are judged within their window; fatigue that builds up later is not seen"
    ] = None
    if output.rules:
        found["Value of what rules remove", "never sent under these rules, so only a model has an opinion"] = None
    return tuple(found)


def _points(row: ShareRow) -> str:
    return amount(row.policy - row.baseline, "share", signed=True)


def readable(name: str) -> str:
    """A name of data as words."""
    return name.replace("_", " ")
