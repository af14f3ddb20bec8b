"""Memory: old decisions count less."""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray


def decayed(at_days: FloatArray, half_life_days: float | None) -> FloatArray:
    """(n,) importance 2^(-age / half life), age counted from the newest; 1 where the instant is not known.

    The weights of decisions that come once a day sum to less than 1 / (1 - 2^(-1 / half life)) days, however long the
    log is: about 1.44 half lives.

    Args:
        at_days: (n,) instants in days, NaN where unknown.
        half_life_days: above 0; None keeps all alike.

    Raises:
        ParameterError: a half life that is not above 0.
    """
    if half_life_days is None or not np.isfinite(at_days).any():
        return np.ones(len(at_days))
    if not half_life_days > 0.0:
        raise ParameterError("half_life_days", "decayed", allowed="above 0, or null", got=half_life_days)
    age = np.nan_to_num(np.nanmax(at_days) - at_days, nan=0.0)
    weight: FloatArray = np.exp2(-age / half_life_days)
    # A weight of 0 is no importance that a learner takes.
    return np.maximum(weight, 1e-6)
