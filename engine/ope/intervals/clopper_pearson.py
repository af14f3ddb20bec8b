"""Clopper-Pearson: the exact interval of a share, where rewards are 0 or 1 and every weight is 0 or one constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.special import betaincinv

from engine.errors import ParameterError
from engine.types import FloatArray

MOST_VALUES: Final = 6
_DIGITS: Final = 12


def clopper_pearson(successes: float, n: float, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of a share: Clopper & Pearson, Biometrika 26 (1934), by quantiles of the beta distribution.

    Args:
        successes: in [0, n]; a share of them for weighted counts.
        n: trials, positive.
        alpha: error of both sides together, in (0, 1).

    Raises:
        ParameterError: an argument outside its range.
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ParameterError("successes", "clopper_pearson", allowed="in [0, n], n positive", got=(successes, n))
    if not 0 < alpha < 1:
        raise ParameterError("alpha", "clopper_pearson", allowed="in (0, 1)", got=alpha)
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return low, high


def mean_of_few(counts: Mapping[float, int], alpha: float = 0.05) -> tuple[float, float]:
    """Interval of the mean of terms that take few values: each value's share has its own Clopper-Pearson interval.

    With one value besides 0 this is exact; with more, the error is divided among them (Bonferroni). The terms of a
    difference of two policies take three: +w of the one, -w of the other, and their difference where both agree.

    Args:
        counts: value -> rows, 0 among the values; a value that is possible but was not seen has 0 rows.
        alpha: error, in (0, 1).
    """
    n = sum(counts.values())
    values = {value: count for value, count in counts.items() if value}
    low = high = 0.0
    for value, count in values.items():
        least, most = clopper_pearson(count, n, alpha / len(values))
        low += value * (least if value > 0 else most)
        high += value * (most if value > 0 else least)
    return low, high


def rounded(value: float) -> float:
    """A value to 12 significant digits, by which terms are compared."""
    return float(f"{value:.{_DIGITS}g}") + 0.0  # -0.0 is 0


class FewValues:
    """How often each value comes, as long as there are at most `MOST_VALUES`; mergeable in any order.

    Values are compared to 12 significant digits, because weights are quotients of rounded probabilities.
    """

    def __init__(self) -> None:
        self._counts: dict[float, int] | None = {}

    def add(self, values: FloatArray) -> None:
        """Add (n,) values."""
        if self._counts is None:
            return
        found, counts = np.unique(values, return_counts=True)
        if len(found) > 64 * MOST_VALUES:
            self._counts = None
            return
        self._take({float(value): int(count) for value, count in zip(found, counts, strict=True)})

    def merge(self, other: FewValues) -> None:
        """Add what another has counted."""
        if other._counts is None:
            self._counts = None
        else:
            self._take(other._counts)

    def counts(self) -> Mapping[float, int] | None:
        """Value -> rows; None where there were more than `MOST_VALUES` values."""
        return self._counts

    def _take(self, counts: Mapping[float, int]) -> None:
        if self._counts is None:
            return
        for value, count in counts.items():
            key = rounded(value)
            self._counts[key] = self._counts.get(key, 0) + count
        if len(self._counts) > MOST_VALUES:
            self._counts = None
