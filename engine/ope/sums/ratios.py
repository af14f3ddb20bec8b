"""Values that are sums of ratios of column sums: their influence, their error, and mergeable sums behind them.

The influence function of a ratio at row i is (numerator_i - value * denominator_i) / mean(denominator), that of a sum
of ratios is the sum of theirs; the variance of the value is that of the mean influence (the delta method: Owen, "Monte
Carlo theory, methods and examples", 2013, section 9.2), summed by cluster where rows depend on each other (Liang &
Zeger 1986).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from engine.errors import DataError
from engine.ope.sums.moments import Moments, Pair
from engine.types import FloatArray

ONE_COLUMN: Final = 0
# Coefficients of a linear form in the columns.
Form: TypeAlias = dict[int, float]


class Ratio(NamedTuple):
    """factor * sum of column `above` / sum of column `below`."""

    above: int
    below: int
    factor: float = 1.0


Ratios = tuple[Ratio, ...]
# The mean of column 1.
MEAN: Final[Ratios] = (Ratio(1, ONE_COLUMN),)


@dataclass(frozen=True)
class PointEstimate:
    """A value with its standard error, in the metric's unit; NaN where not defined."""

    value: float
    stderr: float
    n: int


def value_of(sums: FloatArray, ratios: Ratios) -> float:
    """The value; NaN where some denominator is 0."""
    value = 0.0
    for above, below, factor in ratios:
        value += factor * float(sums[above]) / float(sums[below]) if sums[below] else math.nan
    return value


def influence_of(sums: FloatArray, n: int, ratios: Ratios) -> Form:
    """Coefficients of the sum of the influence functions, from (m,) sums over n rows; NaN where it is not defined."""
    form: Form = {}
    for above, below, factor in ratios:
        mean = float(sums[below]) / n
        ratio = float(sums[above]) / float(sums[below]) if mean else math.nan
        scale = factor / mean if mean else math.nan
        form[above] = form.get(above, 0.0) + scale
        form[below] = form.get(below, 0.0) - ratio * scale
    return form


def minus(a: Mapping[int, float], b: Mapping[int, float]) -> Form:
    """Difference of two forms."""
    return {column: a.get(column, 0.0) - b.get(column, 0.0) for column in {**a, **b}}


def quadratic(seconds: Mapping[Pair, float], form: Mapping[int, float]) -> float:
    """Sum over rows of (sum of coefficient * centred column)^2, from the second moments of pairs (i <= j)."""
    varying = {column: value for column, value in form.items() if column != ONE_COLUMN and value != 0.0}
    return sum(a * b * seconds[min(i, j), max(i, j)] for i, a in varying.items() for j, b in varying.items())


def standard_error(sum_of_squares: float, clusters: int, n: int) -> float:
    """Standard error of a mean influence: sqrt(C / (C - 1) * sum over clusters of (cluster sum)^2) / n.

    With each row its own cluster this is the sample standard deviation over sqrt(n). NaN with fewer than 2 clusters.
    """
    if clusters < 2:
        return math.nan
    return math.sqrt(max(sum_of_squares, 0.0) * clusters / (clusters - 1)) / n


class UnitSums:
    """Mergeable sums of columns over units (trajectories, slates, contacts), each independent of the others.

    Chunks are combined in their own order, so any partition gives the same bytes (`engine.ope.sums.moments`).

    Args:
        columns: m, with column 0 the constant 1.
        ratios: Their sum is the value.
    """

    def __init__(self, columns: int, ratios: Ratios) -> None:
        self.ratios = ratios
        used = sorted({column for ratio in ratios for column in ratio[:2]} - {ONE_COLUMN})
        self._moments = Moments(columns, [(i, j) for i in used for j in used if i <= j])

    def add(self, chunk: int, values: FloatArray) -> None:
        """Add a chunk: (m, n) values, n at least 1.

        Raises:
            DataError: the chunk was added before.
        """
        self._moments.add(chunk, values)

    def merge(self, other: UnitSums) -> None:
        """Take over the chunks of another.

        Raises:
            DataError: some chunk is in both.
        """
        self._moments.merge(other._moments)

    def result(self) -> PointEstimate:
        """Value, standard error by the delta method, and the number of units.

        Raises:
            DataError: nothing was added.
        """
        n, sums, seconds = self._moments.result()
        if n == 0:
            raise DataError("there are no units to evaluate", hint="the log has no usable rows")
        form = influence_of(sums, n, self.ratios)
        if any(math.isnan(factor) for factor in form.values()):
            return PointEstimate(math.nan, math.nan, n)
        return PointEstimate(value_of(sums, self.ratios), standard_error(quadratic(seconds, form), n, n), n)


def estimate_units(values: FloatArray, ratios: Ratios) -> PointEstimate:
    """`UnitSums.result` of one (m, n) array."""
    sums = UnitSums(len(values), ratios)
    sums.add(0, values)
    return sums.result()
