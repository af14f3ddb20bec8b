"""From sums to figures: each metric of each policy, its interval, and its difference to today's policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.estimate import BETTER, INSUFFICIENT, NO_DIFFERENCE, WORSE
from engine.ope.metrics.definition import MetricDefinition
from engine.ope.metrics.gate import Demand, Evidence
from engine.ope.metrics.intervals import delta_bounds, gap_bounds, share_bounds
from engine.ope.metrics.state import StackState, StackTotals
from engine.ope.sums.ratios import standard_error
from engine.ope.support import SupportRule
from engine.types import FloatArray


@dataclass(frozen=True)
class MetricGap:
    """A metric of a policy minus the same of today's, paired on the same rows.

    Attributes:
        value / stderr / low / high: The figure in the metric's unit; low and high None where there is no interval.
        verdict: better, worse, no difference or insufficient, "better" being the good direction of the metric.
    """

    value: float
    stderr: float
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class MetricFigure:
    """One metric of one policy.

    Attributes:
        policy / metric: names.
        value / stderr / low / high: None where the log cannot say; `missing` then says why.
        alpha: error of the intervals.
        rows: The rows whose outcome is known.
        effective: (sum w)^2 / sum w^2 over the denominator's rows.
        missing: why there is no figure; "" where there is one.
        thin: whether the log records it, and holds too little of it for this policy.
        difference: The difference to today's policy; None for today's own, and where either is missing.
    """

    policy: str
    metric: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    rows: int
    effective: float
    missing: str
    thin: bool
    difference: MetricGap | None


def stack_figures(state: StackState, alpha: float, rule: SupportRule | None = None) -> tuple[MetricFigure, ...]:
    """Every metric of every policy, policy by policy, in the order of the stack.

    Args:
        state: after all batches are added and all partitions merged.
        alpha: error of each interval, in (0, 1).
        rule: when support is too little.
    """
    maker = _Figures(state, state.totals(), alpha, SupportRule() if rule is None else rule)
    return tuple(
        maker.figure(policy, name) for policy in range(len(state.targets)) for name in state.bound.stack.metrics
    )


def evidence_of_figure(figure: MetricFigure, live: float | None) -> Evidence:
    """What a figure says to the promotion gate; `live` is today's value of the metric.

    Too little support for today's policy is as little an answer as too little for the new one.
    """
    gap = figure.difference
    if gap is None:
        missing = figure.missing or "too little support of today's policy"
        return Evidence(figure.metric, None, None, None, figure.alpha, live, figure.value, missing=missing)
    return Evidence(figure.metric, gap.value, gap.low, gap.high, figure.alpha, live, figure.value)


def demand_of(name: str, metric: MetricDefinition) -> Demand | None:
    """What a launch is asked of a metric; None where nothing is."""
    if metric.guardrail is None:
        return None
    asked = metric.guardrail
    return Demand(
        name,
        rule=asked.rule,
        margin=asked.margin,
        relative=asked.relative,
        higher_is_better=metric.higher_is_better,
        required=asked.required,
        label=metric.label,
        unit=metric.unit,
    )


@dataclass(frozen=True)
class _Nothing:
    """Why there is no figure, and whether that is for want of support alone."""

    why: str
    thin: bool = False


@dataclass(frozen=True)
class _Ratio:
    """A metric of one policy, linearised: value, (u,) influences that sum to 0, and what its interval needs."""

    value: float
    influence: FloatArray
    stderr: float
    effective: float
    bounds: tuple[float, float]
    rare: bool


@dataclass(frozen=True)
class _Figures:
    state: StackState
    totals: StackTotals
    alpha: float
    rule: SupportRule

    def figure(self, policy: int, name: str) -> MetricFigure:
        own = self._ratio(policy, name)
        label = self.state.targets[policy].name
        if isinstance(own, _Nothing):
            return MetricFigure(label, name, None, None, None, None, self.alpha, 0, 0.0, own.why, own.thin, None)
        rows = int(self.totals.of_log[self.state.bound.names.index(name), 0])
        gap = None
        if policy:
            today = self._ratio(0, name)
            gap = None if isinstance(today, _Nothing) else self._gap(own, today, self._metric(name))
        low, high = own.bounds
        return MetricFigure(
            label, name, own.value, own.stderr, low, high, self.alpha, rows, own.effective, "", False, gap
        )

    def _metric(self, name: str) -> MetricDefinition:
        return self.state.bound.stack.metrics[name]

    def _ratio(self, policy: int, name: str) -> _Ratio | _Nothing:
        """The ratio, or why the log cannot say it."""
        obstacle = self.state.bound.obstacles.get(name)
        if obstacle:
            return _Nothing(obstacle)
        place, metric = self.state.bound.names.index(name), self._metric(name)
        exact = metric.of_choices and self.state.targets[policy].knows_all
        silent = self._silent(policy, place, metric, exact)
        if silent is not None:
            return silent
        units = self.totals.units
        above, below = self.state.place(policy, place)
        base = float(units[:, below].sum())
        squares_above, squares_below, total_above, excess = self.totals.by_row[policy, place]
        effective = base**2 / float(squares_below) if squares_below else 0.0
        if not base or effective < self.rule.min_ess:
            return _Nothing(f"too little to divide by: {effective:.1f} effective rows", thin=True)
        events = total_above**2 / float(squares_above) if squares_above else 0.0
        share = metric.unit == "share" and not excess and not exact
        if not share and not exact and events < self.rule.min_outcomes:
            return _Nothing(f"too few events: {events:.1f} effective ones", thin=True)
        value = float(units[:, above].sum()) / base
        influence = (units[:, above] - value * units[:, below]) / base
        squares = float(matmul(influence, influence))
        stderr = standard_error(squares, len(units), 1)
        if (
            not share
            and not metric.of_choices
            and squares
            and float((influence**2).max()) > self.rule.max_cluster_error_share * squares
        ):
            return _Nothing("too few events: a single group of contacts decides the error", thin=True)
        if share:
            bounds = share_bounds(min(max(value, 0.0), 1.0), stderr, effective, len(units), self.alpha)
        else:
            bounds = delta_bounds(value, stderr, len(units), self.alpha)
        return _Ratio(value, influence, stderr, effective, bounds, share)

    def _silent(self, policy: int, place: int, metric: MetricDefinition, exact: bool) -> _Nothing | None:
        """Why the log, or its support of the policy, has nothing to say."""
        groups = len(self.totals.units)
        if groups < self.rule.min_clusters:
            why = f"{groups} independent groups of contacts are fewer than {self.rule.min_clusters}"
            return _Nothing(why, thin=True)
        known, events, bases = self.totals.of_log[place]
        if not known:
            return _Nothing("nothing of it is known in this log")
        if not bases and not exact:
            return _Nothing("nothing to divide by in this log")
        if not events and not metric.of_choices:
            return _Nothing("no such event in the log: whether none happened or none was recorded cannot be told")
        if exact:
            return None
        reasons = self._support(policy)
        return _Nothing(f"too little support: {'; '.join(reasons)}", thin=True) if reasons else None

    def _support(self, policy: int) -> tuple[str, ...]:
        units, weights = self.totals.units, self.totals.weights[policy]
        column, rows = units[:, self.state.weight_column(policy)], units[:, 0]
        mean = float(column.sum() / rows.sum())
        spread = (column - mean * rows) / rows.sum()
        return self.rule.reasons(weights, standard_error(float(matmul(spread, spread)), len(units), 1), len(units))

    def _gap(self, own: _Ratio, today: _Ratio, metric: MetricDefinition) -> MetricGap:
        influence = own.influence - today.influence
        value = own.value - today.value
        stderr = standard_error(float(matmul(influence, influence)), len(influence), 1)
        if own.rare and today.rare:
            joint = float(matmul(own.influence, today.influence))
            scale = math.sqrt(
                float(matmul(own.influence, own.influence)) * float(matmul(today.influence, today.influence))
            )
            correlation = float(np.clip(joint / scale, -1.0, 1.0)) if scale else 0.0
            low, high = gap_bounds((own.value, *own.bounds), (today.value, *today.bounds), correlation)
        else:
            low, high = delta_bounds(value, stderr, len(influence), self.alpha)
        return MetricGap(value, stderr, low, high, _verdict(low, high, higher_is_better=metric.higher_is_better))


def _verdict(low: float, high: float, *, higher_is_better: bool) -> str:
    if math.isnan(low) or math.isnan(high):
        return INSUFFICIENT
    if low > 0.0:
        return BETTER if higher_is_better else WORSE
    if high < 0.0:
        return WORSE if higher_is_better else BETTER
    return NO_DIFFERENCE
