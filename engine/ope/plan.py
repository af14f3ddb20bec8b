"""How many decisions a log needs before a difference of two policies can be seen on it.

The difference of two self-normalised values has the variance of its influence, var = E[(w1 (r - V1) - w2 (r - V2))^2]
/ n (`engine.ope.terms`). A two-sided test at alpha sees a true difference x with probability `power` where

    n = var ((z(1 - alpha / 2) + z(power)) / x)^2,

the textbook's formula (Cohen, "Statistical power analysis", 1988, section 2.4) with an off-policy variance. The log to
come is decided by the baseline, but for a share e of decisions, drawn uniformly from the eligible actions.

A pilot tells the variance with an error of its own, and half of all pilots tell too little. So its upper confidence
limit at `ASSURANCE` is planned with (Browne 1995, "On the use of a pilot sample for sample size determination",
Statistics in Medicine 14): with that probability over pilots the power is what was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from engine.errors import ParameterError
from engine.ope.intervals.asymptotic import boundary
from engine.ope.intervals.names import ASYMPTOTIC_SEQUENCE, DELTA
from engine.ope.support import SupportRule

PLANNED_INTERVALS: Final = (DELTA, ASYMPTOTIC_SEQUENCE)
MOST: Final = 10**12
ASSURANCE: Final = 0.8


@dataclass(frozen=True)
class Terms:
    """What one decision tells at one exploration.

    Attributes:
        exploration: share of decisions that are drawn uniformly, in [0, 1].
        variance: of one decision's influence on the difference; infinite where the target does what is never logged.
        weight_squares: mean squared weight of the target; 1 / it is the effective share of the rows.
        largest_weight: of the target.
        variance_stderr: standard error of `variance` as a pilot told it; 0 where it is known.
    """

    exploration: float
    variance: float
    weight_squares: float
    largest_weight: float
    variance_stderr: float = 0.0

    def assured_variance(self, assurance: float) -> float:
        """The variance's upper confidence limit."""
        return self.variance + max(float(ndtri(assurance)), 0.0) * self.variance_stderr


@dataclass(frozen=True)
class Need:
    """Decisions that are needed at one exploration; None where no number is enough.

    Attributes:
        terms: what one decision tells.
        for_power: so that the difference is seen with the power that is asked for.
        for_support: so that the support rule lets the log answer at all.
        decisions: the larger of the two.
    """

    terms: Terms
    for_power: int | None
    for_support: int | None
    decisions: int | None


def needed(
    terms: Terms,
    difference: float,
    *,
    alpha: float,
    power: float,
    interval: str,
    kurtosis: float,
    rule: SupportRule,
    assurance: float = ASSURANCE,
) -> Need:
    """Decisions that are needed at one exploration.

    Args:
        terms: what one decision tells.
        difference: that is to be seen, not 0.
        alpha: error of the interval, in (0, 1).
        power: probability to see it, in (0.5, 1).
        interval: one of `PLANNED_INTERVALS`.
        kurtosis: of the reward; NaN where not known.
        rule: when support is too little.
        assurance: probability over pilots that the power is reached, in [0.5, 1).

    Raises:
        ParameterError: an argument outside its range.
    """
    if not 0.5 <= assurance < 1:
        raise ParameterError("assurance", "plan", allowed="in [0.5, 1)", got=assurance)
    if not math.isfinite(difference) or difference == 0:
        raise ParameterError("difference", "plan", allowed="finite, not 0", got=difference)
    if not 0.5 < power < 1:
        raise ParameterError("power", "plan", allowed="in (0.5, 1)", got=power)
    if not 0 < alpha < 1:
        raise ParameterError("alpha", "plan", allowed="in (0, 1)", got=alpha)
    if interval not in PLANNED_INTERVALS:
        raise ParameterError("interval", "plan", allowed=f"one of {PLANNED_INTERVALS}", got=interval)
    if not math.isfinite(terms.variance):
        return Need(terms, None, None, None)
    seen = _for_power(math.sqrt(terms.assured_variance(assurance)), abs(difference), alpha, power, interval)
    supported = _for_support(terms, kurtosis, rule)
    return Need(terms, seen, supported, None if seen is None else max(seen, supported))


def of_moments(exploration: float, *, actions: int, sd: float, disagreement: float) -> Terms:
    """What one decision tells, from a few numbers: both policies always take one action, the same or another one.

    Where they agree the weights are alike and nothing is learnt; where they do not, the target's action is logged with
    e / k and the baseline's with 1 - e + e / k, so var = d sd^2 (k / e + 1 / (1 - e + e / k)).

    Args:
        exploration: e, in [0, 1].
        actions: k, eligible at once, at least 2.
        sd: standard deviation of the reward of one action.
        disagreement: d, share of decisions on which the policies differ, in (0, 1].

    Raises:
        ParameterError: an argument outside its range.
    """
    if not 0 <= exploration <= 1:
        raise ParameterError("exploration", "plan", allowed="in [0, 1]", got=exploration)
    if actions < 2:
        raise ParameterError("actions", "plan", allowed="at least 2", got=actions)
    if not 0 < sd < math.inf:
        raise ParameterError("sd", "plan", allowed="positive and finite", got=sd)
    if not 0 < disagreement <= 1:
        raise ParameterError("disagreement", "plan", allowed="in (0, 1]", got=disagreement)
    usual = 1.0 / (1.0 - exploration + exploration / actions)
    if exploration == 0:
        return Terms(exploration, math.inf, math.inf, math.inf)
    rare = actions / exploration
    return Terms(
        exploration=exploration,
        variance=disagreement * sd * sd * (rare + usual),
        weight_squares=disagreement * rare + (1.0 - disagreement) * usual,
        largest_weight=rare,
    )


def _for_power(sd: float, difference: float, alpha: float, power: float, interval: str) -> int | None:
    margin = float(ndtri(power))
    if interval == DELTA:
        return math.ceil((sd * (float(ndtri(1 - alpha / 2)) + margin) / difference) ** 2)
    low, high = 1, MOST
    if _reach(high, alpha, margin) * sd > difference:
        return None
    while low < high:  # the reach falls with n
        middle = (low + high) // 2
        low, high = (low, middle) if _reach(middle, alpha, margin) * sd <= difference else (middle + 1, high)
    return low


def _reach(n: int, alpha: float, margin: float) -> float:
    """Half-width of the sequence at n, and what chance may take off, in standard deviations of one decision."""
    return float(boundary(np.array([float(n)]), alpha)[0]) + margin / math.sqrt(n)


def _for_support(terms: Terms, kurtosis: float, rule: SupportRule) -> int:
    """Rows at which the rule's limits on weights and rare outcomes are met on average."""
    rows = [terms.weight_squares * rule.min_ess]
    if not math.isnan(kurtosis):
        rows.append(terms.weight_squares * rule.min_outcomes * kurtosis)
    if rule.max_square_share:
        rows.append(terms.largest_weight**2 / (terms.weight_squares * rule.max_square_share))
    if rule.max_weight_share:
        rows.append(terms.largest_weight / rule.max_weight_share)
    return math.ceil(max(rows))
