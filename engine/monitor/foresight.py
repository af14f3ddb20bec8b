"""Will the log still answer next month: actions per context, the rarest of them, and the effective rows to come.

All of it is told by logged propensities alone. The mean of -log p is the mean entropy of the distributions that the
decisions were drawn from; its exponential is the effective number of actions per context. The effective sample size of
a uniform choice among the eligible actions, by day, is what next month's log offers to a policy unlike today's; where
it falls, its trend is carried on to the middle of that month.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from scipy.stats import linregress

from engine.audit.windows import DaySums, day_name
from engine.ope.sums.moments import kurtosis_of
from engine.ope.support import SupportRule
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray

_MONTH_DAYS: Final = 30
# Fewer rows say nothing of a log; fewer days nothing of a trend.
_FEWEST_ROWS: Final = 50
_FEWEST_DAYS: Final = 7
_TREND_DAYS: Final = 28


class Foresight(msgspec.Struct, frozen=True, kw_only=True):
    """What next month's log will be able to say.

    Attributes:
        actions_per_context: effective number of actions that a decision was drawn from lately; 1 is no choice.
        smallest_propensity: the rarest choice that was logged on the last days.
        planned_ess: effective rows of next month's log for a uniform choice.
        needed_ess: effective rows that a judgement of the metric needs (`SupportRule`).
        daily_change: of the effective rows, as a share by day; 0 where no fall is proven.
        days: YYYY-MM-DD -> (actions per context, effective rows).
    """

    actions_per_context: float
    smallest_propensity: float
    planned_ess: float
    needed_ess: float
    daily_change: float
    days: dict[str, tuple[float, float]]


class ForesightSums:
    """Rows, -log p, weights and their squares, powers of the reward, by day; mergeable.

    Args:
        metric: whose outcomes must be seen.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._days = DaySums()
        self._rarest: dict[int, float] = {}

    def add(self, batch: RoundBatch, day: IntArray) -> None:
        """Add the rows in which something was drawn from at least two actions."""
        count = batch.eligible_counts()
        drawn = batch.usable & (count > 1) & (batch.propensity > 0)
        p = np.where(drawn, batch.propensity, 1.0)
        weight = np.where(drawn, 1.0 / (p * np.maximum(count, 1)), 0.0)
        reward = batch.rewards[self._metric]
        known = drawn & ~np.isnan(reward)
        value = np.where(known, reward, 0.0)
        columns = [drawn, -np.log(p), weight, weight**2, known, *(value**power for power in (1, 2, 3, 4))]
        table = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
        self._days.add(day, lambda rows: table[rows].sum(axis=0))
        for one in np.unique(day[drawn]).tolist():
            least = float(p[drawn & (day == one)].min())
            self._rarest[one] = min(self._rarest.get(one, 1.0), least)

    def merge(self, other: ForesightSums) -> None:
        """Take over the sums of another part."""
        self._days.merge(other._days)
        for day, least in other._rarest.items():
            self._rarest[day] = min(self._rarest.get(day, 1.0), least)

    def result(self, window_days: int, rule: SupportRule) -> Foresight | str:
        """What is foreseen by the last days, or why nothing is."""
        days = [day for day in self._days.days if self._days.of(day)[0] > 0]
        if not days:
            return "no decision was drawn with a propensity from two actions or more"
        last = [day for day in days if day > days[-1] - window_days]
        sums = np.sum([self._days.of(day) for day in last], axis=0)
        if sums[0] < _FEWEST_ROWS:
            return f"{sums[0]:.0f} decisions were drawn on the last days, {_FEWEST_ROWS} are needed"
        table = np.array([self._days.of(day) for day in days])
        ess = table[:, 2] ** 2 / table[:, 3]
        change = _fall(np.array(days[-_TREND_DAYS:], dtype=np.float64), ess[-_TREND_DAYS:])
        # From the middle of the last days to the middle of next month.
        ahead = math.exp(change * (_MONTH_DAYS / 2 + (days[-1] - last[0]) / 2))
        daily = float(sums[2] ** 2 / sums[3]) / (days[-1] - last[0] + 1)
        return Foresight(
            actions_per_context=math.exp(sums[1] / sums[0]),
            smallest_propensity=min(self._rarest[day] for day in last),
            planned_ess=_MONTH_DAYS * daily * ahead,
            needed_ess=_needed(np.sum(table, axis=0)[4:], rule),
            daily_change=math.expm1(change),
            days={
                day_name(day): (math.exp(row[1] / row[0]), float(size))
                for day, row, size in zip(days, table, ess, strict=True)
            },
        )


def _fall(days: FloatArray, ess: FloatArray) -> float:
    """Change of log ESS by day where it is proven to fall, else 0."""
    if len(days) < _FEWEST_DAYS:
        return 0.0
    line = linregress(days, np.log(ess))
    slope, error = float(line.slope), float(line.stderr)
    return slope if slope + 2.5 * error < 0 else 0.0


def _needed(powers: FloatArray, rule: SupportRule) -> float:
    """Effective rows that a judgement needs, by the sums of the powers 0 to 4 of the reward."""
    kurtosis = kurtosis_of(powers.tolist())
    return rule.min_ess if math.isnan(kurtosis) else max(rule.min_ess, rule.min_outcomes * kurtosis)
