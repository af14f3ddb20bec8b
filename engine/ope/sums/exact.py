"""Sums that do not depend on the order of their terms: double-double arithmetic on whole arrays.

A double-double is an unevaluated pair (high, low) with 106 significant bits (Dekker 1971; Knuth, TAOCP 2, 4.2.2,
theorem B). Rounded back to 53 bits, a sum comes out the same in any order and under any partition of its terms: always
where the terms of one sum span less than about 2**40 in magnitude, because the pair then holds the sum without error;
beyond that unless the sum lies within a relative 2**-100 of the middle between two neighbouring floats.
"""

from __future__ import annotations

import numpy as np

from engine.types import FloatArray, IntArray, KeyArray


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum and its exact rounding error, element by element: a + b == high + low without error."""
    high = a + b
    back = high - a
    return high, (a - (high - back)) + (b - back)


def add_pairs(
    high_a: FloatArray, low_a: FloatArray, high_b: FloatArray, low_b: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Sum of two double-doubles, element by element; the relative error is at most 2**-104."""
    high, error = two_sum(high_a, high_b)
    tail, tail_error = two_sum(low_a, low_b)
    high, error = _renormalise(high, error + tail)
    return _renormalise(high, error + tail_error)


def segment_sums(values: FloatArray, lengths: IntArray) -> tuple[FloatArray, FloatArray]:
    """Sums over consecutive segments, by halving each segment until one row is left.

    Args:
        values: (n, m), rows of one segment next to each other.
        lengths: (s,) rows of each segment, all >= 1, summing to n.

    Returns:
        high and low, each (s, m).
    """
    high, low = values, np.zeros_like(values)
    while len(high) > len(lengths):
        starts = np.cumsum(lengths) - lengths
        position = np.arange(len(high)) - np.repeat(starts, lengths)
        even = position % 2 == 0
        paired = even & (position + 1 < np.repeat(lengths, lengths))
        left = np.flatnonzero(paired)
        summed = add_pairs(high[left], low[left], high[left + 1], low[left + 1])
        slots = np.flatnonzero(paired[even])
        high, low = high[even], low[even]
        high[slots], low[slots] = summed
        lengths = (lengths + 1) // 2
    return high, low


def group_sums(keys: KeyArray, values: FloatArray) -> tuple[KeyArray, FloatArray, FloatArray]:
    """Sums by key: (s,) sorted unique keys, and their sums' high and low parts, each (s, m)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, len(keys)))
    high, low = segment_sums(values[order], lengths)
    return ordered[starts], high, low


def _renormalise(high: FloatArray, low: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = high + low
    return total, low - (total - high)
