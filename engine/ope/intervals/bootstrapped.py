"""Intervals from resampled units: percentiles, and the studentised bootstrap.

The studentised interval takes the quantiles of (value* - value) / stderr*, each resample with its own standard error:
Efron & Tibshirani, "An introduction to the bootstrap" (1993), section 12.5; Hall (1988): the error of coverage is
O(1 / n) where that of the percentiles is O(1 / sqrt(n)) a side, because the skewness of weighted rewards is in the
pivot. The variance of a resample is that of its influences (num - value* den) / sum(den), a quadratic form in sums of
products of columns, so the units are resampled once for all figures of an evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.ope.intervals.ratio import NOTHING, Bounds
from engine.ope.sums.bootstrap import resampled_sums
from engine.ope.sums.moments import Pair
from engine.ope.sums.ratios import Ratios
from engine.types import FloatArray


def percentiles(replicates: FloatArray, figures: tuple[Ratios, ...], alpha: float) -> Bounds:
    """Quantiles of a value, or of the difference of two, over the resamples (Efron & Tibshirani 1993, section 13.3).

    Args:
        replicates: (draws, m) column sums.
        figures: ratios whose sum is a value; two for a difference.
        alpha: error, in (0, 1).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [
            sum((factor * replicates[:, above] / replicates[:, below] for above, below, factor in ratios), np.zeros(1))
            for ratios in figures
        ]
    drawn = values[0] - values[1] if len(values) == 2 else values[0]
    kept = drawn[np.isfinite(drawn)]
    # A replicate without any weight has no value; where that is not rare, no interval is honest.
    if len(kept) < 0.99 * len(drawn):
        return NOTHING
    low, high = np.quantile(kept, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


Fraction = tuple[int, int, float]
Figure = tuple[Fraction, ...]


@dataclass(frozen=True)
class Resamples:
    """Sums of columns and of their products on resampled units.

    Attributes:
        whole: (1, m + p) sums on the log itself.
        drawn: (draws, m + p) sums on the resamples.
        slots: position of the product of two columns (i <= j).
        units: independent units.
    """

    whole: FloatArray
    drawn: FloatArray
    slots: Mapping[Pair, int]
    units: int

    def pivots(self, figure: Figure) -> FloatArray:
        """(draws,) studentised values of a sum of ratios; NaN where undefined.

        Args:
            figure: columns of numerator and denominator with a factor: -1 for what is taken off in a difference.
        """
        centre, _ = self._value_and_error(self.whole, figure)
        value, error = self._value_and_error(self.drawn, figure)
        with np.errstate(divide="ignore", invalid="ignore"):
            pivots: FloatArray = (value - centre) / error
        return pivots

    def _value_and_error(self, sums: FloatArray, figure: Figure) -> tuple[FloatArray, FloatArray]:
        """(b,) values and standard errors from (b, m + p) sums."""
        value, variance = np.zeros(len(sums)), np.zeros(len(sums))
        form: dict[int, FloatArray] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for above, below, factor in figure:
                part = factor * sums[:, above] / sums[:, below]
                value = value + part
                form[above] = form.get(above, 0.0) + factor / sums[:, below]
                form[below] = form.get(below, 0.0) - part / sums[:, below]
            for i, a in form.items():
                for j, b in form.items():
                    variance += a * b * sums[:, self.slots[min(i, j), max(i, j)]]
            variance *= self.units / (self.units - 1) if self.units > 1 else np.nan
            return value, np.sqrt(np.maximum(variance, 0.0))


def resample(units: FloatArray, pairs: Sequence[Pair], draws: int, seed: int) -> Resamples:
    """Resample once.

    Args:
        units: (u, m) sums of independent units.
        pairs: columns that stand in one figure together; the constant (column 0) stands beside each of them.
        draws: resamples.
        seed: Seed of the draws.
    """
    used = sorted({column for pair in pairs for column in pair})
    needed = dict.fromkeys([*pairs, *((0, column) for column in (0, *used))])
    slots = {pair: units.shape[1] + place for place, pair in enumerate(needed)}
    extended = np.column_stack([units, *(units[:, i] * units[:, j] for i, j in slots)])
    return Resamples(extended.sum(axis=0, keepdims=True), resampled_sums(extended, draws, seed), slots, len(units))


def studentised(drawn: FloatArray, value: float, stderr: float, alpha: float) -> Bounds:
    """Interval from the pivots; nothing where more than 1 % of the resamples have none.

    Args:
        drawn: (draws,) pivots.
        value: The value on the log.
        stderr: Its standard error on the log.
        alpha: error, in (0, 1).
    """
    kept = drawn[np.isfinite(drawn)]
    if len(kept) < 0.99 * len(drawn):
        return NOTHING
    low, high = np.quantile(kept, [alpha / 2, 1 - alpha / 2])
    return value - float(high) * stderr, value - float(low) * stderr
