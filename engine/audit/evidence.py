"""p-values of the hypothesis that a mean is what it should be, from sums alone, that hold at every number of rows.

For terms x >= -s with mean at most 0 given the past, exp(l x / s - psi(l) x^2 / s^2) with psi(l) = -ln(1 - l) - l has
mean at most 1 (Fan, Grama & Liu 2015, proposition 4.1), so its running product is a supermartingale; so is the mean of
products over several stakes l. By Ville's inequality 1 / product is a p-value at all times: a log may be audited every
day. Nothing is assumed about the size or spread of the weights, and sum x and sum x^2 are enough, which merge. See
`engine.ope.intervals.confidence_sequence`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom

from engine.types import FloatArray, IntArray

_STAKES: Final = np.exp2(-np.arange(1.0, 15.0))
_PSI: Final = -np.log1p(-_STAKES) - _STAKES


def upper_p(total: FloatArray, squares: FloatArray, scale: FloatArray | float = 1.0) -> FloatArray:
    """p-values against "the mean is at most 0", of sums of any shape.

    Args:
        total: sums of x.
        squares: sums of x^2.
        scale: s > 0 such that x >= -s.
    """
    each = np.asarray(total, dtype=np.float64) / scale
    spread = np.maximum(np.asarray(squares, dtype=np.float64), 0.0) / np.square(scale)
    logs = each[..., None] * _STAKES - spread[..., None] * _PSI
    evidence = logsumexp(logs, axis=-1) - np.log(len(_STAKES))
    p_value: FloatArray = np.exp(-np.maximum(evidence, 0.0))
    return p_value


def count_p(count: IntArray | FloatArray, rows: IntArray | FloatArray, expected: FloatArray) -> FloatArray:
    """Two-sided p-values of counts whose rows have each their own known probability.

    The sum of independent Bernoulli trials of different probabilities has lighter tails than the binomial of their mean
    (Hoeffding, "On the distribution of the number of successes in independent trials", 1956), so the binomial's are
    exact or conservative.

    Args:
        count: successes.
        rows: trials.
        expected: sum of their probabilities.
    """
    rows, counts = np.asarray(rows, dtype=np.float64), np.asarray(count, dtype=np.float64)
    share = np.divide(expected, rows, out=np.zeros_like(rows), where=rows > 0)
    share = np.clip(share, 0.0, 1.0)
    below, above = binom.cdf(counts, rows, share), binom.sf(counts - 1.0, rows, share)
    p_value: FloatArray = np.where(rows > 0, np.minimum(1.0, 2.0 * np.minimum(below, above)), 1.0)
    return p_value


def smallest(p_values: FloatArray) -> float:
    """The smallest of several p-values, corrected for their number (Bonferroni); 1 where there is none."""
    return float(min(1.0, p_values.size * p_values.min())) if p_values.size else 1.0
