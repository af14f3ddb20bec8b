"""The effect of a message on each row, in expectation, and what a rule to send or to hold is worth by it."""

from __future__ import annotations

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.sums.exact import group_sums
from engine.ope.sums.ratios import PointEstimate, standard_error
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


def rule_gain(send: BoolArray, effect: FloatArray, cost: float = 0.0, cluster: KeyArray | None = None) -> PointEstimate:
    """mean(send (effect - cost)): gain per contact of the rule over sending to nobody.

    The inverse propensity (or doubly robust) value of the rule less that of holding everybody, on the same rows: Manski
    (2004); Athey & Wager (2021), equation 3. The rule must not have been chosen on these rows.

    Args:
        send: (n,) whom the rule sends to.
        effect: (n,) of `engine.ope.uplift.effects`.
        cost: The cost of one message, in the reward's unit.
        cluster: (n,) keys of units within which rows depend.

    Raises:
        ParameterError: no rows, shapes that differ, or a cost that is not finite.
    """
    _check(send, effect, cost)
    gains = np.where(send, effect - cost, 0.0)
    return estimate_influence(float(gains.mean()), gains - gains.mean(), cluster)


def rule_difference(
    send: BoolArray, other: BoolArray, effect: FloatArray, cost: float = 0.0, cluster: KeyArray | None = None
) -> PointEstimate:
    """Gain per contact of one rule over another, paired on the same rows: only where they differ does a row count.

    Args:
        send: (n,) whom the rule sends to.
        other: (n,) whom the other sends to.
        effect: (n,) of `engine.ope.uplift.effects`.
        cost: The cost of one message, in the reward's unit.
        cluster: (n,) keys of units within which rows depend.

    Raises:
        ParameterError: no rows, shapes that differ, or a cost that is not finite.
    """
    _check(send, effect, cost)
    _check(other, effect, cost)
    gains = (send.astype(np.float64) - other.astype(np.float64)) * (effect - cost)
    return estimate_influence(float(gains.mean()), gains - gains.mean(), cluster)


def _check(send: BoolArray, effect: FloatArray, cost: float) -> None:
    if len(effect) == 0 or send.shape != effect.shape or send.dtype != np.bool_:
        raise ParameterError("send", "a rule", allowed=f"(n,) bool like the effects {effect.shape}", got=send.shape)
    if not np.isfinite(cost):
        raise ParameterError("cost", "a rule", allowed="finite", got=cost)
