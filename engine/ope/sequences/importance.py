"""Importance sampling of trajectories: whole, step by step, and by the states that they reach."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.ope.sums.ratios import MEAN, PointEstimate, Ratio, Ratios, estimate_units
from engine.types import FloatArray, IntArray


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


GROUPS: Final = 20


def marginal_weights(trajectories: Trajectories, state: IntArray) -> FloatArray:
    """(n, T) estimated ratio of the chances to be in the row's state at each step, target over log.

    Xie, Ma & Wang (2019), section 3: the ratio at the first step is 1; at the next one it is, state by state, the mean
    over the trajectories that came there of the ratio before times the weight of the action before. Here the ratios of
    a step are divided by their mean, which is 1 in expectation, as in weighted importance sampling.

    Args:
        trajectories: the weights.
        state: (n, T) codes from 0; a code of its own marks what comes after the end.

    Raises:
        ParameterError: another shape, or negative codes.
    """
    shape = trajectories.weight.shape
    if state.shape != shape or state.min() < 0:
        raise ParameterError("state", "marginal_weights", allowed=f"codes of shape {shape}", got=state.shape)
    ratio = np.ones(shape)
    for t in range(1, trajectories.horizon):
        arriving = ratio[:, t - 1] * trajectories.weight[:, t - 1]
        total = arriving.sum()
        if total > 0:
            arriving = arriving * (trajectories.n / total)
        mean = np.bincount(state[:, t], arriving) / np.maximum(np.bincount(state[:, t]), 1)
        ratio[:, t] = mean[state[:, t]]
    return ratio


def marginalised_is(trajectories: Trajectories, state: IntArray, gamma: float = 1.0) -> PointEstimate:
    """mean(sum over t of gamma^t ratio(s_t) w_t r_t): the horizon enters the variance as a factor, not as a power.

    Liu, Li, Tang & Zhou (2018); Xie, Ma & Wang (2019), section 3. Right where the state holds all that the rest of a
    trajectory depends on. The ratios are estimates from the same trajectories, so the error is that of a jackknife over
    20 groups of them (Shao & Tu 1995, section 2.3): it estimates everything anew without each group.

    Args:
        trajectories: weights and rewards; at least 2 for an error.
        state: (n, T) codes, see `marginal_weights`.
        gamma: discount, in [0, 1].

    Raises:
        ParameterError: see `marginal_weights`, or `gamma` out of range.
    """
    value = _value(trajectories, state, gamma)
    groups = min(GROUPS, trajectories.n)
    if groups < 2:
        return PointEstimate(value, math.nan, trajectories.n)
    group = np.arange(trajectories.n) % groups
    without = np.array(
        [_value(trajectories.take(np.flatnonzero(group != g)), state[group != g], gamma) for g in range(groups)]
    )
    variance = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
    return PointEstimate(value, math.sqrt(variance), trajectories.n)


def _value(trajectories: Trajectories, state: IntArray, gamma: float) -> float:
    steps = marginal_weights(trajectories, state) * trajectories.weight * trajectories.reward
    return float(matmul(steps, discounts(gamma, trajectories.horizon)).mean())
