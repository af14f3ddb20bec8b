"""The pseudo-inverse estimator of slates."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def pseudo_inverse_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, the sum of the slots' weights less L - 1, times the slate's reward."""
    total = matmul(slates.reward, slot_importance(slates.slots, importance))
    weight = slates.slot_weight.sum(axis=1) - (slates.slots - 1)
    return np.stack([np.ones(slates.n), weight * total])


def pseudo_inverse(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean((sum over slots of w(slot) - L + 1) times the slate's reward): needs no reward by slot.

    Swaminathan, Krishnamurthy, Agarwal, Dudik, Langford, Jose & Zitouni (2017), section 3, for a log that fills every
    slot on its own (their example 4). Right where the slate's reward is a sum of what each slot's action adds.
    """
    return estimate_units(pseudo_inverse_columns(slates, importance), MEAN)
