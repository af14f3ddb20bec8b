"""The bodies of the numba kernels. Imported by `policies.vw.scoring.kernels` alone, when a kernel is first used.

All of them stand in this one file: numba's cache on disk knows a kernel by the time and size of its own file, so a
helper in another file could change without the kernel being compiled again.

Scores keep strict arithmetic, so that ties are ties on both paths; sums of probabilities may be reordered.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_strict = numba.njit(nogil=True, error_model="numpy")
_loose = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})

EPSILON, SOFTMAX, SQUARECB = 0, 1, 2
_STRETCH = 64
# Below every finite score, above the -inf of removed actions.
_LOWEST = -np.finfo(np.float64).max


def score_rows(x: Any, linear: Any, channel_hour: Any, channel_arm: Any, hour_arm: Any, out: Any) -> None:
    """`ScoreTables.scores`, for tables without limits."""
    channels, hours = channel_hour.shape
    arms = channel_arm.shape[1]
    parts = np.empty(linear.shape[1])
    purpose = np.zeros(arms, dtype=np.int64)
    may = (np.ones((1, channels, arms), dtype=np.bool_), np.ones((1, 1, channels, hours), dtype=np.bool_), purpose)
    grid = _grid(hour_arm, purpose, 1)
    for row in range(len(x)):
        _affine_row(x[row], linear, parts)
        _score_row(parts, channel_hour, channel_arm, may, 0, grid, out[row])


def choose_rows(x: Any, tables: Any, may: Any, explore: Any, uniform: Any, drawn: Any) -> None:
    """Score, explore, limit and draw every row; fills action, propensity and, under a floor, the exploring mass."""
    kind, parameter, ceiling, floor, cut = explore
    action, propensity, exploring = drawn
    linear, channel_hour, channel_arm, hour_arm = tables
    parts = np.empty(linear.shape[1])
    grid = _grid(hour_arm, may[2], may[1].shape[1])
    out = np.empty(1 + channel_hour.size * hour_arm.shape[1])
    greedy = np.empty(len(out), dtype=np.bool_)
    found = np.empty((2, len(out) + 1), dtype=np.int64)
    values = np.empty((2, len(out) + 1))
    reach = np.inf
    for row in range(len(x)):
        _affine_row(x[row], linear, parts)
        m = _score_row(parts, channel_hour, channel_arm, may, row, grid, out)
        if floor > 0.0:
            action[row], propensity[row], exploring[row], reach = _limited_draw(
                out, m, (kind, parameter, ceiling, floor, cut), uniform[row], found, values, reach
            )
            continue
        if ceiling <= 1.0:
            greedy[:] = out == _largest(out)
        _probabilities(out, m, kind, parameter)
        if ceiling <= 1.0:
            exploring[row] = _under_ceiling(out, greedy, ceiling)
        action[row], propensity[row] = _draw(out, uniform[row])


@_strict
def _grid(hour_arm: Any, purpose: Any, purposes: int) -> tuple[Any, Any, Any, Any]:
    """What every row shares, over the (hour, arm) cells of a channel, and scratch for `_score_row`.

    Inner loops run over all the cells of a channel: over the arms alone they would be too short to be vectorised.
    """
    hours, arms = hour_arm.shape
    # Unsigned: a signed index might be negative, and testing that would stop the vectoriser.
    part = np.empty(hours * arms, dtype=np.uint64)
    third = np.empty(hours * arms)
    for h in range(hours):
        for a in range(arms):
            part[h * arms + a] = purpose[a] * hours + h
            third[h * arms + a] = hour_arm[h, a]
    return part, third, np.empty(purposes * hours), np.empty(hours * arms)


@_strict
def _score_row(parts: Any, channel_hour: Any, channel_arm: Any, may: Any, row: int, grid: Any, out: Any) -> int:
    """Scores of one row; removed actions get -inf. Returns the number of eligible actions."""
    may_arm, may_hour, purpose = may
    part, third, first, second = grid
    channels, hours = channel_hour.shape
    arms = channel_arm.shape[1]
    purposes = may_hour.shape[1]
    out[0] = parts[0]
    m = 1
    for c in range(channels):
        for a in range(arms):
            second[a] = parts[1 + channels + hours + a] + channel_arm[c, a] if may_arm[row, c, a] else -np.inf
        _repeat(second, arms)
        for p in range(purposes):
            allowed = 0
            for h in range(hours):
                may_send = may_hour[row, p, c, h]
                score = parts[1 + c] + parts[1 + channels + h] + channel_hour[c, h]
                first[p * hours + h] = score if may_send else -np.inf
                allowed += may_send
            for a in range(arms):
                m += allowed * (may_arm[row, c, a] and purpose[a] == p)
        cell = 1 + c * len(third)
        for i in range(len(third)):
            out[cell + i] = first[part[i]] + second[i] + third[i]
    return m


@_strict
def _repeat(values: Any, period: int) -> None:
    """Fill an array with its first `period` values, over and over; each copy doubles what is there."""
    filled = period
    while filled < len(values):
        more = min(filled, len(values) - filled)
        for i in range(more):
            values[filled + i] = values[i]
        filled += more


@_strict
def _affine_row(x: Any, linear: Any, parts: Any) -> None:
    """`tables.affine` of one row; skipping zeros changes nothing and is most of the speed."""
    width = linear.shape[1]
    parts[:] = linear[len(x)]
    for i in range(len(x)):
        if x[i] != 0.0:
            value = np.float64(x[i])
            for j in range(width):
                parts[j] += value * linear[i, j]


@_strict
def _largest(scores: Any) -> float:
    """Four running maxima, because the vectoriser does not take a maximum for a reduction."""
    a0 = a1 = a2 = a3 = scores[0]
    for a in range(0, len(scores) - 3, 4):
        a0 = scores[a] if scores[a] > a0 else a0
        a1 = scores[a + 1] if scores[a + 1] > a1 else a1
        a2 = scores[a + 2] if scores[a + 2] > a2 else a2
        a3 = scores[a + 3] if scores[a + 3] > a3 else a3
    for a in range(len(scores) - len(scores) % 4, len(scores)):
        a0 = max(a0, scores[a])
    best: float = max(a0, a1, a2, a3)
    return best


@_loose
def _probabilities(out: Any, m: int, kind: int, parameter: float) -> None:
    """Scores (-inf where removed) become probabilities, in place, as `policies.exploring.exploration`."""
    best = _largest(out)
    first = 0
    while out[first] != best:
        first += 1
    total, ties = 0.0, 0
    if kind == EPSILON:
        for a in range(first, len(out)):
            ties += out[a] == best
        for a in range(len(out)):
            share = (1.0 - parameter) * (1.0 / ties) if out[a] == best else 0.0
            out[a] = share + (parameter * (1.0 / m) if out[a] > -np.inf else 0.0)
    elif kind == SOFTMAX:
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


@_loose
def _under_ceiling(out: Any, greedy: Any, ceiling: float) -> float:
    """The ceiling of `policies.exploring.bounds.bounded` without a floor, in place; returns the mass off the best."""
    exploring = 0.0
    for a in range(len(out)):
        exploring += 0.0 if greedy[a] else out[a]
    if exploring <= ceiling:
        return exploring
    for a in range(len(out)):
        out[a] *= ceiling / exploring if not greedy[a] else (1.0 - ceiling) / (1.0 - exploring)
    return ceiling


@_loose
def _total(out: Any, start: int, stop: int) -> float:
    total = 0.0
    for a in range(start, stop):
        total += out[a]
    return total


@_strict
def _draw(out: Any, uniform: float) -> tuple[int, float]:
    """`engine.sampling.draw` of one row; stretches that end before the point are stepped over whole."""
    total = _total(out, 0, len(out))
    point = uniform * total
    running, start, chosen = 0.0, 0, 0
    while start + _STRETCH < len(out) and running + _total(out, start, start + _STRETCH) <= point:
        running += _total(out, start, start + _STRETCH)
        start += _STRETCH
    for a in range(start, len(out)):
        if out[a] > 0.0:
            running += out[a]
            chosen = a
            if running > point:
                break
    while out[chosen] <= 0.0:
        chosen = chosen - 1 if chosen > 0 else len(out) - 1
    return chosen, out[chosen] / total


@_strict
def _limited_draw(scores: Any, m: int, explore: Any, uniform: float, found: Any, values: Any, reach: float) -> Any:
    """`policies.exploring.bounds.bounded` with a floor, and the draw, without making the row's other probabilities.

    `scores` are -inf where removed, `m` others. `found`, `values` (2, k + 1) are scratch: actions and probabilities of
    the greedy and of the exploring ones. Within `reach` of the best the actions to explore are looked for first: it
    changes the time, never the result. Returns action, propensity, mass off the greedy actions, and the next reach.
    """
    kind, parameter, ceiling, floor, cut = explore
    best = _largest(scores)
    ties = _ties(scores, best, found[0])
    mass, norm = _mass(scores, best, ties, m, kind, parameter, ceiling)
    budget = min(mass, ceiling, 1.0 - floor)
    for i in range(ties):
        values[0, i] = _one(0.0, i == 0, ties, m, kind, parameter, mass, norm)
    tied, held = _tied(values[0], ties, 1.0 - budget, cut)
    kept, factor, gap = 0, 0.0, reach
    if budget >= cut:
        cap = values[0, tied - 1] * (1.0 - budget) / held
        one = (m, kind, parameter, mass, norm)
        kept, factor, gap = _explored(scores, best, one, budget, cap, cut, found, values, reach)
    off = 0.0
    for i in range(kept):
        values[1, i] *= factor
        off += values[1, i]
    for i in range(tied):
        values[0, i] *= (1.0 - off) / held
    action, propensity = _draw_two(found, values, tied, kept, uniform)
    return action, propensity, off, gap


@_loose
def _ties(scores: Any, best: float, found: Any) -> int:
    """Indices of the greedy actions, in order. Counting first is vectorised, and most rows have but one."""
    ties = 0
    for a in range(len(scores)):
        ties += scores[a] == best
    n = a = 0
    while n < ties:
        if scores[a] == best:
            found[n] = a
            n += 1
        a += 1
    return ties


@_strict
def _within(scores: Any, low: float, high: float, found: Any) -> int:
    """Indices of low <= score < high, in order; without a branch, as which ones they are cannot be foreseen."""
    n = 0
    for a in range(len(scores)):
        found[n] = a
        n += (scores[a] >= low) & (scores[a] < high)
    return n


@_loose
def _mass(scores: Any, best: float, ties: int, m: int, kind: int, parameter: float, ceiling: float) -> Any:
    """Mass off the greedy actions (or one above the ceiling, where only that matters), and softmax's denominator."""
    total = 0.0
    if kind == EPSILON:
        return parameter * (m - ties) / m, 1.0
    if kind == SOFTMAX:
        for a in range(len(scores)):
            total += np.exp(parameter * (scores[a] - best)) if scores[a] > -np.inf else 0.0
        return (total - ties) / total, total
    start = 0
    while start < len(scores) and (ties > 1 or total <= ceiling):
        for a in range(start, min(start + _STRETCH, len(scores))):
            gap = best - scores[a] if scores[a] > -np.inf else 0.0
            total += 1.0 / (m + parameter * gap) if (scores[a] > -np.inf) & (scores[a] < best) else 0.0
        start += _STRETCH
    return total, 1.0


