"""A histogram on a logarithmic scale that keeps each bin's sum: the shape of a heavy tail in flat memory."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.ope.exact import two_sum
from engine.types import FloatArray, IntArray

_PER_OCTAVE: Final = 64
_LOWEST, _HIGHEST = -40, 24
_HALF: Final = (_HIGHEST - _LOWEST) * _PER_OCTAVE


class LogHistogram:
    """Counts and sums of terms in bins that are at most 1.6 % wide; mergeable in any order to the same bytes.

    The bins are those of DDSketch (Masson, Rim & Lee, VLDB 2019) with linear steps within an octave; each keeps the sum
    of its terms too, so the mean is exact and a smooth function of the terms is off by the curvature within a bin only.
    Terms below 2^-40 of the scale count as 0 with their sum; terms above 2^24 of it share the last bin.

    Args:
        scale: of the terms, positive: the largest possible reward.
    """

    def __init__(self, scale: float) -> None:
        self._exponent = math.frexp(scale)[1]
        self._counts = np.zeros(2 * _HALF + 1)
        self._high = np.zeros(2 * _HALF + 1)
        self._low = np.zeros(2 * _HALF + 1)

    def add(self, values: FloatArray) -> None:
        """Add (n,) finite values."""
        slots = self._slots(values)
        self._counts += np.bincount(slots, minlength=len(self._counts))
        sums: FloatArray = np.bincount(slots, weights=values, minlength=len(self._counts)).astype(np.float64)
        self._accumulate(sums)

    def merge(self, other: LogHistogram) -> None:
        """Add what another of the same scale has counted."""
        self._counts += other._counts
        self._accumulate(other._high)
        self._accumulate(other._low)

    def bins(self) -> tuple[FloatArray, FloatArray]:
        """Counts and mean terms of the bins that hold rows."""
        held = self._counts > 0
        return self._counts[held], (self._high + self._low)[held] / self._counts[held]

    def _slots(self, values: FloatArray) -> IntArray:
        mantissa, exponent = np.frexp(np.abs(values))
        step = ((mantissa - 0.5) * (2 * _PER_OCTAVE)).astype(np.int64)
        octave = exponent.astype(np.int64) - self._exponent - _LOWEST
        slot = np.clip(octave * _PER_OCTAVE + step, -1, _HALF - 1) + 1
        slot[values == 0] = 0
        slots: IntArray = np.where(values < 0, _HALF - slot, _HALF + slot)
        return slots

    def _accumulate(self, values: FloatArray) -> None:
        self._high, error = two_sum(self._high, values)
        self._low = self._low + error
        self._high, self._low = two_sum(self._high, self._low)
