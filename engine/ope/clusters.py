"""Sums per cluster over a stream: memory grows with the number of clusters, never with the number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from engine.ope.exact import add_pairs, group_sums
from engine.types import FloatArray, KeyArray


class _Run(NamedTuple):
    """Sorted unique keys (s,) with the double-double sums (s, m) of their rows."""

    keys: KeyArray
    high: FloatArray
    low: FloatArray


class ClusterSums:
    """Sums of m columns per cluster key.

    New rows become a sorted run; runs of like size are merged, so that a log in which each key is new costs
    O(n log n) and holds at most about twice the clusters. Sums are double-doubles: any order of rows, any partition
    and any order of merges gives the same bytes.

    Args:
        columns: m.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._runs: list[_Run] = []

    def add(self, keys: KeyArray, values: FloatArray) -> None:
        """Add rows: (n,) keys and (n, m) values."""
        if len(keys):
            self._push(_Run(*group_sums(keys, values)))

    def merge(self, other: ClusterSums) -> None:
        """Add what another has summed."""
        for run in sorted(other._runs, key=lambda run: -len(run.keys)):
            self._push(run)

    def totals(self) -> tuple[KeyArray, FloatArray]:
        """(c,) keys in ascending order and (c, m) sums."""
        if not self._runs:
            return np.empty(0, dtype=np.uint64), np.empty((0, self.columns))
        while len(self._runs) > 1:
            self._merge_last_two()
        return self._runs[0].keys, self._runs[0].high

    def _push(self, run: _Run) -> None:
        self._runs.append(run)
        while len(self._runs) > 1 and 2 * len(self._runs[-1].keys) >= len(self._runs[-2].keys):
            self._merge_last_two()

    def _merge_last_two(self) -> None:
        last, before = self._runs.pop(), self._runs.pop()
        self._runs.append(_union((before, last)))


def _union(runs: Iterable[_Run]) -> _Run:
    keys, high, low = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    order = np.argsort(keys, kind="stable")
    keys, high, low = keys[order], high[order], low[order]
    first = np.concatenate([[True], keys[1:] != keys[:-1]])
    second = np.flatnonzero(~first)  # a key stands at most once in each of the two runs
    high[second - 1], low[second - 1] = add_pairs(high[second - 1], low[second - 1], high[second], low[second])
    return _Run(keys[first], high[first], low[first])
