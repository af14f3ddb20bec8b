"""Importance sampling slot by slot."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def independent_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, sum over slots of the slot's own weight times its reward."""
    terms = matmul(slates.slot_weight * slates.reward, slot_importance(slates.slots, importance))
    return np.stack([np.ones(slates.n), terms])


def independent(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(sum over slots of w(slot) r): right where no slot's reward depends on what stands in the others.

    Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen (2018), section 4 (item-position click model).
    """
    return estimate_units(independent_columns(slates, importance), MEAN)
