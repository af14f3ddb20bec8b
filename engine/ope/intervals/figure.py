"""A value, or the difference of two, as the intervals see it: its sums, and the limits of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import DataError
from engine.ope.intervals.ranges import Limits, Range, difference_range, term_range, value_range
from engine.ope.intervals.ratio import Form
from engine.ope.intervals.streams import mean_form
from engine.ope.layout import Ratios
from engine.ope.setup import Setup
from engine.ope.state import Totals
from engine.ope.target import LoggedTarget
from engine.ope.terms import WEIGHT, WEIGHTED_REWARD, Estimator

_SLACK = 1e-9


@dataclass(frozen=True)
class Part:
    """One policy's side of a figure.

    Attributes:
        unit: of the setup.
        estimator: whose terms the first ratio sums.
        ratios: their sum is the value.
        limits: of the policy's weights and the reward.
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
        setup / totals: of the evaluation.
        parts: one for a value, two for a difference.
        value: of the interval's estimator.
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
        """By part."""
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
    largest = setup.largest_weight
    seen = totals.weights[unit].largest
    if largest is not None and not logged and seen > largest * (1 + _SLACK):
        raise DataError(
            f"the log holds a weight of {seen:.6g} for {setup.units[unit].name!r}, above the declared largest weight "
            f"{largest:g}",
            hint="it is 1 / the smallest propensity that the log's policy can give to an action of the target; no "
            "interval holds with a smaller one",
        )
    weight = (1.0, 1.0) if logged else (0.0, math.inf if largest is None else float(largest))
    return Part(unit, estimator, ratios, Limits(weight, setup.reward_range), setup.layout.columns[unit, WEIGHT], logged)


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
