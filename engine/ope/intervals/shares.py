"""Clopper-Pearson for a figure: only where rewards are 0 or 1 and every weight is 0 or one constant."""

from __future__ import annotations

from collections.abc import Mapping

from engine.ope.intervals.clopper_pearson import clopper_pearson, mean_of_few, rounded
from engine.ope.intervals.figure import Figure, Part
from engine.ope.intervals.ranges import has_model
from engine.ope.intervals.ratio import Bounds
from engine.ope.terms import WEIGHTED_REWARD


def shares(figure: Figure) -> Bounds | str | None:
    """The bounds; a sentence where the log does not allow them; None where the two values must be bounded apart.

    A mean of w r with w in {0, W} and r in {0, 1} is W times a share of all rows. A self-normalised value is the share
    of rewarded rows among those with weight, which, given how many there are, is binomial too: a row's weight is then
    independent of what it would bring.
    """
    for part in figure.parts:
        reason = _obstacle(figure, part)
        if reason:
            return reason
    form = figure.form
    if form is not None:
        counts = figure.totals.streams.counts(form)
        if counts is None:
            return "the terms take too many values for a count of shares"
        low, high = mean_of_few({**dict.fromkeys(_possible(figure), 0), **counts}, figure.alpha)
        lowest, highest = figure.value_range()
        return max(low, lowest), min(high, highest)
    if len(figure.parts) > 1:
        return None
    part = figure.parts[0]
    rewarded = _top(figure.totals.streams.counts({part.ratios[0].above: 1.0}) or {})[1]
    weighted = _top(figure.totals.streams.counts({part.below: 1.0}) or {})[1]
    return clopper_pearson(rewarded, weighted, figure.alpha)


def _possible(figure: Figure) -> set[float]:
    """Every value that a term may take: a weight, or the difference of two, times a reward of 0 or 1."""
    tops = [_top(figure.totals.streams.counts({part.below: 1.0}) or {})[0] for part in figure.parts]
    weights = [(top,) if part.logged else (0.0, top) for part, top in zip(figure.parts, tops, strict=True)]
    others = weights[1] if len(weights) > 1 else (0.0,)
    return {0.0} | {rounded(own - other) for own in weights[0] for other in others}


def _obstacle(figure: Figure, part: Part) -> str:
    """Why the part is no share, or nothing."""
    name = part.estimator.name
    if not part.plain or has_model(part.estimator) or part.estimator.numerator != WEIGHTED_REWARD:
        return f"Clopper-Pearson is the interval of a share of rows, and {name} is none: ask for ips or snips"
    if figure.setup.reward_range != (0.0, 1.0):
        return "Clopper-Pearson is the interval of a share: the reward must be declared as 0 to 1"
    weights = figure.totals.streams.counts({part.below: 1.0})
    terms = figure.totals.streams.counts({part.ratios[0].above: 1.0})
    if weights is None or len(set(weights) - {0.0}) != 1:
        return "Clopper-Pearson needs weights that are 0 or one constant: an action with one propensity everywhere"
    if terms is None or set(terms) - {0.0, _top(weights)[0]}:
        return "Clopper-Pearson needs rewards that are 0 or 1"
    return ""


def _top(counts: Mapping[float, int]) -> tuple[float, int]:
    """The value that is not 0, and how often it came; 0 where there is none."""
    return next(((value, count) for value, count in counts.items() if value), (0.0, 0))
