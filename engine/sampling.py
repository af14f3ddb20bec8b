"""The only random choice of an action: from a distribution and a decision id to (action, propensity)."""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.identity import uniforms
from engine.types import BoolArray, CodeArray, FloatArray, ObjectArray

SUM_TOLERANCE = 1e-6


def check_distribution(probabilities: FloatArray, eligible: BoolArray, owner: str) -> None:
    """Refuse what is no distribution over the eligible set.

    Args:
        probabilities: (n, k).
        eligible: (n, k) bool.
        owner: named in the error.

    Raises:
        ParameterError: wrong shape, negative or non-finite entries, mass on removed actions, or rows whose sum is off
            by more than 1e-6.
    """
    if probabilities.shape != eligible.shape:
        raise ParameterError("distribution", owner, allowed=f"of shape {eligible.shape}", got=probabilities.shape)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ParameterError("distribution", owner, allowed="finite and non-negative", got=_first_bad(probabilities))
    if probabilities[~eligible].any():
        raise ParameterError(
            "distribution", owner, allowed="0 on removed actions", got=float(probabilities[~eligible].max())
        )
    off = np.abs(probabilities.sum(axis=1) - 1.0)
    if len(off) and off.max() > SUM_TOLERANCE:
        raise ParameterError(
            "distribution",
            owner,
            allowed=f"rows that sum to 1 within {SUM_TOLERANCE}",
            got=float(probabilities.sum(axis=1)[off.argmax()]),
        )


def sample(probabilities: FloatArray, decision_ids: ObjectArray, seed: int) -> tuple[CodeArray, FloatArray]:
    """Draw one action per row, keyed by (seed, decision id): `draw` with the row's one uniform.

    Args:
        probabilities: (n, k), checked by `check_distribution`.
        decision_ids: (n,) unique strings.
        seed: with the decision id the key of the row's one uniform.

    Returns:
        action (n,) int32 and propensity (n,) in (0, 1].
    """
    return draw(probabilities, uniforms(decision_ids, seed))


def draw(probabilities: FloatArray, uniform: FloatArray) -> tuple[CodeArray, FloatArray]:
    """Draw one action per row by inversion of the row's cumulative sum.

    The row is normalised by its own sum first, so the propensity that is returned is exactly the probability of the
    draw. Actions of probability 0 are never drawn.

    Args:
        probabilities: (n, k), checked by `check_distribution`.
        uniform: (n,) in [0, 1).

    Returns:
        action (n,) int32 and propensity (n,) in (0, 1].
    """
    cumulative = np.cumsum(probabilities, axis=1)
    total = cumulative[:, -1]
    point = uniform * total
    # side="right": an action of probability 0 repeats its predecessor's cumulative sum and is stepped over.
    action = (cumulative <= point[:, None]).sum(axis=1)
    # point < total in exact arithmetic; rounding of the product may reach it, then the action that completes the sum is
    # meant (not a later one whose probability is too small to move the sum: its propensity would be absurdly small).
    last = np.argmax(cumulative >= total[:, None], axis=1)
    action = np.minimum(action, last).astype(np.int32)
    chosen = np.take_along_axis(probabilities, action[:, None].astype(np.int64), axis=1)[:, 0]
    return action, chosen / total


def _first_bad(probabilities: FloatArray) -> float:
    bad = ~np.isfinite(probabilities) | (probabilities < 0)
    return float(probabilities[bad][0])
