"""Means and centred second moments of columns, kept per canonical chunk: every partition gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.errors import DataError
from engine.types import FloatArray

Pair = tuple[int, int]


class ChunkTable:
    """One short vector per chunk; 100,000,000 rows make 24,415 of them.

    Combining happens once, in the order of the chunks, whatever the order in which they came.
    """

    def __init__(self) -> None:
        self._rows: dict[int, FloatArray] = {}

    def add(self, chunk: int, row: FloatArray) -> None:
        """Keep the vector of a chunk.

        Raises:
            DataError: the chunk was added before.
        """
        if chunk in self._rows:
            raise DataError(
                f"chunk {chunk} of the log came twice",
                hint="give each batch its own `chunk`, and read each partition of a log once",
            )
        self._rows[chunk] = row

    def merge(self, other: ChunkTable) -> None:
        """Take over the chunks of another.

        Raises:
            DataError: some chunk is in both; nothing is taken over then.
        """
        twice = self._rows.keys() & other._rows.keys()
        if twice:
            raise DataError(f"chunk {min(twice)} of the log came twice", hint="merge each partition of a log once")
        self._rows.update(other._rows)

    def stack(self, width: int) -> FloatArray:
        """(chunks, width), ordered by chunk."""
        if not self._rows:
            return np.empty((0, width))
        return np.stack([self._rows[chunk] for chunk in sorted(self._rows)])


class Moments:
    """Sums of m columns and centred second moments of chosen pairs of them.

    Chunks are combined by the pairwise update of Chan, Golub & LeVeque (1979).

    Args:
        columns: m.
        pairs: positions (i, j) of the columns whose sum of (x_i - mean x_i)(x_j - mean x_j) is kept.
    """

    def __init__(self, columns: int, pairs: Sequence[Pair]) -> None:
        self.columns = columns
        self.pairs = tuple(pairs)
        self._table = ChunkTable()

    def add(self, chunk: int, values: FloatArray) -> None:
        """Add a chunk: (m, n) values, one column of the log per row, contiguous.

        Raises:
            DataError: the chunk was added before.
        """
        n = values.shape[1]
        sums = values.sum(axis=1)
        row = np.empty(1 + self.columns + len(self.pairs))
        row[0] = n
        row[1 : 1 + self.columns] = sums
        if self.pairs:
            centred = values - (sums / n)[:, None]
            for slot, (i, j) in enumerate(self.pairs, start=1 + self.columns):
                row[slot] = (centred[i] * centred[j]).sum()
        self._table.add(chunk, row)

    def merge(self, other: Moments) -> None:
        """Take over the chunks of another; see `ChunkTable.merge`."""
        self._table.merge(other._table)

    def result(self) -> tuple[int, FloatArray, dict[Pair, float]]:
        """n, (m,) sums, and the centred second moment of each pair."""
        table = self._table.stack(1 + self.columns + len(self.pairs))
        counts, chunk_sums, products = np.split(table, [1, 1 + self.columns], axis=1)
        counts = counts[:, 0]
        n = int(counts.sum())
        sums = np.array([math.fsum(column) for column in chunk_sums.T])
        if n == 0:
            return 0, sums, dict.fromkeys(self.pairs, 0.0)
        shifts = chunk_sums / counts[:, None] - sums / n
        seconds = {
            (i, j): math.fsum(products[:, slot]) + math.fsum(counts * shifts[:, i] * shifts[:, j])
            for slot, (i, j) in enumerate(self.pairs)
        }
        return n, sums, seconds


class Extremes:
    """Smallest and largest value of m columns; exact in any order.

    Args:
        columns: m.
    """

    def __init__(self, columns: int) -> None:
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)

    def add(self, values: FloatArray) -> None:
        """Add a chunk: (m, n) values, n at least 1."""
        self.low = np.minimum(self.low, values.min(axis=1))
        self.high = np.maximum(self.high, values.max(axis=1))

    def merge(self, other: Extremes) -> None:
        """Take over another's."""
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)


class Spread:
    """Kurtosis of one column, from its raw moments by chunk: how rare the values are that make its variance.

    1 over it is the share of rows that carry the variance: p for a reward that is 1 with a small probability p, a third
    for a normal one.
    """

    def __init__(self) -> None:
        self._table = ChunkTable()

    def add(self, chunk: int, values: FloatArray) -> None:
        """Add a chunk of (n,) values of order 1.

        Raises:
            DataError: the chunk was added before.
        """
        squares = values * values
        powers = (np.ones_like(values), values, squares, squares * values, squares * squares)
        self._table.add(chunk, np.array([power.sum() for power in powers]))

    def merge(self, other: Spread) -> None:
        """Take over the chunks of another; see `ChunkTable.merge`."""
        self._table.merge(other._table)

    def kurtosis(self) -> float:
        """Fourth central moment over the squared variance, at least 1; NaN where nothing varies."""
        return kurtosis_of([math.fsum(column) for column in self._table.stack(5).T])


def kurtosis_of(sums: Sequence[float]) -> float:
    """Fourth central moment over the squared variance, at least 1; NaN where nothing varies.

    Args:
        sums: of the powers 0 to 4 of n values.
    """
    if not sums[0]:
        return math.nan
    mean, second, third, fourth = (total / sums[0] for total in sums[1:])
    variance = second - mean * mean
    central = fourth - 4 * mean * third + 6 * mean * mean * second - 3 * mean**4
    # Below this the difference of moments is rounding, not spread.
    return central / variance**2 if variance > 1e-12 * max(second, 1e-300) else math.nan
