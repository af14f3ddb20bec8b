"""How many decisions a log needs before a difference of two policies can be seen on it.

The difference of two self-normalised values has the variance of its influence, var = E[(w1 (r - V1) - w2 (r - V2))^2]
/ n (`engine.ope.sums.ratios`). A two-sided test at alpha sees a true difference x with probability `power` where

    n = var ((z(1 - alpha / 2) + z(power)) / x)^2,

the textbook's formula (Cohen, "Statistical power analysis", 1988, section 2.4) with an off-policy variance. The log to
come is decided by the baseline, but for a share e of decisions, drawn uniformly from the eligible actions.

A pilot tells the variance with an error of its own, and half of all pilots tell too little. So its upper confidence
limit at `ASSURANCE` is planned with (Browne 1995, "On the use of a pilot sample for sample size determination",
Statistics in Medicine 14): with that probability over pilots the power is what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

import msgspec
import numpy as np
from scipy.special import ndtri

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.ope.intervals.asymptotic import boundary
from engine.ope.settings import ASYMPTOTIC_SEQUENCE, DELTA
from engine.ope.sums.moments import ChunkTable, Spread
from engine.ope.support import SupportRule
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

PLANNED_INTERVALS: Final = (DELTA, ASYMPTOTIC_SEQUENCE)
MOST: Final = 10**12
ASSURANCE: Final = 0.8


@dataclass(frozen=True)
class Terms:
    """What one decision tells at one exploration.

    Attributes:
        exploration: share of decisions that are drawn uniformly, in [0, 1]; NaN where another policy decides.
        variance: The variance of one decision's influence on the difference; infinite where the target does what is
            never logged.
        weight_squares: mean squared weight of the target; 1 / it is the effective share of the rows.
        largest_weight: The target's largest weight.
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


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed at one exploration; None where no number of decisions is enough.

    Attributes:
        exploration: The share of decisions that are drawn uniformly from the eligible actions.
        decisions: The decisions that are needed: the larger of the two below.
        for_power: So that the difference is seen with the power that is asked for.
        for_support: So that the support rule lets the log answer at all (effective sample size, largest weights, rare
            outcomes).
        sd: The standard deviation of one decision's influence on the difference.
        effective_share: The effective sample size of the policy as a share of the rows.
        largest_weight: The largest weight of the policy.
    """

    exploration: float
    decisions: int | None = None
    for_power: int | None = None
    for_support: int | None = None
    sd: float | None = None
    effective_share: float | None = None
    largest_weight: float | None = None


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
        difference: The difference that is to be seen, not 0.
        alpha: error of the interval, in (0, 1).
        power: probability to see it, in (0.5, 1).
        interval: one of `PLANNED_INTERVALS`.
        kurtosis: The kurtosis of the reward; NaN where not known.
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
        return Need(exploration=terms.exploration)
    seen = _for_power(math.sqrt(terms.assured_variance(assurance)), abs(difference), alpha, power, interval)
    supported = _for_support(terms, kurtosis, rule)
    if seen is None:
        return Need(exploration=terms.exploration, for_support=supported)
    return Need(
        exploration=terms.exploration,
        decisions=max(seen, supported),
        for_power=seen,
        for_support=supported,
        sd=math.sqrt(terms.variance),
        effective_share=1.0 / terms.weight_squares if terms.weight_squares else None,
        largest_weight=terms.largest_weight,
    )


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


_PAIRS: Final = tuple(combinations_with_replacement(range(3), 2))
# Products of the pairs' columns, for the error of the variance.
_SQUARES: Final = tuple(combinations_with_replacement(range(len(_PAIRS)), 2))
_SHARED: Final = 7


@dataclass(frozen=True)
class Pilot:
    """What a pilot log tells.

    Attributes:
        n: rows.
        target / baseline / uniform: their values, by SNIPS; the last is a uniform choice of the eligible actions.
        kurtosis: The kurtosis of the reward.
        terms: One for each exploration.
    """

    n: int
    target: float
    baseline: float
    uniform: float
    kurtosis: float
    terms: tuple[Terms, ...]


class PilotSums:
    """Sums over a pilot log, one vector per chunk; any order and partition gives the same bytes.

    For a log to come with propensities q(a) = (1 - e) baseline(a) + e / eligible actions, the mean of
    (w1 (r - V1) - w2 (r - V2))^2 is that of (t1 (r - V1) - t2 (r - V2))^2 / (p q) over the pilot's rows, with t1, t2
    and p the probabilities of the logged action: one more use of inverse propensities. It is a quadratic form in
    ((t1 - t2) r, t1, t2), so V1 and V2 need not be known while the log is read.

    Args:
        target / baseline: the policies.
        metric: key in `RoundBatch.rewards`.
        reward_range: lowest and highest possible reward.
        explorations: values of e, in [0, 1]; a target in the place of a value decides the log to come itself.
    """

    def __init__(
        self,
        target: Target,
        baseline: Target,
        *,
        metric: str,
        reward_range: tuple[float, float],
        explorations: Sequence[float | Target],
    ) -> None:
        bad = [e for e in explorations if isinstance(e, int | float) and not 0 <= e <= 1]
        if bad or not explorations:
            raise ParameterError("exploration", "plan", allowed="one or several in [0, 1]", got=tuple(explorations))
        self._target, self._baseline, self._metric, self._range = target, baseline, metric, reward_range
        self._explorations = tuple(explorations)
        self._table = ChunkTable()
        self._spread = Spread()
        self._largest = np.zeros(len(self._explorations))

    def add(self, batch: RoundBatch) -> None:
        """Add a chunk of rows whose metric and propensity are known.

        Raises:
            DataError: the chunk came before, or a column does not hold what a policy needs.
        """
        if batch.n == 0:
            return
        reward = np.asarray(batch.rewards[self._metric], dtype=np.float64)
        ours, theirs = self._logged(self._target, batch), self._logged(self._baseline, batch)
        p = batch.propensity
        low, high = self._range
        self._spread.add(batch.chunk, (reward - low) / (high - low))
        sums = [float(batch.n), (ours / p).sum(), (ours / p * reward).sum(), (theirs / p).sum()]
        sums.append((theirs / p * reward).sum())
        columns = ((ours - theirs) * reward, ours, theirs)
        share = 1.0 / batch.eligible_counts()
        sums += [(share / p).sum(), (share / p * reward).sum()]
        for place, exploration in enumerate(self._explorations):
            if isinstance(exploration, int | float):
                to_come = (1.0 - exploration) * theirs + exploration * share
            else:
                to_come = self._logged(exploration, batch)
            with np.errstate(divide="ignore", invalid="ignore"):
                scale = np.where(ours + theirs > 0, 1.0 / (p * to_come), 0.0)
                weight = np.where(ours > 0, ours / to_come, 0.0)
                sums += _quadratic_sums(np.stack([columns[i] * columns[j] * scale for i, j in _PAIRS]))
            self._largest[place] = max(self._largest[place], float(weight.max()))
        self._table.add(batch.chunk, np.array(sums, dtype=np.float64))

    def merge(self, other: PilotSums) -> None:
        """Take over the chunks of another.

        Raises:
            DataError: some chunk is in both.
        """
        self._table.merge(other._table)
        self._spread.merge(other._spread)
        self._largest = np.maximum(self._largest, other._largest)

    def result(self) -> Pilot:
        """What the pilot tells.

        Raises:
            DataError: no rows, or none on which the target, or the baseline, would have done what was done.
        """
        width = len(_PAIRS) + len(_SQUARES)
        table = self._table.stack(_SHARED + width * len(self._explorations))
        with np.errstate(invalid="ignore"):
            sums = [math.fsum(column) if np.isfinite(column).all() else math.inf for column in table.T]
        n, weight, total, base_weight, base_total, even, even_total = sums[:_SHARED]
        if not weight or not base_weight:
            raise DataError(
                "the pilot log has no row on which the policy, or the baseline, would have done what was done",
                hint="plan from moments, or from a pilot that explored",
            )
        target, baseline = total / weight, base_total / base_weight
        found = []
        for place, exploration in enumerate(self._explorations):
            start = _SHARED + place * width
            own = sums[start : start + width]
            share = float(exploration) if isinstance(exploration, int | float) else math.nan
            found.append(_terms(share, own, n, target, baseline, float(self._largest[place])))
        return Pilot(int(n), target, baseline, even_total / even, self._spread.kurtosis(), tuple(found))

    @staticmethod
    def _logged(policy: Target, batch: RoundBatch) -> FloatArray:
        logged = policy.probabilities(batch).logged
        return batch.propensity if logged is None else logged


def _quadratic_sums(products: FloatArray) -> list[float]:
    """Sums over rows of the (pairs, n) products, and of the products of two of them.

    All infinite where some action of a policy would never be logged.
    """
    if not np.isfinite(products).all():
        return [math.inf] * (len(_PAIRS) + len(_SQUARES))
    squares = matmul(products, products.T)
    return [*products.sum(axis=1).tolist(), *(float(squares[i, j]) for i, j in _SQUARES)]


def _terms(exploration: float, sums: list[float], n: float, target: float, baseline: float, largest: float) -> Terms:
    if not all(math.isfinite(value) for value in sums):
        return Terms(exploration, math.inf, math.inf, math.inf)
    moments, squares = dict(zip(_PAIRS, sums, strict=False)), dict(zip(_SQUARES, sums[len(_PAIRS) :], strict=True))
    factors = (1.0, -target, baseline)
    form = [(1.0 if i == j else 2.0) * factors[i] * factors[j] for i, j in _PAIRS]
    variance = max(sum(factor * moments[pair] for factor, pair in zip(form, _PAIRS, strict=True)), 0.0) / n
    second = sum((1.0 if i == j else 2.0) * form[i] * form[j] * total for (i, j), total in squares.items()) / n
    stderr = math.sqrt(max(second - variance**2, 0.0) / n)
    return Terms(exploration, variance, moments[1, 1] / n, largest, stderr)
