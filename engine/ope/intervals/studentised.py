"""The studentised bootstrap: quantiles of (value* - value) / stderr*, each resample with its own standard error."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from engine.ope.bootstrap import resample_counts
from engine.ope.intervals.ratio import NOTHING, Bounds
from engine.types import FloatArray

Fraction = tuple[int, int, float]


def pivots(units: FloatArray, fractions: tuple[Fraction, ...], draws: int, seed: int) -> FloatArray:
    """(draws,) studentised values of a sum of ratios on resampled units; NaN where undefined.

    Efron & Tibshirani, "An introduction to the bootstrap" (1993), section 12.5; Hall (1988): the error of coverage is
    O(1 / n) where that of the percentiles is O(1 / sqrt(n)) a side, because the skewness of weighted rewards is in the
    pivot. The variance of a resample is that of its influences (num - value* den) / sum(den), a quadratic form in sums
    of products, so no resample is visited twice.

    Args:
        units: (u, m) sums of independent units.
        fractions: columns of numerator and denominator, and a factor: -1 for what is taken off in a difference.
        draws: resamples.
        seed: of the draws.
    """
    columns = sorted({column for above, below, _ in fractions for column in (above, below)})
    at = {column: position for position, column in enumerate(columns)}
    used = units[:, columns]
    pairs = list(combinations_with_replacement(range(len(columns)), 2))
    extended = np.column_stack([used, *(used[:, i] * used[:, j] for i, j in pairs)])
    slots = {pair: len(columns) + slot for slot, pair in enumerate(pairs)}
    local = tuple((at[above], at[below], factor) for above, below, factor in fractions)
    centre, _ = _value_and_error(extended.sum(axis=0, keepdims=True), local, slots, len(units))
    found = []
    for counts in resample_counts(len(units), draws, seed):
        value, error = _value_and_error(counts @ extended, local, slots, len(units))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((value - centre) / error)
    return np.concatenate(found)


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


def _value_and_error(
    sums: FloatArray, fractions: tuple[Fraction, ...], slots: dict[tuple[int, int], int], units: int
) -> tuple[FloatArray, FloatArray]:
    """(b,) values and standard errors from (b, columns + products) sums."""
    value = np.zeros(len(sums))
    form: dict[int, FloatArray] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for above, below, factor in fractions:
            part = factor * sums[:, above] / sums[:, below]
            value = value + part
            form[above] = form.get(above, 0.0) + factor / sums[:, below]
            form[below] = form.get(below, 0.0) - part / sums[:, below]
        variance = sum(
            a * b * sums[:, slots[min(i, j), max(i, j)]] for i, a in form.items() for j, b in form.items()
        ) * (units / (units - 1) if units > 1 else np.nan)
        return value, np.sqrt(np.maximum(variance, 0.0))
