"""From sums to estimates: values, errors, intervals, paired differences and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import stdtrit

from engine.ope.clipped import Clipped
from engine.ope.estimate import Difference, Estimate
from engine.ope.setup import ONE_COLUMN, Setup
from engine.ope.state import Totals
from engine.ope.support import INSUFFICIENT, WeightSummary, verdict_of
from engine.ope.target import Target
from engine.ope.terms import WEIGHT, Estimator, standard_error
from engine.types import FloatArray

Form = dict[int, float]
Interval = tuple[float | None, float | None]


def estimates(setup: Setup, totals: Totals) -> tuple[Estimate, ...]:
    """One estimate per target and estimator that is defined for it, in the order of the setup."""
    return tuple(
        estimate_of(setup, totals, target, estimator)
        for target in setup.targets
        for estimator in setup.estimators
        if setup.obstacle(target, estimator) is None
    )


def baseline_estimates(setup: Setup, totals: Totals) -> tuple[Estimate, ...]:
    """The baseline's own estimates, one per distinct estimator that judges it."""
    judges = {e.name: e for e in map(setup.layout.baseline_estimator, setup.estimators)}
    return tuple(estimate_of(setup, totals, setup.baseline, judge) for judge in judges.values())


def estimate_of(setup: Setup, totals: Totals, target: Target, estimator: Estimator) -> Estimate:
    """The estimate of one target by one estimator."""
    layout, unit = setup.layout, setup.unit_of(target.name)
    judge = layout.baseline_estimator(estimator)
    own, other = layout.form(unit, estimator), layout.form(0, judge)
    value, base = _value(totals.sums, own), _value(totals.sums, other)
    covered = estimator.has_interval and judge.has_interval
    stderr = _stderr(totals, _influence(totals, own)) if estimator.has_interval else None
    gap_stderr = _stderr(totals, _minus(_influence(totals, own), _influence(totals, other))) if covered else None
    low, high = _interval(setup, totals, value, stderr, (own,))
    gap_low, gap_high = _interval(setup, totals, value - base, gap_stderr, (own, other))
    difference = Difference(setup.baseline.name, value - base, gap_stderr, gap_low, gap_high)
    weights = totals.weights[unit]
    reasons = _reasons(setup, totals, unit, value)
    if covered:
        reasons += _decided_by_few(setup, totals, own, other)
    verdict = verdict_of(difference, reasons)
    return Estimate(
        policy=target.name,
        metric=setup.metric,
        estimator=estimator.name,
        value=value,
        stderr=stderr,
        low=low,
        high=high,
        alpha=setup.alpha,
        n=totals.n,
        ess=weights.ess,
        mean_weight=weights.mean,
        max_weight=weights.largest,
        unsupported_mass=weights.unsupported,
        verdict=verdict,
        exact=totals.exact[unit],
        difference=difference,
        interval=None if low is None else setup.interval,
        trustworthy=verdict != INSUFFICIENT,
        reasons=reasons,
        notes=_notes(setup, target, estimator, judge, weights, stderr),
    )


def _value(sums: FloatArray, form: tuple[int, int]) -> float:
    above, below = float(sums[form[0]]), float(sums[form[1]])
    return above / below if below else math.nan


def _influence(totals: Totals, form: tuple[int, int]) -> Form:
    """Coefficients of the influence function (numerator - value * denominator) / mean(denominator)."""
    value, mean = _value(totals.sums, form), float(totals.sums[form[1]]) / totals.n
    if math.isnan(value):
        return {form[0]: math.nan}
    return {form[0]: 1.0 / mean, form[1]: -value / mean}


def _minus(a: Mapping[int, float], b: Mapping[int, float]) -> Form:
    return {column: a.get(column, 0.0) - b.get(column, 0.0) for column in {**a, **b}}


def _stderr(totals: Totals, form: Form) -> float | None:
    if any(math.isnan(value) for value in form.values()):
        return None
    found = standard_error(totals.sum_of_squares(form), totals.clusters, totals.n)
    return None if math.isnan(found) else found


