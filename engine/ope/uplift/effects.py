"""The effect of a message on each row, in expectation: what every figure of this package sums."""

from __future__ import annotations

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.exact import group_sums
from engine.ope.terms import PointEstimate, standard_error
from engine.types import BoolArray, FloatArray, KeyArray


def effects(
    treated: BoolArray,
    reward: FloatArray,
    propensity: FloatArray,
    with_message: FloatArray | None = None,
    without: FloatArray | None = None,
) -> FloatArray:
    """(n,) terms whose expectation, given the context, is the effect of the message.

    Without a model t r / p - (1 - t) r / (1 - p) (Athey & Imbens 2016, section 2, the transformed outcome); with one
    the doubly robust score of Robins, Rotnitzky & Zhao (1994).

    Args:
        treated: (n,) whether the message was sent.
        reward: (n,).
        propensity: (n,) probability of sending, in (0, 1): both must have been possible.
        with_message / without: (n,) a model's expectations, fitted on other rows; both or neither.

    Raises:
        ParameterError: shapes that differ, or one model value alone.
        DataError: a propensity outside (0, 1), or values that are not finite.
    """
    shapes = {array.shape for array in (treated, reward, propensity, with_message, without) if array is not None}
    if shapes != {(len(reward),)} or len(reward) == 0:
        raise ParameterError("reward", "effects", allowed="(n,) like all others, n at least 1", got=sorted(shapes))
    if (with_message is None) != (without is None):
        raise ParameterError("without", "effects", allowed="given with with_message, or both left out", got="one")
    bad = ~((propensity > 0) & (propensity < 1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"the probability of sending must be in (0, 1), got {float(propensity[row])!r} in row {row} "
            f"({int(bad.sum())} such rows)",
            hint="leave out rows that could only be sent to, or only be held",
        )
    sent, held = (np.zeros_like(reward) if model is None else model for model in (with_message, without))
    chosen = np.where(treated, reward - sent, -(reward - held))
    found: FloatArray = sent - held + chosen / np.where(treated, propensity, 1.0 - propensity)
    if not np.isfinite(found).all():
        raise DataError("rewards and model values must be finite", hint="leave out rows without a known outcome")
    return found


def estimate_influence(value: float, influence: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """A value with the standard error that its (n,) influence gives, by cluster where rows depend on each other."""
    n = len(influence)
    summed = influence if cluster is None else group_sums(cluster, influence[:, None])[1][:, 0]
    return PointEstimate(value, standard_error(float((summed**2).sum()), len(summed), n), n)
