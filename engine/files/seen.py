"""A growing set of 64-bit hashes in eight bytes each, for duplicates in files of any length.

Sorted runs of doubling lengths, merged as in a log-structured tree: adding a block costs O(block log n), amortised.
"""

from __future__ import annotations

import numpy as np

from engine.types import BoolArray, KeyArray


class SeenHashes:
    """Which hashes were added before."""

    def __init__(self) -> None:
        self._runs: list[KeyArray] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def known(self, hashes: KeyArray) -> BoolArray:
        """(n,) which of the hashes were added before."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            found |= run[at] == hashes
        return found

    def add(self, hashes: KeyArray) -> None:
        """Add hashes, each new."""
        if not len(hashes):
            return
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
