"""The studentised bootstrap: quantiles of (value* - value) / stderr*, each resample with its own standard error."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from engine.ope.bootstrap import resample_counts
from engine.ope.intervals.ratio import NOTHING, Bounds
from engine.types import FloatArray

Fraction = tuple[int, int, float]
Figure = tuple[Fraction, ...]


def pivots(units: FloatArray, figures: Sequence[Figure], draws: int, seed: int) -> FloatArray:
    """(f, draws) studentised values of sums of ratios on resampled units; NaN where undefined.

    Efron & Tibshirani, "An introduction to the bootstrap" (1993), section 12.5; Hall (1988): the error of coverage is
    O(1 / n) where that of the percentiles is O(1 / sqrt(n)) a side, because the skewness of weighted rewards is in the
    pivot. The variance of a resample is that of its influences (num - value* den) / sum(den), a quadratic form in sums
    of products, so no resample is visited twice.

    Args:
        units: (u, m) sums of independent units.
        figures: ratios with their factors: -1 for what is taken off in a difference. All share the resamples.
        draws: resamples.
        seed: of the draws.
    """
    made = [_Pivot(units, figure) for figure in figures]
    blocks = [[pivot.of(counts) for pivot in made] for counts in resample_counts(len(units), draws, seed)]
    return np.concatenate([np.stack(block) for block in blocks], axis=1)


def studentised(drawn: FloatArray, value: float, stderr: float, alpha: float) -> Bounds:
    """Interval from the pivots; nothing where more than 1 % of the resamples have none.

    Args:
        drawn: (draws,) pivots.
        value: on the log.
        stderr: on the log.
        alpha: error, in (0, 1).
    """
    kept = drawn[np.isfinite(drawn)]
    if len(kept) < 0.99 * len(drawn):
        return NOTHING
    low, high = np.quantile(kept, [alpha / 2, 1 - alpha / 2])
    return value - float(high) * stderr, value - float(low) * stderr


class _Pivot:
    """One figure on resamples: its columns and their products by unit."""

    def __init__(self, units: FloatArray, figure: Figure) -> None:
        columns = sorted({column for above, below, _ in figure for column in (above, below)})
        at = {column: position for position, column in enumerate(columns)}
        used = units[:, columns]
        pairs = list(combinations_with_replacement(range(len(columns)), 2))
        self._units = np.column_stack([used, *(used[:, i] * used[:, j] for i, j in pairs)])
        self._slots = {pair: len(columns) + slot for slot, pair in enumerate(pairs)}
        self._figure = tuple((at[above], at[below], factor) for above, below, factor in figure)
        self._centre, _ = self._value_and_error(self._units.sum(axis=0, keepdims=True))

    def of(self, counts: FloatArray) -> FloatArray:
        """(b,) pivots of (b, u) counts."""
        value, error = self._value_and_error(counts @ self._units)
        with np.errstate(divide="ignore", invalid="ignore"):
            pivot: FloatArray = (value - self._centre) / error
        return pivot

    def _value_and_error(self, sums: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(b,) values and standard errors from (b, columns + products) sums."""
        units, value, variance = len(self._units), np.zeros(len(sums)), np.zeros(len(sums))
        form: dict[int, FloatArray] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for above, below, factor in self._figure:
                part = factor * sums[:, above] / sums[:, below]
                value = value + part
                form[above] = form.get(above, 0.0) + factor / sums[:, below]
                form[below] = form.get(below, 0.0) - part / sums[:, below]
            for i, a in form.items():
                for j, b in form.items():
                    variance += a * b * sums[:, self._slots[min(i, j), max(i, j)]]
            variance *= units / (units - 1) if units > 1 else np.nan
            return value, np.sqrt(np.maximum(variance, 0.0))
