"""A value, or the difference of two, as the intervals see it: its sums, and the limits of its rows.

Limits follow from the declared range of the reward and the largest weight that the log's policy allows, never from the
sample: the largest weight that happened to be drawn bounds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Final

from engine.errors import DataError
from engine.ope.estimators.doubly_robust import Dr, Mrdr
from engine.ope.estimators.terms import WEIGHT, WEIGHTED_REWARD, Estimator
from engine.ope.estimators.weighting import Clipped
from engine.ope.intervals.ratio import Form
from engine.ope.intervals.streams import mean_form
from engine.ope.setup import Setup
from engine.ope.state import Totals
from engine.ope.sums.ratios import Ratios
from engine.ope.target import LoggedTarget

Range = tuple[float, float]
_UNBIASED: Final = (WEIGHTED_REWARD, Dr.numerator, Mrdr.numerator)


@dataclass(frozen=True)
class Limits:
    """What is known of one policy's weights and rewards.

    Attributes:
        weight: (smallest, largest) possible weight; (1, 1) for the logged choices, (0, inf) where nothing is known.
        reward: (lowest, highest) possible reward.
    """

    weight: Range
    reward: Range

    @property
    def spread(self) -> float:
        """Width of the reward's range."""
        return self.reward[1] - self.reward[0]


def has_model(estimator: Estimator) -> bool:
    """Whether its terms are a model's value plus a weighted residual."""
    return estimator.needs_model or estimator.own_model


def value_range(estimator: Estimator, limits: Limits) -> Range:
    """Range of the mean that the estimator aims at.

    That is the reward's own, but where weights are shrunk: then the mean may fall towards 0, or, with a model, be off
    by as much as the model is.
    """
    low, high = limits.reward
    if estimator.numerator in _UNBIASED:
        return low, high
    if has_model(estimator):
        return low - limits.spread, high + limits.spread
    return min(low, 0.0), max(high, 0.0)


def term_range(estimator: Estimator, limits: Limits) -> Range | None:
    """Range of one row's numerator, or None where it is not known for the estimator.

    Shrunk weights are at most the largest weight; with a model the range holds as long as its predictions lie in the
    reward's range.
    """
    if estimator.weight != WEIGHT:
        return None
    if has_model(estimator):
        reach = limits.weight[1] * limits.spread
        return limits.reward[0] - reach, limits.reward[1] + reach
    return _corners(weight_range(estimator, limits), limits.reward)


def weight_range(estimator: Estimator, limits: Limits) -> Range:
    """Range of the weight that a term is multiplied with."""
    smallest, largest = limits.weight
    if isinstance(estimator, Clipped):
        return min(smallest, estimator.clip), min(largest, estimator.clip)
    return smallest, largest


def difference_range(a: Estimator, a_limits: Limits, b: Estimator, b_limits: Limits) -> Range | None:
    """Range of one row's numerator of a minus that of b.

    Where both are plain weighted rewards the reward is one and the same, which is narrower than two ranges apart.
    """
    if a.numerator == b.numerator == WEIGHTED_REWARD:
        apart = (a_limits.weight[0] - b_limits.weight[1], a_limits.weight[1] - b_limits.weight[0])
        return _corners(apart, a_limits.reward)
    own, other = term_range(a, a_limits), term_range(b, b_limits)
    if own is None or other is None:
        return None
    return own[0] - other[1], own[1] - other[0]


def _corners(weight: Range, reward: Range) -> Range:
    products = [0.0 if w == 0 or r == 0 else w * r for w, r in product(weight, reward)]
    return min(products), max(products)


_SLACK = 1e-9


@dataclass(frozen=True)
class Part:
    """One policy's side of a figure.

    Attributes:
        unit: The policy's place in `Setup.units`.
        estimator: The estimator whose terms the first ratio sums.
        ratios: their sum is the value.
        limits: What is known of the policy's weights and of the reward.
        below: column of the policy's weight.
        logged: whether these are the logged choices, whose weight is 1 on every row.
    """

    unit: int
    estimator: Estimator
    ratios: Ratios
    limits: Limits
    below: int
    logged: bool

    @property
    def self_normalised(self) -> bool:
        """Whether it is sum(w r) / sum(w)."""
        return self.plain and self.ratios[0].below == self.below and self.estimator.numerator == WEIGHTED_REWARD

    @property
    def plain(self) -> bool:
        """Whether it is one ratio, so that its range is that of the estimator's terms."""
        return len(self.ratios) == 1


