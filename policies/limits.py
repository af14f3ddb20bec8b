"""Ceiling and floor of exploration, enforced on every distribution before anything is drawn. Pure functions of arrays.

Order: explore, then the ceiling, then the floor. Both only move probability to the greedy actions (the eligible actions
of the highest score), so the floor cannot break the ceiling again. What comes out is exactly what is sampled, so logged
propensities stay exact; actions that the floor empties are never drawn and have no support in the log.
"""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray

# Rounding of sums over some hundred actions, far above; every real violation is far larger.
TOLERANCE = 1e-9


def limited(
    probabilities: FloatArray, scores: FloatArray, eligible: BoolArray, ceiling: float | None, floor: float
) -> FloatArray:
    """Bring every row under the ceiling and over the floor.

    Ceiling: where the actions that are not greedy have more than `ceiling` together, they are scaled down to it and the
    greedy ones up, each in proportion. Floor: an action with less than `floor` gets 0 and its mass goes to the greedy
    actions that keep theirs, in proportion. Where no greedy action has `floor` (that many tie), the first
    floor(1 / floor) of them share the row equally.

    Args:
        probabilities: (n, k), over the eligible actions; no action has more than the most probable greedy one.
        scores: (n, k), finite where eligible.
        eligible: (n, k).
        ceiling: largest mass off the greedy actions, in [0, 1]; None is no ceiling.
        floor: smallest probability that may be drawn, in [0, 1]; 0 is no floor.

    Returns:
        (n, k); rows sum to 1.

    Raises:
        ParameterError: a row without mass on its greedy actions, or a result that breaks a limit.
    """
    if ceiling is None and floor == 0.0:
        return probabilities
    masked = np.where(eligible, scores, -np.inf)
    greedy = masked == masked.max(axis=1, keepdims=True)
    if not (np.where(greedy, probabilities, 0.0).max(axis=1, initial=0.0) > 0.0).all():
        raise ParameterError("probabilities", "exploration", allowed="some mass on a greedy action", got=0.0)
    out = probabilities
    if ceiling is not None:
        out = _under(out, greedy, ceiling)
    if floor > 0.0:
        out = _over(out, greedy, floor)
    check_limits(
        _last(np.where(greedy, 0.0, out)), np.where(out > 0, out, 1.0).min(axis=1, initial=1.0), ceiling, floor
    )
    return out


def check_limits(exploring: FloatArray, least: FloatArray, ceiling: float | None, floor: float) -> None:
    """Refuse rows that break a limit: nothing may be drawn from them.

    Args:
        exploring: (n,) mass off the greedy actions.
        least: (n,) smallest positive probability, or the propensity of what was drawn.

    Raises:
        ParameterError: a row does.
    """
    if ceiling is not None and (exploring > ceiling + TOLERANCE).any():
        raise ParameterError("exploring share", "exploration", allowed=f"at most {ceiling:g}", got=exploring.max())
    if floor > 0.0 and (least < floor - TOLERANCE).any():
        raise ParameterError("propensity", "exploration", allowed=f"at least {floor:g}, or 0", got=least.min())


def _last(row_values: FloatArray) -> FloatArray:
    """(n,) sums from left to right, as the fused kernel makes them."""
    total: FloatArray = np.cumsum(row_values, axis=1)[:, -1]
    return total


def _under(probabilities: FloatArray, greedy: BoolArray, ceiling: float) -> FloatArray:
    exploring = _last(np.where(greedy, 0.0, probabilities))
    best = _last(np.where(greedy, probabilities, 0.0))
    high = exploring > ceiling
    down = np.where(high, ceiling / np.where(high, exploring, 1.0), 1.0)[:, None]
    up = np.where(high, (1.0 - ceiling) / best, 1.0)[:, None]
    return probabilities * np.where(greedy, up, down)


def _over(probabilities: FloatArray, greedy: BoolArray, floor: float) -> FloatArray:
    kept = probabilities >= floor_cut(floor)
    anchors = greedy & kept
    freed = _last(np.where(kept, 0.0, probabilities))
    held = _last(np.where(anchors, probabilities, 0.0))
    tied = held == 0.0
    up = (1.0 + freed / np.where(tied, 1.0, held))[:, None]
    out = np.where(kept, probabilities * np.where(greedy, up, 1.0), 0.0)
    if tied.any():
        sharing = greedy & (np.cumsum(greedy, axis=1) <= most_sharing(floor))
        out[tied] = (sharing / sharing.sum(axis=1, keepdims=True))[tied]
    return out


def floor_cut(floor: float) -> float:
    """Where the floor cuts: a hair below it, so that a probability equal to the floor up to rounding is kept."""
    return floor * (1.0 - TOLERANCE)


def most_sharing(floor: float) -> int:
    """How many actions can have `floor` each, at least 1."""
    return max(1, int(1.0 / floor + TOLERANCE))
