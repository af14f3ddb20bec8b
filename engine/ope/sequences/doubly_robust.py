"""A model of trajectories corrected by the log: doubly robust, plain and weighted, and MAGIC's blend of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtri

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.ope.sums.ratios import MEAN, ONE_COLUMN, PointEstimate, Ratio, Ratios, estimate_units
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


@dataclass(frozen=True)
class Magic:
    """What MAGIC found.

    It carries no error: like DM it leans on a model whose own error is in no trajectory.

    Attributes:
        value: the blend.
        blend: (T + 1,) weights of the returns that trust the log for 0, 1, ..., T steps and the model from there on.
        returns: (T + 1,) those returns; the first is DM, the last weighted DR.
        n: trajectories.
    """

    value: float
    blend: FloatArray
    returns: FloatArray
    n: int


def magic(trajectories: Trajectories, gamma: float = 1.0, confidence: float = 0.5) -> Magic:
    """The convex blend of partial returns that minimises an estimate of its mean squared error.

    Thomas & Brunskill (2016), section 6 (equations of g, Omega and b) and algorithm 1. The bias of a return is its
    distance to an interval of weighted DR; the paper takes the bootstrap's, this the delta method's.

    Args:
        trajectories: At least 2, with a model's values.
        gamma: discount, in [0, 1].
        confidence: The level of that interval, in (0, 1).

    Raises:
        ParameterError: `gamma` or `confidence` out of range, no model, or one trajectory alone.
    """
    if not 0 < confidence < 1:
        raise ParameterError("confidence", "magic", allowed="in (0, 1)", got=confidence)
    if trajectories.n < 2:
        raise ParameterError("trajectories", "magic", allowed="at least 2", got=trajectories.n)
    parts = partial_returns(trajectories, gamma)
    returns = parts.sum(axis=0)
    full = weighted_dr(trajectories, gamma)
    reach = float(ndtri(0.5 + confidence / 2)) * full.stderr
    bias = np.maximum(np.abs(returns - full.value) - reach, 0.0)
    centred = parts - parts.mean(axis=0)
    covariance = matmul(trajectories.n / (trajectories.n - 1) * centred.T, centred)
    blend = _smallest(covariance + np.outer(bias, bias))
    return Magic(float(matmul(blend, returns)), blend, returns, trajectories.n)


def partial_returns(trajectories: Trajectories, gamma: float) -> FloatArray:
    """(n, T + 1) share of each trajectory in the return that trusts the log for j steps; columns sum to the returns."""
    value, logged = trajectories.model("sequences.magic")
    n, horizon = trajectories.n, trajectories.horizon
    factors = discounts(gamma, horizon)
    totals = trajectories.so_far.sum(axis=0)
    # Where no trajectory has weight any more the log says nothing: the step then counts for nothing, as in weighted DR.
    now = np.divide(trajectories.so_far, totals, out=np.zeros_like(trajectories.so_far), where=totals > 0)
    before = np.column_stack([np.full(n, 1.0 / n), now[:, :-1]])
    steps = factors * (now * (trajectories.reward - logged) + before * value)
    trusted = np.column_stack([np.zeros(n), np.cumsum(steps, axis=1)])
    rest = np.column_stack([factors * before * value, np.zeros(n)])
    found: FloatArray = trusted + rest
    return found


def _smallest(matrix: FloatArray) -> FloatArray:
    """The point of the simplex with the smallest quadratic form.

    min over y >= 0 of y' M y + (sum y - 1)^2 has its optimum in the direction of min x' M x over the simplex: for a
    fixed direction the best length gives f / (1 + f), which grows with f.
    """
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    scale = max(float(np.abs(root).max()), 1e-300)
    system = np.vstack([root / scale, np.ones(len(matrix))])
    found, _ = nnls(system, np.append(np.zeros(len(matrix)), 1.0))
    blend: FloatArray = found / found.sum()
    return blend
