"""The metrics and the gate of a launch report, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.ope.metrics.gate import Check, Gate
from experiments.outputs import MetricRow
from experiments.report.bars import Mark, mark, scale_of
from experiments.report.words import LAYERS, VERDICTS, amount, between, capital


@dataclass(frozen=True)
class GateLine:
    """A demand and its answer."""

    label: str
    role: str
    today: str
    new: str
    change: str
    allowed: str
    verdict: str
    tone: str
    why: str


@dataclass(frozen=True)
class MetricLine:
    """A metric under today's and under the new policy.

    Attributes:
        mark: the change on the layer's common scale of relative changes; None where there is no interval.
    """

    label: str
    today: str
    new: str
    change: str
    interval: str
    verdict: str
    tone: str
    mark: Mark | None


@dataclass(frozen=True)
class Layer:
    """A layer of metrics."""

    title: str
    lines: tuple[MetricLine, ...]


_TONES = {"better": "good", "worse": "bad", "no difference": "even", "insufficient": "grey"}
_GATE_TONES = {"pass": "good", "fail": "bad", "undecided": "warn", "n/a": "grey"}


def gate_lines(gate: Gate, primary_unit: str) -> tuple[GateLine, ...]:
    """The demands of the gate that the log can judge, the primary metric first."""
    return tuple(_gate_line(check, primary_unit) for check in gate.checks if not _silent(check))


def silent_demands(gate: Gate) -> str:
    """Demands that the log knows nothing of, in one line; "" where it can judge all."""
    return ", ".join(capital(check.label.replace("_", " ")) for check in gate.checks if _silent(check))


def _silent(check: Check) -> bool:
    return check.role == "guardrail" and check.verdict == "n/a" and not check.blocks


def _gate_line(check: Check, primary_unit: str) -> GateLine:
    unit = check.unit if check.role == "guardrail" else primary_unit
    change = "n/a"
    if check.gain is not None and check.baseline_value is not None and check.value is not None:
        change = amount(check.value - check.baseline_value, unit, signed=True)
    why = check.reason.split(": ", 1)[-1] if check.verdict in ("n/a", "undecided") and check.bound is None else ""
    if why.startswith(("n/a, ", "undecided, ")):
        why = why.split(", ", 1)[1]
    if check.verdict in ("fail", "undecided") and check.bound is not None and check.bound < 0.0:
        why = f"may be up to {amount(-check.bound, unit, signed=True)[1:]} worse"
    return GateLine(
        label=capital(check.label.replace("_", " ")),
        role="what the change is for" if check.role == "primary" else "must not suffer",
        today=amount(check.baseline_value, unit),
        new=amount(check.value, unit),
        change=change,
        allowed=_allowed(check, unit),
        verdict=VERDICTS[check.verdict],
        tone=_GATE_TONES[check.verdict],
        why=why,
    )


def _allowed(check: Check, unit: str) -> str:
    if check.rule == "better":
        return "must be shown to rise"
    margin = f"{100 * check.margin:g} % of today's" if check.relative else amount(check.margin, unit, signed=True)[1:]
    how = "shown within" if check.rule == "not_worse" else "not shown beyond"
    return f"{how} {margin}"


def layers_of(rows: Sequence[MetricRow], policy: str, baseline: str) -> tuple[Layer, ...]:
    """Layer by layer, each metric under both policies; those that the log cannot say are left out."""
    own = {row.metric: row for row in rows if row.policy == policy}
    today = {row.metric: row for row in rows if row.policy == baseline}
    found: dict[str, list[MetricLine]] = {}
    ends = [
        end / row.value
        for name, row in today.items()
        if row.value and (gap := _gap(own, name)) is not None
        for end in gap
    ]
    scale = scale_of([min(max(end, -1.0), 1.0) for end in ends])
    for name, row in own.items():
        old = today.get(name)
        if old is None or row.missing or old.missing:
            continue
        gap = _gap(own, name)
        drawn = None
        if gap is not None and old.value and row.difference is not None:
            drawn = mark(scale, row.difference.value / old.value, gap[0] / old.value, gap[1] / old.value)
        found.setdefault(row.layer, []).append(_line(row, old, drawn))
    return tuple(Layer(LAYERS[layer], tuple(lines)) for layer, lines in found.items())


def absent_metrics(rows: Sequence[MetricRow], policies: Sequence[str]) -> str:
    """Metrics that the log cannot say of some of the policies, in one line; "" where it can say all."""
    return ", ".join(dict.fromkeys(row.label for row in rows if row.policy in policies and row.missing))


def _gap(rows: dict[str, MetricRow], name: str) -> tuple[float, float] | None:
    row = rows.get(name)
    if row is None or row.difference is None or row.difference.low is None or row.difference.high is None:
        return None
    return row.difference.low, row.difference.high


def _line(row: MetricRow, today: MetricRow, drawn: Mark | None) -> MetricLine:
    gap = row.difference
    verdict = gap.verdict if gap is not None else "insufficient"
    return MetricLine(
        label=row.label,
        today=amount(today.value, row.unit),
        new=amount(row.value, row.unit, like=today.value or None),
        change="n/a" if gap is None else amount(gap.value, row.unit, signed=True),
        interval="" if gap is None else between(gap.low, gap.high, row.unit, signed=True),
        verdict="not known" if gap is None else VERDICTS[verdict],
        tone=_TONES[verdict],
        mark=drawn,
    )


@dataclass(frozen=True)
class MetricValues:
    """A metric under several policies, with intervals, as text."""

    label: str
    layer: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class MetricLines:
    """A table of metrics by policy."""

    policies: tuple[str, ...]
    lines: tuple[MetricValues, ...]


def metric_lines(rows: Sequence[MetricRow]) -> MetricLines | None:
    """Every metric under every policy; None without metrics."""
    if not rows:
        return None
    policies = tuple(dict.fromkeys(row.policy for row in rows))
    found: dict[str, list[MetricRow]] = {}
    for row in rows:
        found.setdefault(row.metric, []).append(row)
    return MetricLines(
        policies,
        tuple(
            MetricValues(own[0].label, LAYERS[own[0].layer], tuple(map(_with_interval, own))) for own in found.values()
        ),
    )


def missing_metrics(rows: Sequence[MetricRow]) -> list[str]:
    """Why metrics are n/a, each reason once."""
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.missing:
            reasons.setdefault(row.missing, {})[row.label] = None
    return [f"{', '.join(labels)}: {why}" for why, labels in reasons.items()]


def _with_interval(row: MetricRow) -> str:
    if row.value is None:
        return "n/a"
    return f"{amount(row.value, row.unit)} ({between(row.low, row.high, row.unit)})"
