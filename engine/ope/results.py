"""From sums to estimates: values, errors, intervals, paired differences and verdicts."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from scipy.special import stdtrit

from engine.numeric.matmul import matmul
from engine.ope.choose import Chosen, choose, influence, stderr_of
from engine.ope.estimate import Difference, Estimate, finite
from engine.ope.estimators.named import Asked
from engine.ope.estimators.terms import WEIGHT
from engine.ope.estimators.weighting import Clipped
from engine.ope.intervals.figure import Figure, part_of
from engine.ope.intervals.methods import Found, interval_of
from engine.ope.intervals.simultaneous import Gap, Together, together
from engine.ope.settings import DELTA
from engine.ope.setup import Setup
from engine.ope.state import Totals
from engine.ope.sums.ratios import ONE_COLUMN, Ratios, minus, standard_error, value_of
from engine.ope.support import verdict_of
from engine.ope.target import Target

Interval = tuple[float | None, float | None]
# Squares of weights that sum to less than this share are rounding.
_SAME: Final = 1e-9


# An estimate, and the reasons why its support is too little; they stand first in its notes too.
Judged: TypeAlias = tuple[Estimate, tuple[str, ...]]


def estimates(setup: Setup, totals: Totals) -> tuple[Judged, ...]:
    """One estimate per target and estimator that is defined for it, in the order of the setup."""
    held = {estimator.name: _together(setup, totals, estimator) for estimator in setup.estimators}
    return tuple(
        estimate_of(setup, totals, target, estimator, _alone(setup, target) or held[estimator.name])
        for target in setup.targets
        for estimator in setup.estimators
        if setup.obstacle(target, estimator) is None
    )


def baseline_estimates(setup: Setup, totals: Totals) -> tuple[Estimate, ...]:
    """The baseline's own estimates, one per distinct estimator that judges it."""
    judges = {e.name: e for e in map(setup.layout.baseline_estimator, setup.estimators)}
    return tuple(estimate_of(setup, totals, setup.baseline, judge, Together())[0] for judge in judges.values())


def estimate_of(setup: Setup, totals: Totals, target: Target, estimator: Asked, held: Together) -> Judged:
    """The estimate of one target by one estimator, its difference corrected for those that it is read with."""
    layout, unit = setup.layout, setup.unit_of(target.name)
    judge = layout.baseline_estimator(estimator)
    own, other = choose(setup, totals, unit, estimator), choose(setup, totals, 0, judge)
    value, base = value_of(totals.sums, own.ratios), value_of(totals.sums, other.ratios)
    covered = own.has_interval and other.has_interval
    ours, theirs = influence(totals, own.judged), influence(totals, other.judged)
    stderr = stderr_of(totals, ours) if own.has_interval else None
    gap_stderr = stderr_of(totals, minus(ours, theirs)) if covered else None
    sides = ((unit, own.judged), (0, other.judged))
    alone = _interval(setup, totals, sides[:1], stderr, Together())
    gap = _interval(setup, totals, sides, gap_stderr, held)
    low, high = _holding(value, alone.bounds)
    gap_low, gap_high = _holding(value - base, gap.bounds)
    each = _per_contact(setup, totals, (own.judged, other.judged), held) if covered else None
    reasons = _reasons(setup, totals, unit, value, (estimator, judge))
    if covered:
        reasons += _decided_by_few(setup, totals, own.judged, other.judged)
    reasons += _model_alone(setup, totals, unit, estimator, value - base)
    reasons += _cut_off(setup, estimator, own, value, (gap_low, gap_high))
    reasons += _outside(setup, (low, high))
    unknown = dict.fromkeys(found.reason for found in (alone, gap) if found.reason)
    estimate = Estimate(
        policy=target.name,
        metric=setup.question.metric,
        estimator=estimator.name,
        value=finite(value),
        stderr=finite(stderr),
        low=finite(low),
        high=finite(high),
        alpha=setup.settings.shared_alpha,
        n=totals.n,
        ess=finite(own.weights.ess),
        mean_weight=finite(own.weights.mean),
        max_weight=finite(own.weights.largest),
        unsupported_mass=finite(own.weights.unsupported),
        verdict=verdict_of(*_verdict_interval(setup, (gap_low, gap_high), each), reasons),
        exact=totals.exact[unit],
        difference=Difference(
            baseline=setup.baseline.name,
            value=finite(value - base),
            stderr=finite(gap_stderr),
            low=finite(gap_low),
            high=finite(gap_high),
        ),
        interval="" if low is None else setup.settings.interval,
        notes=reasons
        + _notes(setup, target, own, (estimator, judge), stderr)
        + tuple(f"no interval: {reason}" for reason in unknown)
        + ((held.note,) if held.note and unit else ()),
        per_contact=each,
    )
    return estimate, reasons


