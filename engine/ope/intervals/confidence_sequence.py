"""Confidence sequences for terms that are bounded from below: valid at all numbers of rows at once.

For a row x with mean m and x - m >= -s, Fan, Grama & Liu ("Exponential inequalities for martingales with
applications", 2015, proposition 4.1) give, for 0 <= l < 1,

    E exp(l (x - m) / s - psi(l) (x - m)^2 / s^2) <= 1,    psi(l) = -ln(1 - l) - l,

so the product over rows is a supermartingale and by Ville's inequality it never exceeds c with probability above 1 / c.
This is the bet of Waudby-Smith & Ramdas ("Estimating means of bounded random variables by betting", JRSS-B 2024,
section 3) with a fixed stake; the one-sided requirement is what makes it fit off-policy terms, whose upper range is the
largest weight (Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro, "Anytime-valid off-policy inference for contextual
bandits", 2022, section 3). Instead of one predictable stake per row we place `STAKES` fixed stakes l = 2^-1, 2^-2, ...
side by side with equal shares of the error (the stitching of Howard, Ramdas, McAuliffe & Sekhon 2021): each product is
a function of n, sum x and sum x^2 alone, so the sequence is merged over partitions in any order and computed for a
million rows at once. What is paid is ln(STAKES) in the exponent, about 20 % in width.

For the figure of an evaluation a declared largest weight gives the terms limits on both sides. Without one the weighted
reward w (r - low) is still
never negative, and neither is w (high - r): the first bounds the value from below, the second from above, because the
mean weight is 1 (Waudby-Smith et al. 2022, sections 3.2 and 3.3). For the difference of two policies the same holds of
w1 (r - low) + w2 (high - r), whose mean is the difference plus the reward's spread.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.ope.estimators.terms import WEIGHTED_REWARD
from engine.ope.intervals.figure import Figure
from engine.ope.intervals.ratio import Bounds, CentredRatio, Form, ratio_of
from engine.ope.sums.ratios import ONE_COLUMN
from engine.types import FloatArray

STAKES: Final = 14
_BLOCK: Final = 16384  # rows whose temporaries stay in the cache


def betting_reach(
    denominator: FloatArray,
    squares: FloatArray,
    cross: FloatArray,
    denominator_squares: FloatArray,
    room: FloatArray,
    scale: float,
    alpha: float,
) -> FloatArray:
    """How far below its value a ratio can lie, for many numbers of rows at once; inf where nothing is excluded.

    At a candidate value - t the rows are u_i + t d_i; it is excluded from below where some stake's product exceeds
    STAKES / alpha, a quadratic inequality in t. The stake that is best for the observed squares is used; since all
    stakes hold together, the choice may depend on the data.

    Args:
        denominator: (b,) sums of d.
        squares: (b,) sums of u^2.
        cross: (b,) sums of u d.
        denominator_squares: (b,) sums of d^2.
        room: (b,) distance from the value down to the lowest candidate; nothing is claimed unless all candidates
            from there up to the bound are excluded.
        scale: s, such that numerator - candidate * denominator >= -s for every row and every possible candidate.
        alpha: error of this side, in (0, 1).
    """
    log = math.log(STAKES / alpha)
    stakes = np.exp2(-np.arange(STAKES + 1.0))
    weights = np.empty_like(stakes)  # psi(stake) / s^2
    weights[1:] = -(np.log1p(-stakes[1:]) + stakes[1:]) / (scale * scale)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # 1 / stake is best near sqrt(squares / (2 log)) / s; the power of 2 nearest to it, by its exponent.
        power = np.frexp(np.sqrt(squares / log) / scale)[1] - 1
        power = np.clip(power, 1, STAKES)
        weight = weights[power]
        slope = stakes[power] * denominator
        slope /= scale
        slope -= 2.0 * weight * cross
        constant = weight * squares
        constant += log
        weight *= denominator_squares
        root = slope * slope
        root -= 4.0 * weight * constant
        np.sqrt(root, out=root)
        root += slope
        reach = 2.0 * constant / root
        excludes_all = root >= 2.0 * weight * room
    excludes_all &= slope > 0
    # A discriminant below 0 has made NaN, which excludes nothing.
    return np.where(excludes_all, reach, np.inf)


def lower_bound(ratio: CentredRatio, scale: float, lowest: float, alpha: float) -> float:
    """Lower end of the sequence at n rows.

    Args:
        ratio: sums of the rows so far.
        scale: see `betting_reach`; inf where the rows have no lower limit.
        lowest: smallest possible value.
        alpha: error of this side, in (0, 1).
    """
    if not math.isfinite(scale) or not scale > 0:
        return lowest
    reach = betting_reach(
        np.array([ratio.denominator]),
        np.array([ratio.squares]),
        np.array([ratio.cross]),
        np.array([ratio.denominator_squares]),
        np.array([ratio.value - lowest]),
        scale,
        alpha,
    )
    return max(lowest, ratio.value - float(reach[0]))


def betting_sequence(
    x: FloatArray, bounds: tuple[float, float], alpha: float = 0.05, values: tuple[float, float] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Interval of the mean after each row: with probability 1 - alpha all of them hold the mean, at every row.

    Args:
        x: (n,) independent terms, or terms with the same conditional mean, in the order in which they came.
        bounds: range of a term; either may be infinite, then there is no interval on the other side.
        alpha: error over all rows and both sides, in (0, 1).
        values: range of the mean where it is narrower than that of a term.

    Returns:
        low and high, each (n,).

    Raises:
        ParameterError: a term outside the bounds, or alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ParameterError("alpha", "betting_sequence", allowed="in (0, 1)", got=alpha)
    if len(x) and (x.min() < bounds[0] or x.max() > bounds[1]):
        raise ParameterError("x", "betting_sequence", allowed=f"within {bounds}", got=(float(x.min()), float(x.max())))
    lowest, highest = bounds if values is None else values
    scales = (highest - bounds[0], bounds[1] - lowest)
    low, high = np.empty(len(x)), np.empty(len(x))
    shift = float(x[0]) if len(x) else 0.0
    total = squares = 0.0
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        count = np.arange(rows.start + 1.0, rows.stop + 1.0)
        moved = x[rows] - shift
        sums, seconds = np.cumsum(moved), np.cumsum(moved * moved)
        sums += total
        seconds += squares
        total, squares = float(sums[-1]), float(seconds[-1])
        mean = sums / count
        sums *= mean
        seconds -= sums
        np.maximum(seconds, 0.0, out=seconds)
        mean += shift
        below = _reaches(count, seconds, mean - lowest, scales[0], alpha / 2)
        above = _reaches(count, seconds, highest - mean, scales[1], alpha / 2)
        np.maximum(mean - below, lowest, out=low[rows])
        np.minimum(mean + above, highest, out=high[rows])
    return low, high


def _reaches(count: FloatArray, squares: FloatArray, room: FloatArray, scale: float, alpha: float) -> FloatArray:
    if not math.isfinite(scale) or not scale > 0:
        return np.full(len(count), np.inf)
    return betting_reach(count, squares, np.zeros(1), count, room, scale, alpha)


def sequence(figure: Figure) -> Bounds | None:
    """The bounds after all rows; valid at every number of rows. None where no limit of the terms is known."""
    lowest, highest = figure.value_range()
    width = figure.inversion_width()
    if width is not None:
        above, below, _ = figure.ratios[0][0]
        return _both(ratio_of(figure.totals, {above: 1.0}, {below: 1.0}), (width, width), (lowest, highest), figure)
    form, limits = figure.form, figure.term_range()
    if form is None or limits is None:
        return None
    if math.isfinite(limits[0]) and math.isfinite(limits[1]):
        scales = (highest - limits[0], limits[1] - lowest)
        return _both(ratio_of(figure.totals, form, {ONE_COLUMN: 1.0}), scales, (lowest, highest), figure)
    if all(part.estimator.numerator == WEIGHTED_REWARD for part in figure.parts):
        return _without_largest_weight(figure)
    return None


def _both(
    ratio: CentredRatio | None, scales: tuple[float, float], values: tuple[float, float], figure: Figure
) -> Bounds | None:
    if ratio is None or not math.isfinite(scales[0]) or not math.isfinite(scales[1]):
        return None
    low = lower_bound(ratio, scales[0], values[0], figure.alpha / 2)
    return low, -lower_bound(ratio.negated(), scales[1], -values[1], figure.alpha / 2)


def _without_largest_weight(figure: Figure) -> Bounds | None:
    """From below: sum of w (r - low), plus w (high - r) of the other policy; from above the same with roles changed."""
    (low, high), spread = figure.setup.question.reward_range, figure.parts[0].limits.spread
    ends = []
    for own, other in (
        (_above(figure, 0, low), _below(figure, 1, high)),
        (_below(figure, 0, high), _above(figure, 1, low)),
    ):
        form = dict(own)
        for column, factor in other.items():
            form[column] = form.get(column, 0.0) + factor
        ratio = ratio_of(figure.totals, form, {ONE_COLUMN: 1.0})
        if ratio is None:
            return None
        top = spread * len(figure.parts)
        ends.append(lower_bound(ratio, top, 0.0, figure.alpha / 2))
    if len(figure.parts) == 2:
        return ends[0] - spread, spread - ends[1]
    return low + ends[0], high - ends[1]


def _above(figure: Figure, place: int, low: float) -> Form:
    """Columns of w (r - low) of a part; nothing where there is no such part."""
    if place >= len(figure.parts):
        return {}
    part = figure.parts[place]
    return {part.ratios[0].above: 1.0, part.below: -low}


def _below(figure: Figure, place: int, high: float) -> Form:
    """Columns of w (high - r) of a part; nothing where there is no such part."""
    if place >= len(figure.parts):
        return {}
    part = figure.parts[place]
    return {part.ratios[0].above: -1.0, part.below: high}
