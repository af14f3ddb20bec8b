"""Numba kernels: scores, exploration and draw of a row in one go, in the cache of the processor. Optional.

They repeat the numpy path operation by operation, in the same order and in float64, so actions agree and propensities
agree to 1e-12; the tests hold both against each other. Without numba, or with TACTFUL_NO_NUMBA=1, `AVAILABLE` is false
and callers take the numpy path.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any, Final

import numpy as np

from engine.eligibility import Eligibility
from engine.types import CodeArray, Float32Array, FloatArray
from policies.exploration_config import ExplorationConfig
from policies.limits import check_limits, floor_cut, most_sharing
from policies.vw.tables import ScoreTables

AVAILABLE: Final = importlib.util.find_spec("numba") is not None and not os.environ.get("TACTFUL_NO_NUMBA")

_EPSILON, _SOFTMAX, _SQUARECB = 0, 1, 2


def choose(
    x: Float32Array,
    tables: ScoreTables,
    eligibility: Eligibility,
    exploration: ExplorationConfig,
    rounds: int,
    uniform: FloatArray,
) -> tuple[CodeArray, FloatArray]:
    """Encoded contexts (n, d), eligibility and uniforms (n,) -> action (n,) int32 and propensity (n,)."""
    kind, parameter = _coded(exploration, rounds)
    ceiling, floor = exploration.ceiling, exploration.floor
    most = most_sharing(floor) if floor > 0.0 else 0
    action = np.empty(len(x), dtype=np.int32)
    propensity = np.empty(len(x), dtype=np.float64)
    exploring = np.zeros(len(x), dtype=np.float64)
    _compiled("_choose")(
        np.ascontiguousarray(x),
        (tables.linear, *tables.pairs),
        (
            np.ascontiguousarray(eligibility.channel_arm),
            np.ascontiguousarray(eligibility.channel_hour),
            np.ascontiguousarray(eligibility.purpose_codes),
        ),
        (kind, parameter, 2.0 if ceiling is None else ceiling, floor_cut(floor), most),
        np.ascontiguousarray(uniform, dtype=np.float64),
        (action, propensity, exploring),
    )
    check_limits(exploring, propensity, ceiling, floor)
    return action, propensity


def scores(x: Float32Array, tables: ScoreTables) -> FloatArray:
    """`ScoreTables.scores` by numba, bit for bit, for tables without limits."""
    out = np.empty((len(x), tables.k), dtype=np.float64)
    score_into(x, tables, out)
    return out


def score_into(x: Float32Array, tables: ScoreTables, out: FloatArray) -> None:
    """`scores` into an array of the caller, (n, k)."""
    _compiled("_scores")(np.ascontiguousarray(x), tables.linear, *tables.pairs, out)


def _coded(exploration: ExplorationConfig, rounds: int) -> tuple[int, float]:
    if exploration.kind == "greedy":
        return _EPSILON, 0.0
    if exploration.kind == "epsilon_greedy":
        return _EPSILON, exploration.epsilon
    if exploration.kind == "softmax":
        return _SOFTMAX, exploration.inverse_temperature
    return _SQUARECB, exploration.gamma(rounds)


@cache
def _compiled(name: str) -> Any:
    import numba  # noqa: PLC0415 - optional, and compiling takes seconds: only when a kernel is first used

    # Scores keep strict arithmetic, so that ties are ties on both paths; sums of probabilities may be reordered.
    strict = numba.njit(nogil=True, error_model="numpy")
    loose = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
    affine, cells = strict(_affine_row), strict(_cells)
    if name == "_scores":
        return strict(_scores_body(affine, cells))
    return strict(
        _choose_body(affine, cells, loose(_probabilities), loose(_under_ceiling), loose(_over_floor), loose(_draw))
    )


def _affine_row(x: Any, linear: Any, parts: Any) -> None:
    """`tables.affine` of one row; skipping zeros changes nothing and is most of the speed."""
    width = linear.shape[1]
    parts[:] = linear[len(x)]
    for i in range(len(x)):
        if x[i] != 0.0:
            value = np.float64(x[i])
            for j in range(width):
                parts[j] += value * linear[i, j]


def _cells(first: float, second: Any, third: Any, arms: Any, out: Any) -> int:
    """Scores of one channel and hour slot; removed arms get -inf. Returns the number of eligible arms."""
    count = 0
    for a in range(len(out)):
        out[a] = first + second[a] + third[a] if arms[a] else -np.inf
        count += arms[a]
    return count


def _probabilities(out: Any, m: int, kind: int, parameter: float) -> None:
    """Scores (-inf where removed) become probabilities, in place, by the formulas of `policies.exploration`."""
    best = -np.inf
    for a in range(len(out)):
        best = max(best, out[a])
    first = 0
    while out[first] != best:
        first += 1
    total = 0.0
    if kind == 0:
        ties = 0
        for a in range(first, len(out)):
            ties += out[a] == best
        for a in range(len(out)):
            share = 1.0 / ties if out[a] == best else 0.0
            even = 1.0 / m if out[a] > -np.inf else 0.0
            out[a] = (1.0 - parameter) * share + parameter * even
    elif kind == 1:
        for a in range(len(out)):
            out[a] = np.exp(parameter * (out[a] - best)) if out[a] > -np.inf else 0.0
            total += out[a]
        for a in range(len(out)):
            out[a] /= total
    else:
        for a in range(len(out)):
            # The gap of a removed action is set to 0 first: 0 * inf would be NaN at gamma 0.
            gap = best - out[a] if out[a] > -np.inf else 0.0
            out[a] = 1.0 / (m + parameter * gap) if out[a] > -np.inf else 0.0
            total += out[a]
        out[first] = 1.0 - (total - out[first])


def _under_ceiling(out: Any, greedy: Any, ceiling: float) -> None:
    """The ceiling of `policies.limits.limited` on one row, in place."""
    exploring = 0.0
    best = 0.0
    for a in range(len(out)):
        if greedy[a]:
            best += out[a]
        else:
            exploring += out[a]
    if exploring > ceiling:
        for a in range(len(out)):
            out[a] *= (1.0 - ceiling) / best if greedy[a] else ceiling / exploring


def _over_floor(out: Any, greedy: Any, cut: float, most: int) -> float:
    """The floor of `policies.limits.limited` on one row, in place; returns the mass left off the greedy actions."""
    freed = 0.0
    held = 0.0
    ties = 0
    for a in range(len(out)):
        ties += greedy[a]
        if out[a] < cut:
            freed += out[a]
        elif greedy[a]:
            held += out[a]
    rank = 0
    exploring = 0.0
    for a in range(len(out)):
        rank += greedy[a]
        if held == 0.0:
            out[a] = 1.0 / min(ties, most) if greedy[a] and rank <= most else 0.0
        elif out[a] < cut:
            out[a] = 0.0
        elif greedy[a]:
            out[a] *= 1.0 + freed / held
        exploring += 0.0 if greedy[a] else out[a]
    return exploring


def _draw(out: Any, uniform: float) -> tuple[int, float]:
    """`engine.sampling.draw` of one row."""
    total = 0.0
    for a in range(len(out)):
        total += out[a]
    point = uniform * total
    running = 0.0
    chosen = 0
    for a in range(len(out)):
        if out[a] > 0.0:
            running += out[a]
            chosen = a
            if running > point:
                break
    return chosen, out[chosen] / total


def _scores_body(affine: Any, cells: Any) -> Any:
    def body(x: Any, linear: Any, channel_hour: Any, channel_arm: Any, hour_arm: Any, out: Any) -> None:
        channels, hours = channel_hour.shape
        arms = channel_arm.shape[1]
        parts = np.empty(linear.shape[1])
        every = np.ones(arms, dtype=np.bool_)
        for row in range(len(x)):
            affine(x[row], linear, parts)
            out[row, 0] = parts[0]
            cell = 1
            for c in range(channels):
                second = parts[1 + channels + hours :] + channel_arm[c]
                for h in range(hours):
                    first = parts[1 + c] + parts[1 + channels + h] + channel_hour[c, h]
                    cells(first, second, hour_arm[h], every, out[row, cell : cell + arms])
                    cell += arms

    return body


def _choose_body(affine: Any, cells: Any, probabilities: Any, under: Any, over: Any, draw: Any) -> Any:
    def body(x: Any, tables: Any, may: Any, explore: Any, uniform: Any, drawn: Any) -> None:
        kind, parameter, ceiling, cut, most = explore
        action, propensity, exploring = drawn
        linear, channel_hour, channel_arm, hour_arm = tables
        may_arm, may_hour, purpose = may
        channels, hours = channel_hour.shape
        arms = channel_arm.shape[1]
        parts = np.empty(linear.shape[1])
        second = np.empty(arms)
        both = np.empty(arms, dtype=np.bool_)
        out = np.empty(1 + channels * hours * arms)
        greedy = np.empty(len(out), dtype=np.bool_)
        bounded = ceiling <= 1.0 or cut > 0.0
        for row in range(len(x)):
            affine(x[row], linear, parts)
            out[0] = parts[0]
            m = 1
            cell = 1
            for c in range(channels):
                for a in range(arms):
                    second[a] = parts[1 + channels + hours + a] + channel_arm[c, a]
                for h in range(hours):
                    for a in range(arms):
                        both[a] = may_arm[row, c, a] and may_hour[row, purpose[a], c, h]
                    first = parts[1 + c] + parts[1 + channels + h] + channel_hour[c, h]
                    m += cells(first, second, hour_arm[h], both, out[cell : cell + arms])
                    cell += arms
            if bounded:
                best = -np.inf
                for a in range(len(out)):
                    best = max(best, out[a])
                for a in range(len(out)):
                    greedy[a] = out[a] == best
            probabilities(out, m, kind, parameter)
            if bounded:
                under(out, greedy, ceiling)
                exploring[row] = over(out, greedy, cut, most)
            action[row], propensity[row] = draw(out, uniform[row])

    return body