def _verdict_interval(setup: Setup, gap: Interval, each: Difference | None) -> Interval:
    """The interval that the verdict rests on: per contact where an action was assigned to each, else per decision."""
    return (each.low, each.high) if setup.question.assigned and each is not None else gap


def _per_contact(setup: Setup, totals: Totals, sides: tuple[Ratios, Ratios], held: Together) -> Difference | None:
    """The mean over clusters of the sum of a cluster's terms, for means over all rows with the normal interval.

    Student's interval of independent clusters, or as wide as the differences need that are read with it.
    """
    sums = totals.cluster_sums
    if sums is None or len(sums) < 2 or setup.settings.interval != DELTA:
        return None
    if any(below != ONE_COLUMN for ratios in sides for _, below, _ in ratios):
        return None
    own, base = (matmul(sums[:, [r.above for r in one]], np.array([r.factor for r in one])) for one in sides)
    each = own - base
    value, stderr = float(each.mean()), float(each.std(ddof=1)) / math.sqrt(len(each))
    alpha = setup.settings.shared_alpha * held.share / (1 if held.reach is not None else held.count)
    reach = held.reach if held.reach is not None else float(stdtrit(len(each) - 1, 1.0 - alpha / 2.0))
    low, high = value - reach * stderr, value + reach * stderr
    return Difference(
        baseline=setup.baseline.name, value=finite(value), stderr=finite(stderr), low=finite(low), high=finite(high)
    )


def _alone(setup: Setup, target: Target) -> Together | None:
    """Where nothing is corrected: for the policy that the question is about."""
    return Together() if target.name == setup.question.primary else None


def _together(setup: Setup, totals: Totals, estimator: Asked) -> Together:
    """What is needed for the differences of all targets by one estimator to hold together."""
    if not setup.settings.simultaneous:
        return Together()
    judge = setup.layout.baseline_estimator(estimator)
    other = choose(setup, totals, 0, judge)
    gaps = []
    for unit, target in enumerate(setup.units):
        if unit == 0 or _alone(setup, target) or setup.obstacle(target, estimator) is not None:
            continue
        own = choose(setup, totals, unit, estimator)
        form = minus(influence(totals, own.judged), influence(totals, other.judged))
        if own.has_interval and other.has_interval and stderr_of(totals, form):
            taken_off = tuple((above, below, -factor) for above, below, factor in other.judged)
            gaps.append(Gap(form, (*own.judged, *taken_off)))
    return together(setup, totals, gaps)


def _holding(value: float, interval: Interval) -> Interval:
    """The interval, widened where it would leave out the value that it is printed with (only where SLOPE chose)."""
    low, high = interval
    return (None, None) if low is None or high is None else (min(low, value), max(high, value))


def _interval(
    setup: Setup, totals: Totals, sides: tuple[tuple[int, Ratios], ...], stderr: float | None, held: Together
) -> Found:
    """Interval of a value (one side) or of a difference (two)."""
    if stderr is None:
        return Found((None, None))
    values = [value_of(totals.sums, ratios) for _, ratios in sides]
    parts = tuple(part_of(setup, totals, unit, ratios) for unit, ratios in sides)
    value = values[0] - values[1] if len(values) == 2 else values[0]
    alpha = setup.settings.shared_alpha * held.share / (1 if held.reach is not None else held.count)
    return interval_of(Figure(setup, totals, parts, value, stderr, alpha), held.reach)


def _reasons(setup: Setup, totals: Totals, unit: int, value: float, judges: tuple[Asked, Asked]) -> tuple[str, ...]:
    """Why the support of the target, or of the baseline, is too little."""
    if setup.question.allow_inexact:
        return ("the log has no propensities: nothing says how good the model's figure is",)
    own = _support(setup, totals, unit, judges[0].weight)
    base: tuple[str, ...] = ()
    if math.isnan(value) and not own:
        own = ("the value is not defined",)
    if unit:
        found = _support(setup, totals, 0, judges[1].weight)
        base = tuple(f"baseline {setup.baseline.name}: {reason}" for reason in found)
    return own + base


