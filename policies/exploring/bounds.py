"""Ceiling and floor of exploration, enforced on every distribution before anything is drawn. Pure functions of arrays.

The floor does not throw exploration away, it gathers it: the exploring mass goes to as many of the best exploring
actions as can have the floor each. What comes out is exactly what is sampled, so logged propensities stay exact;
actions that get nothing are never drawn and have no support in the log.
"""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray

# Rounding of sums over some hundred actions, far above; every real violation is far larger.
TOLERANCE = 1e-9


def bounded(
    probabilities: FloatArray, scores: FloatArray, eligible: BoolArray, ceiling: float | None, floor: float
) -> FloatArray:
    """Bring every row under the ceiling and over the floor.

    The greedy actions are the eligible ones of the highest score, the exploring ones all others that have a
    probability; they are ordered by probability, equal ones by score, then by index.

    1. Ceiling. The exploring mass E is what the exploring actions have together, at most `ceiling`, and at most
       1 - `floor` (the rest must reach the floor too). The greedy mass is 1 - E.
    2. Greedy actions share the greedy mass in proportion to their probabilities. Where they tie in such numbers that a
       share falls under the floor, only the first t of them by index share it, t being the largest number whose
       smallest share reaches the floor; at most floor(1 / floor).
    3. Exploring actions: the first m of the order share E in proportion to their probabilities, m being the largest
       number whose smallest share reaches the floor; so m <= E / floor. None gets more than the smallest greedy
       share (that can bind with ties or a ceiling above 0.5 only).
    4. What step 3 could not give away (all of E where E < floor) goes to the greedy actions of step 2, in proportion.

    So of two exploring actions the one with the higher score never gets less, a greedy action that is drawn never less
    than an exploring one, and a row that keeps both bounds already comes out as it is. Without a floor steps 2 and 3
    keep everybody.

    Args:
        probabilities: (n, k), over the eligible actions; they grow with the score (may be equal for different scores),
            and of tied greedy actions none has more than one of a lower index.
        scores: (n, k), finite where eligible.
        eligible: (n, k).
        ceiling: largest mass off the greedy actions, in [0, 1]; None is no ceiling.
        floor: smallest probability that may be drawn, in [0, 0.5]; 0 is no floor.

    Returns:
        (n, k); rows sum to 1.

    Raises:
        ParameterError: a row without mass on its greedy actions, or a result that breaks a bound.
    """
    if ceiling is None and floor == 0.0:
        return probabilities
    masked = np.where(eligible, scores, -np.inf)
    greedy = masked == masked.max(axis=1, keepdims=True)
    if not (np.where(greedy, probabilities, 0.0).max(axis=1, initial=0.0) > 0.0).all():
        raise ParameterError("probabilities", "exploration", allowed="some mass on a greedy action", got=0.0)
    off = _last(np.where(greedy, 0.0, probabilities))
    out = probabilities.copy()
    broken = off > (1.0 if ceiling is None else ceiling)
    if floor > 0.0:
        broken |= (np.where(out > 0, out, 1.0) < floor_cut(floor)).any(axis=1)
    # Rows within the bounds keep their bytes.
    rows = np.flatnonzero(broken)
    if len(rows):
        mass = np.minimum(off[rows], min(1.0 if ceiling is None else ceiling, 1.0 - floor))
        out[rows] = _gathered(out[rows], masked[rows], greedy[rows], mass, floor_cut(floor))
    check_bounds(
        _last(np.where(greedy, 0.0, out)), np.where(out > 0, out, 1.0).min(axis=1, initial=1.0), ceiling, floor
    )
    return out


def check_bounds(exploring: FloatArray, least: FloatArray, ceiling: float | None, floor: float) -> None:
    """Refuse rows that break a bound: nothing may be drawn from them.

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


def floor_cut(floor: float) -> float:
    """Where the floor cuts: a hair below it, so that a probability equal to the floor up to rounding is kept."""
    return floor * (1.0 - TOLERANCE)


def _gathered(
    probabilities: FloatArray, masked: FloatArray, greedy: BoolArray, mass: FloatArray, cut: float
) -> FloatArray:
    """Steps 2 to 4 of `bounded` for the exploring mass (n,) of every row."""
    best = np.where(greedy, probabilities, 0.0)
    sums = np.cumsum(best, axis=1)
    # Shares fall with every further action, so those that reach the floor are the first ones.
    kept = (best > 0.0) & (best * (1.0 - mass)[:, None] >= cut * sums)
    best = np.where(kept, best, 0.0)
    held = _last(best)
    cap = np.where(kept, best, np.inf).min(axis=1) * (1.0 - mass) / held
    exploring = _explored(probabilities, np.where(greedy, -np.inf, masked), mass, cap, cut)
    out: FloatArray = exploring + best * ((1.0 - _last(exploring)) / held)[:, None]
    return out


def _explored(
    probabilities: FloatArray, others: FloatArray, mass: FloatArray, cap: FloatArray, cut: float
) -> FloatArray:
    """Step 3: what the exploring actions get; `others` is their score, -inf for everything else."""
    if cut == 0.0:
        value = np.where(others > -np.inf, probabilities, 0.0)
        return np.asarray(value * (mass / _last(value))[:, None])
    out = np.zeros(others.shape)
    most = min(others.shape[1], int(mass.max() / cut))
    if most == 0:
        return out
    columns = _leading(others, most)
    # The row's best `most`, best first; probability 0 fills up rows that have fewer.
    value = np.where(
        np.take_along_axis(others, columns, axis=1) > -np.inf, np.take_along_axis(probabilities, columns, axis=1), 0.0
    )
    total = np.cumsum(value, axis=1)
    positive = value > 0.0
    factor = np.minimum(
        mass[:, None] / np.where(positive, total, 1.0), (cap / np.where(positive[:, 0], value[:, 0], 1.0))[:, None]
    )
    kept = positive & (value * factor >= cut)
    count = kept.sum(axis=1)
    last = np.take_along_axis(factor, np.maximum(count - 1, 0)[:, None], axis=1)
    np.put_along_axis(out, columns, np.where(kept, value * last, 0.0), axis=1)
    return out


def _leading(others: FloatArray, most: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """(n, most) columns of the highest values, the highest first, among equals the lower column first."""
    k = others.shape[1]
    if 2 * most >= k:
        return np.argsort(-others, axis=1, kind="stable")[:, :most]
    edge = np.partition(others, k - most, axis=1)[:, k - most][:, None]
    above, tied = others > edge, others == edge
    room = most - above.sum(axis=1, keepdims=True)
    taken = above | (tied & (np.cumsum(tied, axis=1) <= room))
    # Every row has exactly `most` of them, in the order of the columns.
    columns = np.nonzero(taken)[1].reshape(len(others), most)
    order = np.argsort(-np.take_along_axis(others, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _last(row_values: FloatArray) -> FloatArray:
    """(n,) sums from left to right."""
    total: FloatArray = np.cumsum(row_values, axis=1)[:, -1]
    return total
