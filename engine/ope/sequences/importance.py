"""Importance sampling of whole trajectories and step by step, plain and weighted."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.layout import Ratio, Ratios
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def trajectory_columns(trajectories: Trajectories, gamma: float = 1.0) -> FloatArray:
    """(3, n): 1, w_{1:T} times the return, w_{1:T}."""
    weight = trajectories.so_far[:, -1]
    returns = matmul(trajectories.reward, discounts(gamma, trajectories.horizon))
    return np.stack([np.ones(trajectories.n), weight * returns, weight])


def trajectory_is(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """mean(w_{1:T} sum over t of gamma^t r_t), w_{1:T} the product of all weights.

    Precup, Sutton & Singh (2000), section 2. Unbiased; its variance grows like a power of the horizon.
    """
    return estimate_units(trajectory_columns(trajectories, gamma)[:2], MEAN)


def weighted_trajectory_is(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """sum(w_{1:T} return) / sum(w_{1:T}): within the range of the returns, slightly biased.

    Precup, Sutton & Singh (2000), section 2 (weighted importance sampling).
    """
    return estimate_units(trajectory_columns(trajectories, gamma), (Ratio(1, 2),))


def per_decision_columns(trajectories: Trajectories, gamma: float = 1.0) -> FloatArray:
    """(2, n): 1, sum over t of gamma^t w_{1:t} r_t."""
    terms = matmul(trajectories.so_far * trajectories.reward, discounts(gamma, trajectories.horizon))
    return np.stack([np.ones(trajectories.n), terms])


def per_decision_is(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """mean(sum over t of gamma^t w_{1:t} r_t): each reward carries only the weights of what could have caused it.

    Precup, Sutton & Singh (2000), section 3.
    """
    return estimate_units(per_decision_columns(trajectories, gamma), MEAN)


def weighted_per_decision_columns(trajectories: Trajectories) -> FloatArray:
    """(1 + 2 T, n): 1, then w_{1:t} r_t of each step, then w_{1:t} of each step."""
    so_far = trajectories.so_far.T
    return np.concatenate([np.ones((1, trajectories.n)), so_far * trajectories.reward.T, so_far])


def weighted_per_decision_ratios(horizon: int, gamma: float = 1.0) -> Ratios:
    """One ratio a step, discounted."""
    factors = discounts(gamma, horizon).tolist()
    return tuple(Ratio(1 + t, 1 + horizon + t, factor) for t, factor in enumerate(factors))


def weighted_per_decision_is(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """sum over t of gamma^t sum(w_{1:t} r_t) / sum(w_{1:t}): every step is normalised by its own weights.

    Precup, Sutton & Singh (2000), section 3, in the consistent form of Thomas (2015), chapter 3 (CWPDIS).
    """
    ratios = weighted_per_decision_ratios(trajectories.horizon, gamma)
    return estimate_units(weighted_per_decision_columns(trajectories), ratios)
