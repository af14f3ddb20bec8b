"""The chance of each of several independent normal variables to be the largest, by quadrature. Pure functions."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtr

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray

# Every variable that may win is looked at closely where its own mass lies, all of them together on an even grid.
_CLOSE: Final = 8
_OWN: Final = np.linspace(-5.0, 5.0, 41)
_EVEN: Final = 65
_REACH: Final = 6.0
_TINY: Final = 1e-300


def chance_of_best(mean: FloatArray, deviation: FloatArray, eligible: BoolArray) -> FloatArray:
    """(n, k) chance of each eligible action to have the highest draw of N(mean, deviation ** 2), draws independent.

    The integral of dPhi_a(s) times the product of the other eligible actions' Phi_b(s) is summed by the trapezoid rule
    in Phi_a: for the 8 actions with the highest upper bounds (mean + 3 deviations) on 41 points across each of them and
    65 across all, for the others on the 65 alone. Then rows are scaled to sum to 1. The error is below 0.002 per
    action, see the tests.
    Actions whose upper end (6 deviations) is under another's lower end get exactly 0. A fixed rule, no random numbers:
    the same bytes for the same row, so what is sampled is what is logged.

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
        low = (mean[row, actions] - _REACH * deviation[row, actions]).max()
        able = actions[mean[row, actions] + _REACH * deviation[row, actions] >= low]
        out[row, able] = _row(mean[row, able], deviation[row, able])
    return out


def _row(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    # Points nearer than this to each other would be rounded together.
    least = 1e-12 * float(np.abs(mean).max())
    if len(mean) == 1 or deviation.max() <= least:
        best = mean == mean.max()
        return np.asarray(best / best.sum())
    # A certain value becomes a very narrow one, so that one formula serves all.
    narrow = np.maximum(deviation, max(1e-9 * float(deviation.max()), least))
    close = np.zeros(len(mean), dtype=np.bool_)
    close[np.argsort(-(mean + 3.0 * narrow), kind="stable")[:_CLOSE]] = True
    even = np.linspace((mean - _REACH * narrow).max(), (mean + _REACH * narrow).max(), _EVEN)
    own = mean[close, None] + narrow[close, None] * _OWN
    fine = np.sort(np.clip(np.concatenate([own.ravel(), even]), even[0], even[-1]))
    far_even, far_logs = _below(even, mean[~close], narrow[~close])
    far = far_logs.sum(axis=0)
    chance = np.empty(len(mean))
    # The product over all far actions is smooth, so the even points carry it to the fine ones.
    chance[close] = _chances(*_below(fine, mean[close], narrow[close]), np.interp(fine, even, far))
    chance[~close] = _chances(far_even, far_logs, _below(even, mean[close], narrow[close])[1].sum(axis=0))
    share: FloatArray = chance / chance.sum()
    return share


def _below(points: FloatArray, mean: FloatArray, deviation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(m, points) chance of each variable to lie below each point, and its logarithm."""
    below = ndtr((points - mean[:, None]) / deviation[:, None])
    return below, np.log(np.maximum(below, _TINY))


def _chances(below: FloatArray, logs: FloatArray, rest: FloatArray) -> FloatArray:
    """(m,) twice the integrals of d below x product of everybody else; `rest` is the logarithm of who is not here."""
    others = np.exp(logs.sum(axis=0) + rest - logs)
    chances: FloatArray = (np.diff(below, axis=1) * (others[:, 1:] + others[:, :-1])).sum(axis=1)
    return chances