@_strict
def _one(gap: float, first: bool, ties: int, m: int, kind: int, parameter: float, mass: float, norm: float) -> float:
    """Probability of one action before the limits; `ties` is 0 for one that is not greedy."""
    if kind == EPSILON:
        return parameter / m + ((1.0 - parameter) / ties if ties > 0 else 0.0)
    if kind == SOFTMAX:
        return float(np.exp(-parameter * gap) / norm)
    if ties > 0 and first:
        return 1.0 - mass - (ties - 1) / m if ties > 1 else 1.0
    return 1.0 / (m + parameter * gap)


@_strict
def _tied(values: Any, ties: int, mass: float, cut: float) -> tuple[int, float]:
    """How many of the greedy actions keep their share of the mass, and their sum before."""
    held = values[0]
    for i in range(1, ties):
        if values[i] * mass < cut * (held + values[i]):
            return i, held
        held += values[i]
    return ties, held


@_strict
def _explored(
    scores: Any, best: float, one: Any, budget: float, cap: float, cut: float, found: Any, values: Any, reach: float
) -> tuple[int, float, float]:
    """The actions to explore into row 1 of found and values, by index: how many, the factor, and the next reach."""
    m, kind, parameter, mass, norm = one
    most = int(budget / cut)
    while True:
        low = max(best - reach, _LOWEST)
        n = _within(scores, low, best, found[1])
        listed = _leading(scores, most, n, found[1], values[1])
        kept, total, factor = 0, 0.0, 0.0
        while kept < listed:
            score = values[1, kept]
            value = _one(best - score, False, 0, m, kind, parameter, mass, norm)
            total += value
            values[1, kept] = value
            # One more action leaves less for each, so the first that misses the floor ends the search.
            share = min(budget / total, cap / values[1, 0]) if value > 0.0 else 0.0
            if value * share < cut:
                break
            factor = share
            kept += 1
        # Something was left out, so everything that is better was looked at.
        if kept < n or low == _LOWEST:
            gap = 1.25 * (best - scores[found[1, kept - 1]]) if kept > 0 else reach
            _by_index(kept, found[1], values[1])
            return kept, factor, gap
        reach = 2.0 * reach if kept > 0 else np.inf


