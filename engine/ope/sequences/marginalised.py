"""State-marginalised importance sampling, for states that can be counted."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.ope.terms import PointEstimate
from engine.types import FloatArray, IntArray

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
