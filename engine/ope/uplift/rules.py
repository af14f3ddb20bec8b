"""What a rule to send or to hold is worth."""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate
from engine.ope.uplift.effects import estimate_influence
from engine.types import BoolArray, FloatArray, KeyArray


def rule_gain(send: BoolArray, effect: FloatArray, cost: float = 0.0, cluster: KeyArray | None = None) -> PointEstimate:
    """mean(send (effect - cost)): gain per contact of the rule over sending to nobody.

    The inverse propensity (or doubly robust) value of the rule less that of holding everybody, on the same rows: Manski
    (2004); Athey & Wager (2021), equation 3. The rule must not have been chosen on these rows.

    Args:
        send: (n,) whom the rule sends to.
        effect: (n,) of `engine.ope.uplift.effects`.
        cost: of one message, in the reward's unit.
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
        cost: of one message, in the reward's unit.
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
