"""The chance of each of several independent normal variables to be the largest, by quadrature. Pure functions."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtr

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray, IntArray

# Where widths differ much: those that may win are looked at where their own mass lies, all on an even grid.
_CLOSE: Final = 8
_OWN: Final = np.linspace(-5.0, 5.0, 41)
_EVEN: Final = 129
_REACH: Final = 6.0
_TINY: Final = 1e-300
# To find where the largest draw may lie so many points are tried; a chance like that of 6 deviations is none.
_TRIED: Final = 65
_STEP: Final = 0.7
_LEAST: Final = 9
_NEVER: Final = 1e-9
_SMALLEST: Final = 1e-150


def chance_of_best(mean: FloatArray, deviation: FloatArray, eligible: BoolArray) -> FloatArray:
    """(n, k) chance of each eligible action to have the highest draw of N(mean, deviation ** 2), draws independent.

    The integral over s of the density of a times the product of the other eligible actions' Phi_b(s), over where the
    largest draw may lie, by the trapezoid rule:

    - on even points, at most 0.7 of the narrowest deviation apart, where 129 of them suffice: the integrand is smooth
      and ends at 0, so the rule converges exponentially (Trefethen & Weideman, SIAM Review 56(3), 2014); the error is
      below 0.0002 per action;
    - else in Phi_a, for the 8 actions with the highest upper bounds (mean + 3 deviations) on 41 points across each of
      them and 129 across all, for the others on the 129 alone; the error is below 0.002 per action.

    Then rows are scaled to sum to 1. Actions beyond the first 8 whose upper end (6 deviations) is under where the
    largest draw may lie get exactly 0. A fixed rule, no random numbers: the same bytes for the same row, so what is
    sampled is what is logged.

    Args:
        mean: (n, k), finite where eligible.
        deviation: (n, k), finite and >= 0 where eligible; exact ties without deviation share evenly.
        eligible: (n, k), at least one true per row.

    Raises:
        ParameterError: shapes differ, values that are not finite, or a negative deviation.
    """
    if not mean.shape == deviation.shape == eligible.shape:
        raise ParameterError("deviation", "chance_of_best", allowed=f"of shape {mean.shape}", got=deviation.shape)
    if not (np.isfinite(mean[eligible]).all() and np.isfinite(deviation[eligible]).all()):
        raise ParameterError("mean", "chance_of_best", allowed="finite, as are deviations", got="NaN or infinite")
    if (deviation[eligible] < 0).any():
        raise ParameterError("deviation", "chance_of_best", allowed="at least 0", got=float(deviation[eligible].min()))
    out = np.zeros(mean.shape)
    for row, may in enumerate(eligible):
        actions = np.flatnonzero(may)
        out[row, actions] = _row(mean[row, actions], deviation[row, actions])
    return out


def _row(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    # Points nearer than this to each other would be rounded together, and ratios of less would underflow.
    least = max(1e-12 * float(np.abs(mean).max()), _SMALLEST)
    widest = float(deviation.max())
    if len(mean) == 1 or widest <= least:
        best = mean == mean.max()
        return np.asarray(best / best.sum())
    # A certain value becomes a very narrow one, so that one formula serves all.
    narrow = np.maximum(deviation, max(1e-9 * widest, least))
    # Never more than asked for: argpartition leaves ties in no fixed order, a stable sort does.
    order = np.argsort(-(mean + 3.0 * narrow), kind="stable")
    close, far = order[:_CLOSE], order[_CLOSE:]
    low, high = _range_of_best(mean, narrow, close)
    far = far[mean[far] + _REACH * narrow[far] >= low]
    chance = np.zeros(len(mean))
    able = np.concatenate([close, far])
    points = (high - low) / (_STEP * float(narrow[able].min()))
    if points < _EVEN:
        chance[able] = _smooth(np.linspace(low, high, max(int(points) + 2, _LEAST)), mean[able], narrow[able])
        return np.asarray(chance / chance.sum())
    even = np.linspace(low, high, _EVEN)
    own = mean[close, None] + narrow[close, None] * _OWN
    fine = np.sort(np.clip(np.concatenate([own.ravel(), even]), even[0], even[-1]))
    far_below = _below(even, mean[far], narrow[far])
    far_all = np.multiply.reduce(far_below, axis=0)
    # The product over all far actions is smooth, so the even points carry it to the fine ones.
    rest = np.exp(np.interp(fine, even, np.log(np.maximum(far_all, _TINY))))
    close_below = _below(fine, mean[close], narrow[close])
    chance[close] = _chances(close_below, np.multiply.reduce(close_below, axis=0) * rest)
    everybody = np.multiply.reduce(_below(even, mean[close], narrow[close]), axis=0) * far_all
    chance[far] = _chances(far_below, everybody)
    share: FloatArray = chance / chance.sum()
    return share


def _smooth(points: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """(m,) up to one factor, the integrals of density x chance of everybody else to lie below, on even points."""
    standard = (points - mean[:, None]) / deviation[:, None]
    below = ndtr(standard)
    hazard = np.exp(-0.5 * standard * standard) / np.maximum(below, _TINY)
    chances: FloatArray = (hazard * np.multiply.reduce(below, axis=0)).sum(axis=1) / deviation
    return chances


def _range_of_best(mean: FloatArray, deviation: FloatArray, close: IntArray) -> tuple[float, float]:
    """The ends of where the largest draw may lie, but for a chance of about 1e-9 at either end.

    The lower end rises as far as the close actions alone say: the largest of all is never under theirs.
    """
    low, high = (mean - _REACH * deviation).max(), (mean + _REACH * deviation).max()
    tried = np.linspace(low, high, _TRIED)
    below = np.multiply.reduce(_below(tried, mean[close], deviation[close]), axis=0)
    first = max(int(np.searchsorted(below, _NEVER, side="right")) - 1, 0)
    return float(tried[first]), float(high)


def _below(points: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """(m, points) chance of each variable to lie below each point."""
    below: FloatArray = ndtr((points - mean[:, None]) / deviation[:, None])
    return below


def _chances(below: FloatArray, everybody: FloatArray) -> FloatArray:
    """(m,) twice the integrals of d below x the chance of everybody else to lie below; `everybody` is that of all."""
    others = everybody / np.maximum(below, _TINY)
    chances: FloatArray = (np.diff(below, axis=1) * (others[:, 1:] + others[:, :-1])).sum(axis=1)
    return chances
