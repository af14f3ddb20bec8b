"""Sums per cluster over a stream: memory grows with the number of clusters, never with the number of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.ope.sums.exact import add_pairs, group_sums
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
        self._runs.append(_union(before, last))


def _union(a: _Run, b: _Run) -> _Run:
    # Scattered into place rather than concatenated and sorted: one copy of the sums instead of three.
    both_keys = np.concatenate([a.keys, b.keys])
    order = np.argsort(both_keys, kind="stable")  # a merge of two sorted runs: linear time
    ordered = both_keys[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    keys, slots = ordered[first], np.empty(len(order), dtype=np.int64)
    slots[order] = np.cumsum(first) - 1
    at_a, at_b = np.split(slots, [len(a.keys)])
    taken = np.zeros(len(keys), dtype=np.bool_)
    taken[at_a] = True
    both = taken[at_b]
    high, low = (np.empty((len(keys), a.high.shape[1])) for _ in range(2))
    high[at_a], low[at_a] = a.high, a.low
    new, shared = at_b[~both], at_b[both]
    high[new], low[new] = b.high[~both], b.low[~both]
    high[shared], low[shared] = add_pairs(high[shared], low[shared], b.high[both], b.low[both])
    return _Run(keys, high, low)
