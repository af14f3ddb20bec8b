"""Estimators of slates; they differ in what a slot's reward may depend on."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.slates.slates import Slates, slot_importance
from engine.ope.sums.ratios import MEAN, PointEstimate, estimate_units
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


def independent_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, sum over slots of the slot's own weight times its reward."""
    terms = matmul(slates.slot_weight * slates.reward, slot_importance(slates.slots, importance))
    return np.stack([np.ones(slates.n), terms])


def independent(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(sum over slots of w(slot) r): right where no slot's reward depends on what stands in the others.

    Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen (2018), section 4 (item-position click model).
    """
    return estimate_units(independent_columns(slates, importance), MEAN)


def interaction_columns(slates: Slates, importance: FloatArray | None = None) -> FloatArray:
    """(2, n): 1, sum over slots of the weight of the slots from the first to this one times its reward."""
    terms = matmul(slates.prefix_weight * slates.reward, slot_importance(slates.slots, importance))
    return np.stack([np.ones(slates.n), terms])


def interaction(slates: Slates, importance: FloatArray | None = None) -> PointEstimate:
    """mean(sum over slots of w(slots from the first to this one) r): right where rewards depend on what is above.

    McInerney, Brost, Chandar, Mehrotra & Carterette (2020), section 3 (RIPS).
    """
    return estimate_units(interaction_columns(slates, importance), MEAN)


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
