"""Doubly robust evaluation of slates that are read from the top down."""

from __future__ import annotations

import numpy as np

from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def cascade_dr_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, the doubly robust sum over slots."""
    value, logged = slates.model("slates.cascade_dr")
    reward = slates.reward * slot_importance(slates.slots, importance)
    above = np.column_stack([np.ones(slates.n), slates.prefix_weight[:, :-1]])
    terms = slates.prefix_weight * (reward - logged) + above * value
    return np.stack([np.ones(slates.n), terms.sum(axis=1)])


def cascade_dr(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(sum over slots of w_{1:l} (r_l - q_l) + w_{1:l-1} v_l): reward interaction IPS with a control variate.

    Kiyohara, Saito, Matsuhiro, Narita, Shimizu & Yamamoto (2022), section 3 (Cascade-DR). q_l is a model of the rewards
    from slot l down given the slots to l, v_l its expectation over the target's choice for slot l; they must include
    `importance`. Unbiased where a slot's reward depends on those above it, whatever the model.
    """
    return estimate_units(cascade_dr_columns(slates, importance), MEAN)
