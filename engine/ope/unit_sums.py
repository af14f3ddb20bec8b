"""Sums over independent units (trajectories, slates, contacts), and the value and error of a sum of ratios of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from engine.errors import DataError
from engine.ope.choose import influence_of, value_of
from engine.ope.layout import ONE_COLUMN, Ratio, Ratios, quadratic
from engine.ope.moments import Moments
from engine.ope.terms import PointEstimate, standard_error
from engine.types import FloatArray

# The mean of column 1.
MEAN: Final[Ratios] = (Ratio(1, ONE_COLUMN),)


class UnitSums:
    """Mergeable sums of columns over units, each independent of the others.

    Chunks are combined in their own order, so any partition gives the same bytes (`engine.ope.moments`).

    Args:
        columns: m, with column 0 the constant 1.
        ratios: whose sum is the value.
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
    """The same from one (m, n) array."""
    sums = UnitSums(len(values), ratios)
    sums.add(0, values)
    return sums.result()


def estimate_chunks(chunks: Iterable[FloatArray], ratios: Ratios) -> PointEstimate:
    """The same from a stream of (m, n) arrays, numbered as they come.

    Raises:
        DataError: the stream is empty.
    """
    sums: UnitSums | None = None
    for number, values in enumerate(chunks):
        sums = UnitSums(len(values), ratios) if sums is None else sums
        sums.add(number, values)
    if sums is None:
        raise DataError("there are no units to evaluate", hint="the log has no usable rows")
    return sums.result()
