"""The stack of metrics on a log: what to read for it, its figures as they are printed, and the gate on them."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.log.parquet import LogReader
from engine.ope.estimate import Estimate
from engine.ope.metrics.bound import BoundStack
from engine.ope.metrics.definition import MetricStack
from engine.ope.metrics.figures import MetricFigure, demand_of, evidence_of_figure, stack_figures
from engine.ope.metrics.gate import Demand, Evidence, Gate, gate
from engine.ope.metrics.state import StackState
from experiments.outputs import MetricDifference, MetricRow


def bound_stack(stack: MetricStack, reader: LogReader) -> BoundStack:
    """The stack with what the log has for it."""
    return BoundStack(stack, reader.meta.catalog, reader.meta.features, frozenset(reader.meta.rewards))


def metric_rows(state: StackState, alpha: float) -> tuple[MetricRow, ...]:
    """Every metric of every policy, policy by policy."""
    baseline = state.targets[0].name
    return tuple(_row(figure, state.bound.stack, baseline) for figure in stack_figures(state, alpha))


def gate_of(state: StackState, policy: str, primary: Estimate, stack: MetricStack, error: float) -> Gate:
    """Hold the primary metric and the guardrail metrics of a policy against what a launch asks (R24, R40).

    Args:
        state: the stack's sums; the first policy is the baseline.
        policy: name of the policy that is to be launched.
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
    known = stack.metrics.get(primary.metric)
    label, unit = (known.label, known.unit) if known else ("", "")
    demands.insert(0, Demand(primary.metric, role="primary", rule="better", label=label, unit=unit))
    return gate(demands, evidence, error=error, policy=policy, baseline=state.targets[0].name)


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