@_strict
def _leading(scores: Any, most: int, n: int, found: Any, values: Any) -> int:
    """The `most` best of the n candidates to the front, with their scores; the best first, among equals by index."""
    listed = 0
    for i in range(n):
        action = found[i]
        score = scores[action]
        if listed < most:
            listed += 1
        elif score <= values[listed - 1]:
            continue
        at = listed - 1
        while at > 0 and values[at - 1] < score:
            found[at], values[at] = found[at - 1], values[at - 1]
            at -= 1
        found[at], values[at] = action, score
    return listed


@_strict
def _by_index(n: int, found: Any, values: Any) -> None:
    for i in range(1, n):
        action, value = found[i], values[i]
        at = i
        while at > 0 and found[at - 1] > action:
            found[at], values[at] = found[at - 1], values[at - 1]
            at -= 1
        found[at], values[at] = action, value


@_strict
def _draw_two(found: Any, values: Any, tied: int, kept: int, uniform: float) -> tuple[int, float]:
    """`engine.sampling.draw` over the greedy and the exploring actions, merged in the order of the actions."""
    total = 0.0
    point = -1.0
    for turn in range(2):
        i = j = 0
        running = 0.0
        while i < tied or j < kept:
            greedy = j >= kept or (i < tied and found[0, i] < found[1, j])
            if greedy:
                action, value = found[0, i], values[0, i]
                i += 1
            else:
                action, value = found[1, j], values[1, j]
                j += 1
            running += value
            if turn == 1 and running > point:
                return action, value / total
        total = running
        point = uniform * total
    return action, value / total
