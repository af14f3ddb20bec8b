"""Importance sampling of whole slates."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def standard_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, the weight of the slate times its reward."""
    total = matmul(slates.reward, slot_importance(slates.slots, importance))
    return np.stack([np.ones(slates.n), slates.prefix_weight[:, -1] * total])


def standard(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(w(slate) sum over slots of the reward): nothing is assumed; the variance grows like a power of the slots.

    Precup, Sutton & Singh (2000); for slates Swaminathan et al. (2017), section 2.
    """
    return estimate_units(standard_columns(slates, importance), MEAN)
