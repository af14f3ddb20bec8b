"""Intervals of ratios of weighted, clustered sums: for rare shares as well as for money."""

from __future__ import annotations

import math

from scipy.special import betaincinv, stdtrit


def delta_bounds(value: float, stderr: float, units: int, alpha: float) -> tuple[float, float]:
    """Student's interval around a linearised ratio, with one degree of freedom less than independent units."""
    reach = float(stdtrit(units - 1, 1.0 - alpha / 2.0)) * stderr
    return value - reach, value + reach


def share_bounds(share: float, stderr: float, effective: float, units: int, alpha: float) -> tuple[float, float]:
    """Interval of a share that may be rare, from a weighted and clustered sample.

    Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", section 2: Clopper & Pearson's limits at the effective sample size
    p (1 - p) / stderr^2, made smaller by the few degrees of freedom of the variance. Where nothing was seen, or all,
    the variance says nothing, and the effective sample size of the weights stands in for it. That size is also the
    most that is ever claimed: a variance that came out small by chance makes no interval narrow.

    Args:
        share: The share, in [0, 1].
        stderr: The standard error of the share, by cluster.
        effective: (sum w)^2 / sum w^2 over the denominator's rows.
        units: independent units behind `stderr`, at least 2.
        alpha: error, in (0, 1).
    """
    size = effective
    variance = stderr * stderr
    if variance > 0.0 and 0.0 < share < 1.0:
        size = min(effective, share * (1.0 - share) / variance)
    few = float(stdtrit(max(effective - 1.0, 1.0), 1.0 - alpha / 2.0)) / float(stdtrit(units - 1, 1.0 - alpha / 2.0))
    size *= min(few, 1.0) ** 2
    seen = share * size
    low = float(betaincinv(seen, size - seen + 1.0, alpha / 2.0)) if seen > 0.0 else 0.0
    high = float(betaincinv(seen + 1.0, size - seen, 1.0 - alpha / 2.0)) if seen < size else 1.0
    return min(low, share), max(high, share)


def gap_bounds(
    own: tuple[float, float, float], other: tuple[float, float, float], correlation: float
) -> tuple[float, float]:
    """Interval of a difference from two intervals (value, low, high) that need not be symmetric.

    Zou (2007), "Toward using confidence intervals to compare correlations", equation 15 (MOVER): the distances of the
    limits stand for the standard errors on their side, the correlation of the two values links them.

    Args:
        own / other: value, low and high.
        correlation: The correlation of the two values, in [-1, 1].
    """
    value, low, high = own
    base, base_low, base_high = other
    down, up = value - low, high - value
    base_down, base_up = base - base_low, base_high - base
    below = down**2 + base_up**2 - 2.0 * correlation * down * base_up
    above = up**2 + base_down**2 - 2.0 * correlation * up * base_down
    return value - base - math.sqrt(max(below, 0.0)), value - base + math.sqrt(max(above, 0.0))
