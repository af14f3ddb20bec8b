"""Catoni's interval: for heavy tails, where a mean is decided by the few largest rewards."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.intervals.ratio import NOTHING, Bounds
from engine.types import FloatArray


def catoni(counts: FloatArray, terms: FloatArray, alpha: float = 0.05, sd: float | None = None) -> Bounds:
    """All candidates m with |sum phi(l (x - m))| <= n l^2 sd^2 / 2 + ln(2 / alpha).

    phi(x) = sign(x) ln(1 + |x| + x^2 / 2) grows like a logarithm, so no row decides the interval. Catoni,
    "Challenging the empirical mean and empirical variance", Annales IHP 48 (2012), section 2: since phi(x) is at most
    ln(1 + x + x^2 / 2), the interval holds the mean with probability 1 - alpha at every n for every distribution whose
    standard deviation is at most sd. Nothing else is asked of the tails: rewards need no range, a third moment need
    not exist. With `sd` left to the sample it holds as far as that is not too small.

    Args:
        counts: (b,) rows of each term.
        terms: (b,) terms.
        alpha: error, in (0, 1).
        sd: bound of the standard deviation of a term; that of the sample where None.

    Returns:
        low and high; nothing where n is at most 4 ln(2 / alpha), too few for any claim of this kind.

    Raises:
        ParameterError: `sd` not positive.
    """
    if sd is not None and not sd > 0:
        raise ParameterError("sd", "catoni", allowed="positive", got=sd)
    n = float(counts.sum())
    log = math.log(2.0 / alpha)
    if n <= 4 * log:
        return NOTHING
    mean = float(matmul(counts, terms)) / n
    variance = float(matmul(counts, (terms - mean) ** 2)) / (n - 1) if sd is None else sd * sd
    if variance <= 0:
        return mean, mean
    stake = math.sqrt(2 * log / (n * variance * (1 + 2 * log / (n - 2 * log))))
    allowed = n * stake * stake * variance / 2 + log

    def excess(candidate: float) -> float:
        moved = stake * (terms - candidate)
        return float(matmul(counts, np.sign(moved) * np.log1p(np.abs(moved) + moved * moved / 2)))

    far = float(np.abs(terms - mean).max()) + 4 * math.sqrt(variance)
    low = brentq(lambda m: excess(m) - allowed, mean - far, mean + far, xtol=1e-12 * far)
    high = brentq(lambda m: excess(m) + allowed, mean - far, mean + far, xtol=1e-12 * far)
    return float(low), float(high)