def _model_alone(setup: Setup, totals: Totals, unit: int, estimator: Asked, gap: float) -> tuple[str, ...]:
    """Where no row of the log weighs differently for the policy and the baseline, though the model tells them apart.

    Their weighted residuals are the same then, and the difference has the spread of the contexts for an error, which
    says nothing of the model's own.
    """
    if not unit or not estimator.needs_model or gap == 0.0:
        return ()
    own, base = (setup.layout.columns[one, WEIGHT] for one in (unit, 0))
    apart, size = totals.raw_squares({own: 1.0, base: -1.0}), totals.raw_squares({base: 1.0})
    if apart > _SAME * max(size, totals.n):
        return ()
    return (f"no decision of the log tells it from {setup.baseline.name}: the difference is the reward model's alone",)


def _cut_off(setup: Setup, estimator: Asked, own: Chosen, value: float, gap: Interval) -> tuple[str, ...]:
    """Where clipping takes more off the value than the interval of the difference is wide to either side.

    What is cut is taken to have the mean reward of what is kept, so the bias is about value x cut / kept.
    """
    if not isinstance(estimator, Clipped) or estimator.clip != setup.settings.clip:
        return ()
    low, high = gap
    kept = own.weights.kept
    if low is None or high is None or not 0.0 < kept < 1.0:
        return ()
    bias, half = abs(value) * (1.0 - kept) / kept, (high - low) / 2.0
    if not bias > half:
        return ()
    said = f"clipping cuts {1 - kept:.1%} of the sum of weights, which moves the value by about {bias:.3g}"
    return (f"{said}: more than the interval's {half:.3g} to either side",)


def _outside(setup: Setup, interval: Interval) -> tuple[str, ...]:
    """Where the whole interval of the value lies beyond what a reward can be."""
    least, most = setup.question.reward_range
    low, high = interval
    if low is None or high is None or (low <= most and high >= least):
        return ()
    return (f"the interval of the value lies outside the metric's range, {least:g} to {most:g}",)


def _decided_by_few(setup: Setup, totals: Totals, own: Ratios, other: Ratios) -> tuple[str, ...]:
    """Where one unit carries much of the sampling variance no normal interval holds, however large ESS may look."""
    ours, theirs = influence(totals, own), influence(totals, other)
    if any(math.isnan(factor) for factor in (*ours.values(), *theirs.values())):
        return ()
    if totals.cluster_sums is not None:
        return setup.question.rule.error_reasons(totals.largest_share(minus(ours, theirs)), clustered=True)
    base = setup.question.rule.error_reasons(_largest_share(totals, other), clustered=False)
    return (
        *setup.question.rule.error_reasons(_largest_share(totals, own), clustered=False),
        *(f"baseline {setup.baseline.name}: {reason}" for reason in base),
    )


def _largest_share(totals: Totals, ratios: Ratios) -> float:
    """Largest share of one row in the variance, over the numerators of a figure."""
    form = influence(totals, ratios)
    return max(totals.largest_share({ratio.above: form[ratio.above], **form}) for ratio in ratios)


def _support(setup: Setup, totals: Totals, unit: int, weight: str) -> tuple[str, ...]:
    weights = totals.summaries[unit][weight]
    form = {setup.layout.columns[unit, weight]: 1.0, ONE_COLUMN: -weights.mean}
    spread = standard_error(totals.sum_of_squares(form), totals.clusters, totals.n)
    return setup.question.rule.reasons(weights, spread, totals.clusters) + setup.question.rule.outcome_reasons(
        weights, totals.kurtosis
    )


def _notes(
    setup: Setup, target: Target, own: Chosen, judges: tuple[Asked, Asked], stderr: float | None
) -> tuple[str, ...]:
    found = list(own.notes)
    if stderr == 0.0:
        found.append("every term is the same: the log shows no variation, so the interval has no width")
    if judges[1].name != judges[0].name:
        found.append(f"the baseline {setup.baseline.name} is judged by {judges[1].name}")
    if setup.question.allow_inexact:
        found.append("not exact: the log has no propensities")
    if math.isnan(own.weights.unsupported) and not setup.question.allow_inexact:
        found.append(f"{target.name} does not say what it would do elsewhere: its unsupported mass is not known")
    return tuple(found)
