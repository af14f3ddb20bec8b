"""The stack of metrics on a log: what to read for it, its figures as they are printed, and the gate on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from engine.log.parquet import LogReader
from engine.ope.estimate import Estimate
from engine.ope.metrics.bound import BoundStack
from engine.ope.metrics.definition import MetricStack
from engine.ope.metrics.figures import MetricFigure, demand_of, evidence_of_figure, stack_figures
from engine.ope.metrics.gate import Check, Demand, Evidence, Gate, gate
from engine.ope.metrics.state import StackState
from experiments.outputs_launch import GateCheck, GateOutput, MetricDifference, MetricRow


def bound_stack(stack: MetricStack, reader: LogReader) -> BoundStack:
    """The stack with what the log has for it."""
    return BoundStack(stack, reader.meta.catalog, reader.meta.features, frozenset(reader.meta.rewards))


def metric_rows(state: StackState, alpha: float) -> tuple[MetricRow, ...]:
    """Every metric of every policy, policy by policy."""
    baseline = state.targets[0].name
    return tuple(_row(figure, state.bound.stack, baseline) for figure in stack_figures(state, alpha))


def gate_of(state: StackState, policy: str, primary: Estimate, stack: MetricStack, error: float) -> GateOutput:
    """Hold the primary metric and the guardrail metrics of a policy against what a launch asks (R24, R40).

    Args:
        state: the stack's sums; the first policy is the baseline.
        policy: The policy that is to be launched.
        primary: its row by the deciding estimator; its interval must err at most twice as often as `error`.
        stack: holds the margins.
        error: one-sided, of each demand.
    """
    # One bound errs with half of what both do.
    figures = stack_figures(state, 2 * error)
    today = {figure.metric: figure.value for figure in figures if figure.policy == state.targets[0].name}
    asked = (demand_of(name, metric) for name, metric in stack.metrics.items() if name != primary.metric)
    demands = [demand for demand in asked if demand is not None]
    must_show = {demand.metric for demand in demands if demand.rule == "not_worse"}
    both = (state.targets[0].name, policy)
    thin = {
        figure.metric: figure.missing
        for figure in figures
        if figure.thin and figure.policy in both and figure.metric in must_show
    }
    evidence = [_primary(primary)]
    for figure in figures:
        if figure.policy != policy or figure.metric == primary.metric:
            continue
        found = evidence_of_figure(figure, today[figure.metric])
        if stack.metrics[figure.metric].layer == "volume" and today[figure.metric] == 0.0:
            found = replace(found, difference=None, missing="today's practice sends nothing: any message is more")
        elif figure.metric in thin:
            found = _as_undecided(found, thin[figure.metric])
        evidence.append(found)
    demands.insert(0, Demand(primary.metric, role="primary", rule="better"))
    return _output(gate(demands, evidence, error=error), policy, state.targets[0].name, stack)


def _as_undecided(found: Evidence, why: str) -> Evidence:
    """What is recorded but too thin to judge has not been shown, where it must be shown."""
    return replace(found, difference=0.0, low=-math.inf, high=math.inf, reasons=(why,), missing="")


def _primary(row: Estimate) -> Evidence:
    gap = row.difference
    reasons = tuple(row.notes) if row.verdict == "insufficient" else ()
    if gap is None or gap.value is None:
        return Evidence(row.metric, None, None, None, row.alpha, None, row.value, reasons, "not defined")
    base = None if row.value is None else row.value - gap.value
    return Evidence(row.metric, gap.value, gap.low, gap.high, row.alpha, base, row.value, reasons)


def _row(figure: MetricFigure, stack: MetricStack, baseline: str) -> MetricRow:
    metric, gap = stack.metrics[figure.metric], figure.difference
    difference = None
    if gap is not None:
        difference = MetricDifference(
            baseline=baseline,
            value=gap.value,
            stderr=gap.stderr,
            low=gap.low,
            high=gap.high,
            verdict=gap.verdict,
        )
    return MetricRow(
        policy=figure.policy,
        metric=figure.metric,
        layer=metric.layer,
        label=metric.label,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        value=figure.value,
        stderr=figure.stderr,
        low=figure.low,
        high=figure.high,
        alpha=figure.alpha,
        rows=figure.rows,
        effective=figure.effective,
        missing=figure.missing,
        difference=difference,
    )


def _output(found: Gate, policy: str, baseline: str, stack: MetricStack) -> GateOutput:
    metrics = [stack.metrics.get(check.demand.metric) for check in found.checks]
    checks = tuple(
        gate_check(check, metric.label if metric else check.demand.metric, metric.unit if metric else "")
        for check, metric in zip(found.checks, metrics, strict=True)
    )
    return GateOutput(
        policy=policy, baseline=baseline, passed=found.passed, reason=found.reason, error=found.error, checks=checks
    )


def gate_check(check: Check, label: str, unit: str) -> GateCheck:
    """One demand of a gate as it is printed."""
    demand, evidence = check.demand, check.evidence
    return GateCheck(
        metric=demand.metric,
        label=label,
        unit=unit,
        role=demand.role,
        rule=demand.rule,
        margin=demand.margin,
        relative=demand.relative,
        baseline_value=evidence.live if evidence else None,
        value=evidence.new if evidence else None,
        gain=check.gain,
        bound=check.bound,
        limit=check.limit,
        verdict=check.verdict,
        reason=check.reason,
        blocks=check.blocks,
    )


def named_rows(rows: Sequence[MetricRow], policy: str) -> dict[str, MetricRow]:
    """Metric -> row of one policy, in the order of the stack."""
    return {row.metric: row for row in rows if row.policy == policy}