def _interval(
    setup: Setup, totals: Totals, value: float, stderr: float | None, forms: tuple[tuple[int, int], ...]
) -> Interval:
    """Interval of a value (one form) or of a difference (two forms)."""
    if stderr is None:
        return None, None
    if totals.replicates is None:
        # Student's t over the independent units: with 37 people the normal quantile would be 3 % too short.
        reach = float(stdtrit(totals.clusters - 1, 1 - setup.alpha / 2)) * stderr
        return value - reach, value + reach
    return _percentiles(totals.replicates, forms, setup.alpha)


def _percentiles(replicates: FloatArray, forms: tuple[tuple[int, int], ...], alpha: float) -> Interval:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [replicates[:, above] / replicates[:, below] for above, below in forms]
    drawn = values[0] - values[1] if len(values) == 2 else values[0]
    kept = drawn[np.isfinite(drawn)]
    # A replicate without any weight has no value; where that is not rare, no interval is honest.
    if len(kept) < 0.99 * len(drawn):
        return None, None
    low, high = np.quantile(kept, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _reasons(setup: Setup, totals: Totals, unit: int, value: float) -> tuple[str, ...]:
    """Why the support of the target, or of the baseline, is too little."""
    if setup.allow_inexact:
        return ("the log has no propensities: nothing says how good the model's figure is",)
    own = _support(setup, totals, unit)
    if math.isnan(value) and not own:
        own = ("the value is not defined",)
    base = tuple(f"baseline {setup.baseline.name}: {reason}" for reason in _support(setup, totals, 0)) if unit else ()
    return own + base


def _decided_by_few(setup: Setup, totals: Totals, own: tuple[int, int], other: tuple[int, int]) -> tuple[str, ...]:
    """Where one unit carries much of the sampling variance no normal interval holds, however large ESS may look."""
    ours, theirs = _influence(totals, own), _influence(totals, other)
    if any(math.isnan(factor) for factor in (*ours.values(), *theirs.values())):
        return ()
    if totals.cluster_sums is not None:
        return setup.rule.error_reasons(totals.largest_share(_minus(ours, theirs)), clustered=True)
    base = setup.rule.error_reasons(totals.largest_share(theirs), clustered=False)
    return (
        *setup.rule.error_reasons(totals.largest_share(ours), clustered=False),
        *(f"baseline {setup.baseline.name}: {reason}" for reason in base),
    )


def _support(setup: Setup, totals: Totals, unit: int) -> tuple[str, ...]:
    form = {setup.layout.columns[unit, WEIGHT]: 1.0, ONE_COLUMN: -totals.weights[unit].mean}
    spread = standard_error(totals.sum_of_squares(form), totals.clusters, totals.n)
    weights = totals.weights[unit]
    return setup.rule.reasons(weights, spread, totals.clusters) + setup.rule.outcome_reasons(weights, totals.kurtosis)


def _notes(
    setup: Setup, target: Target, estimator: Estimator, judge: Estimator, weights: WeightSummary, stderr: float | None
) -> tuple[str, ...]:
    found = []
    if isinstance(estimator, Clipped):
        all_kept = weights.largest <= estimator.clip
        lost = f"{1 - weights.kept:.1%} of their sum is cut, a bias that the interval does not hold"
        found.append(f"weights are clipped at {estimator.clip:g}: " + ("no weight is larger" if all_kept else lost))
    if not estimator.has_interval:
        found.append("no interval: the spread of the rows does not show the reward model's own error")
    if stderr == 0.0:
        found.append("every term is the same: the log shows no variation, so the interval has no width")
    if judge.name != estimator.name:
        found.append(f"the baseline {setup.baseline.name} is judged by {judge.name}")
    if setup.allow_inexact:
        found.append("not exact: the log has no propensities")
    if math.isnan(weights.unsupported) and not setup.allow_inexact:
        found.append(f"{target.name} does not say what it would do elsewhere: its unsupported mass is not known")
    return tuple(found)
