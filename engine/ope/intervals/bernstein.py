"""Empirical Bernstein: an interval that holds at every number of rows, for terms of known range."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

from engine.ope.intervals.ratio import NOTHING, Bounds, CentredRatio


def reach(n: int, variance: float, width: float, alpha: float) -> float:
    """How far the mean of n independent terms can be from its expectation, both sides together with error alpha.

    sqrt(2 V ln(4 / alpha) / n) + 7 R ln(4 / alpha) / (3 (n - 1)), V the sample variance with n - 1 and R the width of
    the range: Maurer & Pontil, "Empirical Bernstein bounds and sample variance penalization", COLT 2009, theorem 4,
    with delta = alpha / 2 for each side.

    Args:
        n: rows, at least 2.
        variance: V.
        width: R.
        alpha: error of both sides together, in (0, 1).
    """
    log = math.log(4.0 / alpha)
    return math.sqrt(2.0 * variance * log / n) + 7.0 * width * log / (3.0 * (n - 1))


def bernstein(ratio: CentredRatio, width: float, allowed: tuple[float, float], alpha: float) -> Bounds:
    """The candidates that the bound does not exclude, within `allowed`.

    For a mean this is value +- `reach`. For a ratio the bound is inverted: at the true value the rows
    numerator - value * denominator have expectation 0 and a range of the same width.

    Args:
        ratio: the sums.
        width: The width of the range of numerator - value * denominator of one row, the same at every candidate.
        allowed: range of the value.
        alpha: error, in (0, 1).
    """
    n = ratio.n
    if n < 2 or not math.isfinite(width):
        return NOTHING

    def excess(step: float) -> float:
        squares = ratio.squares - 2 * step * ratio.cross + step * step * ratio.denominator_squares
        mean = step * ratio.denominator / n
        variance = max(squares - n * mean * mean, 0.0) / (n - 1)
        return abs(mean) - reach(n, variance, width, alpha)

    return _edge(excess, ratio.value, allowed[0]), _edge(excess, ratio.value, allowed[1])


def _edge(excess: Callable[[float], float], value: float, limit: float) -> float:
    """Where `excess` crosses 0 between the value and a limit; the limit where it is not excluded.

    The reach is convex in the candidate and its distance from the value linear, so there is at most one crossing.
    """
    if excess(limit - value) <= 0:
        return limit
    return value + float(brentq(excess, 0.0, limit - value, xtol=1e-14, rtol=1e-14))
