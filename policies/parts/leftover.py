"""What regressions leave over, by channel and arm: means, shrunk towards their common mean and towards nothing.

d_j is the mean that sends of cell j leave over, less that of holds, and v_j its variance. The cells differ by
tau^2 = (Q - (J - 1)) / (sum w - sum w^2 / sum w) with w = 1 / v and Q = sum w (d - centre)^2 (DerSimonian & Laird,
Controlled Clinical Trials 1986), which counts where Q is beyond what chance gives in 95 of 100 cases. Each cell keeps
tau^2 / (tau^2 + v_j) of its distance from the common mean.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import chdtri

from engine.catalog import Catalog
from engine.types import HOLD, FloatArray
from policies.parts.regression import Stream

_ERROR: Final = 0.05
_CLEAR: Final = 2.0
_LEAST_ROWS: Final = 20


def leftover_by_arm(stream: Stream, catalog: Catalog, *, over_hold: bool, practice: float | None = None) -> FloatArray:
    """(C, K) what sends of each channel and arm leave over, USD; 0 where chance explains it.

    Args:
        stream: rows with what is left over as their target.
        catalog: the actions.
        over_hold: take it less what holds leave over; else only what cells have over each other counts.
        practice: USD that a mean send is taken to bring at least, unless the log shows that it does not: who sends
            today goes on where nobody can tell. Differences are then shrunk without a test. None takes nothing for
            granted, and differences count beyond chance alone.
    """
    channels, _, arms = catalog.shape
    sums = np.zeros((3, channels * arms + 1))
    for rows in stream():
        channel, _, arm = catalog.split(rows.action)
        cell = np.where(rows.action == HOLD, 0, 1 + channel * arms + arm)
        for power in range(3):
            sums[power] += np.bincount(cell, weights=rows.target**power, minlength=sums.shape[1])
    count, total, squares = sums
    out = np.zeros(channels * arms)
    known = count[1:] >= _LEAST_ROWS
    if known.sum() and (count[0] >= _LEAST_ROWS or not over_hold):
        mean = total / np.maximum(count, 1.0)
        spread = (squares[1:] - count[1:] * mean[1:] ** 2)[known].sum() / (count[1:][known] - 1.0).sum()
        held = (squares[0] / count[0] - mean[0] ** 2) / count[0] if over_hold else np.inf
        out[known] = _shrunk(
            mean[1:][known] - (mean[0] if over_hold else 0.0), spread / count[1:][known], held, practice
        )
    return out.reshape(channels, arms)


def _shrunk(over: FloatArray, variance: FloatArray, held: float, practice: float | None) -> FloatArray:
    """Cells' means with their variances, shrunk; `held` is the variance of what they are taken over."""
    if not (variance > 0.0).all():
        return np.zeros(len(over))
    weight = 1.0 / variance
    centre = float((weight * over).sum() / weight.sum())
    error = 1.0 / float(weight.sum()) + held
    if centre**2 > _CLEAR**2 * error:
        common = centre * (1.0 - error / centre**2)
    else:
        common = 0.0 if practice is None else max(centre, practice)
    q, freedom = float((weight * (over - centre) ** 2).sum()), len(over) - 1
    between = 0.0
    if freedom and q > (chdtri(freedom, _ERROR) if practice is None else freedom):
        between = (q - freedom) / float(weight.sum() - (weight**2).sum() / weight.sum())
    out: FloatArray = common + between / (between + variance) * (over - centre)
    return out