@dataclass(frozen=True)
class Figure:
    """What an interval is asked for.

    Attributes:
        setup / totals: The evaluation and its sums.
        parts: one for a value, two for a difference.
        value: The value by the interval's estimator.
        stderr: its standard error.
        alpha: error of this interval, corrected where several are read together.
    """

    setup: Setup
    totals: Totals
    parts: tuple[Part, ...]
    value: float
    stderr: float
    alpha: float

    @property
    def ratios(self) -> tuple[Ratios, ...]:
        """The ratios of each part."""
        return tuple(part.ratios for part in self.parts)

    @property
    def form(self) -> Form | None:
        """The linear form whose mean it is; None where it is no mean."""
        return mean_form(self.ratios)

    def value_range(self) -> Range:
        """Between which limits the figure lies."""
        ranges = [value_range(part.estimator, part.limits) for part in self.parts]
        return ranges[0] if len(ranges) == 1 else (ranges[0][0] - ranges[1][1], ranges[0][1] - ranges[1][0])

    def term_range(self) -> Range | None:
        """Between which limits a term of the form lies; None where that is not known, or was seen to fail."""
        if not all(part.plain for part in self.parts):
            return None
        for part in self.parts:
            _check_terms(self.totals, part)
        if len(self.parts) == 1:
            return term_range(self.parts[0].estimator, self.parts[0].limits)
        own, other = self.parts
        return difference_range(own.estimator, own.limits, other.estimator, other.limits)

    def inversion_width(self) -> float | None:
        """Width of the range of w (r - value) for one self-normalised value; None for others."""
        part = self.parts[0]
        if len(self.parts) != 1 or not part.self_normalised:
            return None
        return part.limits.weight[1] * part.limits.spread

    def halves(self) -> tuple[Figure, Figure]:
        """The two values of a difference, each with half of the error; their standard errors are not needed."""
        first, second = (
            Figure(self.setup, self.totals, (part,), math.nan, math.nan, self.alpha / 2) for part in self.parts
        )
        return first, second


def part_of(setup: Setup, totals: Totals, unit: int, ratios: Ratios) -> Part:
    """A unit's side of a figure.

    Raises:
        DataError: a weight above the largest one that was declared.
    """
    names = {column: name for (owner, name), column in setup.layout.columns.items() if owner == unit}
    numerator = names[ratios[0].above]
    estimator = next(e for e in setup.layout.estimators[unit] if e.numerator == numerator)
    logged = isinstance(setup.units[unit], LoggedTarget)
    largest = setup.settings.largest_weight
    seen = totals.weights[unit].largest
    if largest is not None and not logged and seen > largest * (1 + _SLACK):
        raise DataError(
            f"the log holds a weight of {seen:.6g} for {setup.units[unit].name!r}, above the declared largest weight "
            f"{largest:g}",
            hint="it is 1 / the smallest propensity that the log's policy can give to an action of the target; no "
            "interval holds with a smaller one",
        )
    weight = (1.0, 1.0) if logged else (0.0, math.inf if largest is None else float(largest))
    return Part(
        unit, estimator, ratios, Limits(weight, setup.question.reward_range), setup.layout.columns[unit, WEIGHT], logged
    )


def _check_terms(totals: Totals, part: Part) -> None:
    """A model that predicts outside of the reward's range makes terms outside of theirs.

    Raises:
        DataError: a term outside its range.
    """
    limits = term_range(part.estimator, part.limits)
    if limits is None:
        return
    column = part.ratios[0].above
    low, high = float(totals.extremes.low[column]), float(totals.extremes.high[column])
    slack = _SLACK * max(1.0, abs(low), abs(high))
    if low < limits[0] - slack or high > limits[1] + slack:
        raise DataError(
            f"terms of {part.estimator.name} lie in [{low:.6g}, {high:.6g}], outside of [{limits[0]:.6g}, "
            f"{limits[1]:.6g}], which follows from the reward's range and the largest weight",
            hint="a reward model must predict within the declared range of the reward",
        )
