"""MAGIC: a blend of the model and of weighted DR, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtri

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.sequences.doubly_robust import weighted_dr
from engine.ope.sequences.trajectories import Trajectories, discounts
from engine.types import FloatArray


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
        trajectories: with a model's values; at least 2.
        gamma: discount, in [0, 1].
        confidence: of that interval, in (0, 1).

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
