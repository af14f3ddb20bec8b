"""Importance sampling with interactions from the top down."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def interaction_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, sum over slots of the weight of the slots from the first to this one times its reward."""
    terms = matmul(slates.prefix_weight * slates.reward, slot_importance(slates.slots, importance))
    return np.stack([np.ones(slates.n), terms])


def interaction(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(sum over slots of w(slots from the first to this one) r): right where rewards depend on what is above.

    McInerney, Brost, Chandar, Mehrotra & Carterette (2020), section 3 (RIPS).
    """
    return estimate_units(interaction_columns(slates, importance), MEAN)
