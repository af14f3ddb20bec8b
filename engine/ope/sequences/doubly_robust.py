"""The doubly robust estimators of trajectories."""

from __future__ import annotations

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.layout import ONE_COLUMN, Ratio, Ratios
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.ope.terms import PointEstimate
from engine.ope.unit_sums import MEAN, estimate_units
from engine.types import FloatArray


def dr_columns(trajectories: Trajectories, gamma: float = 1.0) -> FloatArray:
    """(2, n): 1, sum over t of gamma^t (w_{1:t} (r_t - q_t) + w_{1:t-1} v_t)."""
    value, logged = trajectories.model("sequences.dr")
    steps = trajectories.so_far * (trajectories.reward - logged) + trajectories.before * value
    return np.stack([np.ones(trajectories.n), matmul(steps, discounts(gamma, trajectories.horizon))])


def dr(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """mean(sum over t of gamma^t (w_{1:t} (r_t - q_t) + w_{1:t-1} v_t)): per-decision IS with a control variate.

    Jiang & Li (2016), the recursion of section 4, unrolled as in Thomas & Brunskill (2016), section 4. Unbiased for
    any model that did not see the trajectory (`sequences.fqe` is cross-fitted).
    """
    return estimate_units(dr_columns(trajectories, gamma), MEAN)


def weighted_dr_columns(trajectories: Trajectories) -> FloatArray:
    """(1 + 3 T, n): 1, then w_{1:t} (r_t - q_t), w_{1:t} and w_{1:t-1} v_t of each step."""
    value, logged = trajectories.model("sequences.weighted_dr")
    so_far, before = trajectories.so_far.T, trajectories.before.T
    residual = so_far * (trajectories.reward - logged).T
    return np.concatenate([np.ones((1, trajectories.n)), residual, so_far, before * value.T])


def weighted_dr_ratios(horizon: int, gamma: float = 1.0) -> Ratios:
    """Two ratios a step: the residual by this step's weights, the model's value by those of the step before."""
    found: list[Ratio] = []
    for t, factor in enumerate(discounts(gamma, horizon).tolist()):
        found.append(Ratio(1 + t, 1 + horizon + t, factor))
        found.append(Ratio(1 + 2 * horizon + t, ONE_COLUMN if t == 0 else horizon + t, factor))
    return tuple(found)


def weighted_dr(trajectories: Trajectories, gamma: float = 1.0) -> PointEstimate:
    """DR with every step's weights normalised by their sum: less variance for a bias that vanishes with n.

    Thomas & Brunskill (2016), section 5 (WDR).
    """
    return estimate_units(weighted_dr_columns(trajectories), weighted_dr_ratios(trajectories.horizon, gamma))


def direct(trajectories: Trajectories) -> PointEstimate:
    """mean(v_1): the model's own opinion; its standard error is that of the contexts alone, hence NaN."""
    value, _ = trajectories.model("sequences.direct")
    return PointEstimate(float(value[:, 0].mean()), float("nan"), trajectories.n)
