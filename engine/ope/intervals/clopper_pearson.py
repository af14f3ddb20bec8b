"""Clopper-Pearson: the exact interval of a share, where rewards are 0 or 1 and every weight is 0 or one constant."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.special import betaincinv

from engine.errors import ParameterError
from engine.ope.estimators.terms import WEIGHTED_REWARD
from engine.ope.intervals.figure import Figure, Part, has_model
from engine.ope.intervals.ratio import Bounds
from engine.ope.intervals.streams import rounded


def clopper_pearson(successes: float, n: float, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of a share: Clopper & Pearson, Biometrika 26 (1934), by quantiles of the beta distribution.

    Args:
        successes: Their number, in [0, n]; a share of them for weighted counts.
        n: trials, positive.
        alpha: error of both sides together, in (0, 1).

    Raises:
        ParameterError: an argument outside its range.
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ParameterError("successes", "clopper_pearson", allowed="in [0, n], n positive", got=(successes, n))
    if not 0 < alpha < 1:
        raise ParameterError("alpha", "clopper_pearson", allowed="in (0, 1)", got=alpha)
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return low, high


def mean_of_few(counts: Mapping[float, int], alpha: float = 0.05) -> tuple[float, float]:
    """Interval of the mean of terms that take few values: each value's share has its own Clopper-Pearson interval.

    With one value besides 0 this is exact; with more, the error is divided among them (Bonferroni). The terms of a
    difference of two policies take three: +w of the one, -w of the other, and their difference where both agree.

    Args:
        counts: value -> rows, 0 among the values; a value that is possible but was not seen has 0 rows.
        alpha: error, in (0, 1).
    """
    n = sum(counts.values())
    values = {value: count for value, count in counts.items() if value}
    low = high = 0.0
    for value, count in values.items():
        least, most = clopper_pearson(count, n, alpha / len(values))
        low += value * (least if value > 0 else most)
        high += value * (most if value > 0 else least)
    return low, high


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
    if figure.setup.question.reward_range != (0.0, 1.0):
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
