"""From what was asked for to the ratios that are reported: SLOPE's choice, the loggers' weights, or the estimator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import stdtrit

from engine.ope.estimators.named import Asked
from engine.ope.estimators.several_loggers import Pooled
from engine.ope.estimators.slope import Tuned, accepted, least_error
from engine.ope.estimators.terms import Estimator
from engine.ope.estimators.weighting import Clipped
from engine.ope.setup import Setup
from engine.ope.state import Totals
from engine.ope.sums.ratios import Form, Ratio, Ratios, influence_of, minus, standard_error, value_of
from engine.ope.support import WeightSummary


@dataclass(frozen=True)
class Chosen:
    """An estimator as it is reported.

    Attributes:
        ratios: their sum is the value.
        judged: the ratios that the error and the interval are of: the same, or, where SLOPE chose, those of the least
            biased candidate. An interval around the choice would leave out its bias, and none that is shorter holds
            for every log (Low 1997): SLOPE makes the value better, not the certainty greater.
        weights: The summary of the weight that it rests on.
        has_interval: whether the delta method covers its error.
        notes: what was chosen and how, and what a reader must know of it.
    """

    ratios: Ratios
    judged: Ratios
    weights: WeightSummary
    has_interval: bool
    notes: tuple[str, ...]


def choose(setup: Setup, totals: Totals, unit: int, asked: Asked) -> Chosen:
    """What is reported for a unit of the setup, from its own sums alone."""
    weights = totals.summaries[unit][asked.weight]
    if isinstance(asked, Pooled):
        ratios, shares = _pooled(setup, totals, unit, asked)
        return Chosen(ratios, ratios, weights, asked.has_interval, shares)
    if isinstance(asked, Tuned):
        ratios, notes = _tuned(setup, totals, unit, asked)
        return Chosen(ratios, setup.layout.form(unit, asked.members[0]), weights, asked.has_interval, notes)
    ratios = setup.layout.form(unit, asked)
    return Chosen(ratios, ratios, weights, asked.has_interval, _cautions(setup, weights, asked))


def influence(totals: Totals, ratios: Ratios) -> Form:
    """Coefficients of the sum of the influence functions; NaN where the value is not defined."""
    return influence_of(totals.sums, totals.n, ratios)


def stderr_of(totals: Totals, form: Mapping[int, float]) -> float | None:
    """Standard error of a value by its influence; None where it is not defined."""
    if any(math.isnan(value) for value in form.values()):
        return None
    found = standard_error(totals.sum_of_squares(form), totals.clusters, totals.n)
    return None if math.isnan(found) else found


def _tuned(setup: Setup, totals: Totals, unit: int, asked: Tuned) -> tuple[Ratios, tuple[str, ...]]:
    forms = [setup.layout.form(unit, member) for member in asked.members]
    values = [value_of(totals.sums, form) for form in forms]
    influences = [influence(totals, form) for form in forms]
    errors = [stderr_of(totals, form) for form in influences]
    judged = f"error and interval are those of {asked.parameter} = {asked.values[0]}, taken as without bias"
    if any(error is None for error in errors) or any(math.isnan(value) for value in values):
        return forms[0], (f"{asked.parameter} = {asked.values[0]}: SLOPE has no errors to choose by",)
    quantile = float(stdtrit(totals.clusters - 1, 1 - setup.settings.shared_alpha / 2))
    known = [error or 0.0 for error in errors]
    gaps = [quantile * (stderr_of(totals, minus(form, influences[0])) or 0.0) for form in influences]
    place = least_error(accepted(values, [quantile * error for error in known]), values, known, gaps)
    among = ", ".join(asked.values)
    return forms[place], (f"{asked.parameter} = {asked.values[place]}, chosen by SLOPE among {among}; {judged}",)


def _pooled(setup: Setup, totals: Totals, unit: int, asked: Pooled) -> tuple[Ratios, tuple[str, ...]]:
    """Weights by the precision of each logger's mean; a logger of no variance or one row makes that impossible."""
    plain: list[Ratio] = [setup.layout.form(unit, member)[0] for member in asked.members]
    precisions = []
    for above, below, _ in plain:
        rows = float(totals.sums[below])
        mean = float(totals.sums[above]) / rows if rows else math.nan
        squares = totals.sum_of_squares({above: 1.0, below: -mean}) if rows else math.nan
        precisions.append(rows * rows / squares if squares > 0 else math.nan)
    names = setup.question.loggers.names if setup.question.loggers is not None else ()
    if any(math.isnan(precision) for precision in precisions):
        rows = sum(float(totals.sums[ratio.below]) for ratio in plain)
        factors = [float(totals.sums[ratio.below]) / rows for ratio in plain]
        how = "by their rows: some logger's rows show no variance"
    else:
        factors = [precision / sum(precisions) for precision in precisions]
        how = "by the precision of their own estimates"
    shown = ", ".join(f"{name} {factor:.1%}" for name, factor in zip(names, factors, strict=False))
    ratios = tuple(Ratio(above, below, factor) for (above, below, _), factor in zip(plain, factors, strict=True))
    return ratios, (f"loggers are weighted {how}: {shown}",)


def _cautions(setup: Setup, weights: WeightSummary, estimator: Estimator) -> tuple[str, ...]:
    if isinstance(estimator, Clipped) and estimator.clip == setup.settings.clip:
        all_kept = weights.largest <= estimator.clip
        lost = f"{1 - weights.kept:.1%} of their sum is cut, a bias that the interval does not hold"
        return (f"weights are clipped at {estimator.clip:g}: " + ("no weight is larger" if all_kept else lost),)
    return (estimator.caution,) if estimator.caution else ()
