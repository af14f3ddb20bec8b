"""A set of 64-bit keys in 8 bytes each, for finding duplicate ids in logs that do not fit in a Python set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.types import BoolArray, KeyArray


@dataclass
class Seen:
    """Keys that were added, as sorted runs whose lengths at least halve, so that each key is merged O(log n) times.

    Two of n ids share a 64-bit keyed hash with probability below n^2 / 2^65: 7e-7 for five million.
    """

    runs: list[KeyArray] = field(default_factory=list)

    def add(self, keys: KeyArray) -> BoolArray:
        """Add (n,) keys; (n,) bool, true where the key was there before, or came earlier in the same array."""
        _, first = np.unique(keys, return_index=True)
        again = np.ones(len(keys), dtype=np.bool_)
        again[first] = False
        for run in self.runs:
            position = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            again |= run[position] == keys
        fresh = np.sort(keys[~again])
        if len(fresh):
            while self.runs and len(self.runs[-1]) < 2 * len(fresh):
                fresh = np.sort(np.concatenate([self.runs.pop(), fresh]), kind="stable")
            self.runs.append(fresh)
        return again
