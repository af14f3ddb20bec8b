"""The bodies of the numba kernels. Imported by `policies.vw.scoring.kernels` alone, when a kernel is first used.

All of them stand in this one file: numba's cache on disk knows a kernel by the time and size of its own file, so a
helper in another file could change without the kernel being compiled again.

Scores keep strict arithmetic, so that ties are ties on both paths; sums of probabilities may be reordered.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

_strict = numba.njit(nogil=True, error_model="numpy")
_loose = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})

EPSILON, SOFTMAX, SQUARECB = 0, 1, 2
_STRETCH = 64
# Below every finite score, above the -inf of removed actions.
_LOWEST = -np.finfo(np.float64).max
# About so many scores of parts are made together.
_TOGETHER = 512
# As in `policies.parts.tables`: exp(v) = 2^t exp(v - t log 2), by Taylor's series up to the 13th power. The sum of
# v / log 2 and 1.5 x 2^52 ends in the bits of the whole number t; shifted, with the bits of 1, they are those of 2^t.
_FAR, _LOG2E, _LN2_HIGH, _LN2_LOW = 700.0, 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SHIFT, _ONE = 1.5 * 2.0**52, 1023 << 52
_FACTORS = tuple(1.0 / math.factorial(power) for power in range(13, 1, -1))


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
    action, propensity, exploring = drawn
    linear, channel_hour, channel_arm, hour_arm = tables
    parts = np.empty(linear.shape[1])
    grid = _grid(hour_arm, may[2], may[1].shape[1])
    out = np.empty(1 + channel_hour.size * hour_arm.shape[1])
    scratch = _scratch(len(out))
    reach = np.inf
    for row in range(len(x)):
        _affine_row(x[row], linear, parts)
        m = _score_row(parts, channel_hour, channel_arm, may, row, grid, out)
        action[row], propensity[row], exploring[row], reach = _drawn(out, m, explore, uniform[row], scratch, reach)


def score_part_rows(x: Any, tables: Any, charge: Any, out: Any) -> None:
    """`PartTables.scores`."""
    room = _part_room(tables)
    together = len(room[0])
    for start in range(0, len(x), together):
        stop = min(start + together, len(x))
        _score_parts(x[start:stop], tables, charge[start:stop], room, out[start:stop])


def choose_part_rows(x: Any, tables: Any, charge: Any, may: Any, explore: Any, uniform: Any, drawn: Any) -> None:
    """`choose_rows` for a policy of parts: all tables are looked up together, the rest is the same."""
    action, propensity, exploring = drawn
    room = _part_room(tables)
    together, k = room[1].shape
    out = np.empty((together, k))
    scratch = _scratch(k)
    reach = np.inf
    for start in range(0, len(x), together):
        stop = min(start + together, len(x))
        _score_parts(x[start:stop], tables, charge[start:stop], room, out[: stop - start])
        for row in range(start, stop):
            scores = out[row - start]
            # What is not eligible plays a part in what waiting costs, so it is removed last.
            m = _remove(may, row, scores)
            action[row], propensity[row], exploring[row], reach = _drawn(
                scores, m, explore, uniform[row], scratch, reach
            )


@_strict
def _remove(may: Any, row: int, out: Any) -> int:
    """Give removed actions -inf. Returns the number of eligible ones."""
    may_arm, may_hour, purpose = may
    channels, hours = may_hour.shape[2:]
    cell = m = 1
    for c in range(channels):
        for h in range(hours):
            for a in range(len(purpose)):
                left = may_arm[row, c, a] & may_hour[row, purpose[a], c, h]
                out[cell] = out[cell] if left else -np.inf
                m += left
                cell += 1
    return m


@_strict
def _part_room(tables: Any) -> Any:
    """Room for some rows: the affine sums of all tables, the scores by two of them, and what `_logistic` needs.

    So many rows together have enough actions for the vectoriser, and lie in the cache of the processor.
    """
    linear, channel_hour, channel_arm, _, _, _ = tables
    k = 1 + channel_hour[0].size * channel_arm.shape[2]
    rows = 1 + _TOGETHER // k
    return np.empty((rows, linear.shape[1])), np.empty((rows, k)), np.empty((rows, k)), np.empty(rows * k, np.int64)


@_strict
def _score_parts(x: Any, tables: Any, charge: Any, room: Any, out: Any) -> None:
    """Scores of some rows: money, + chance x worth, - chance of a loss x its price each, - what waiting charges.

    The tables stand in this order: money, chance and worth where there is a stage, losses; a last column of the affine
    sums holds the log odds of the stage after a hold, where it is reached then.
    """
    linear, channel_hour, _, _, price, staged = tables
    parts, odds, worth, bits = room
    n, k = out.shape
    held = linear.shape[1] % len(channel_hour) if staged else 0
    for row in range(n):
        _affine_row(x[row], linear, parts[row])
    _score_table(parts, tables, 0, out)
    if staged:
        _score_table(parts, tables, 1, odds[:n])
        _score_table(parts, tables, 2, worth[:n])
        for row in range(n):
            odds[row, 0] = parts[row, -1]
            worth[row, 0] = worth[row, 0] if held else 0.0
        _logistic(odds[:n].reshape(-1), bits)
        for row in range(n):
            for a in range(k):
                out[row, a] += odds[row, a] * (worth[row, a] if worth[row, a] > 0.0 else 0.0)
    for loss in range(len(price)):
        _score_table(parts, tables, 1 + 2 * staged + loss, odds[:n])
        _logistic(odds[:n].reshape(-1), bits)
        for row in range(n):
            for a in range(k):
                out[row, a] -= odds[row, a] * price[loss, a]
    _charge(charge, out)


@_strict
def _charge(charge: Any, out: Any) -> None:
    """Take what waiting costs, a share of the best gain and USD, from every send."""
    for row in range(len(out)):
        share, usd = charge[row]
        if share != 0.0 or usd != 0.0:
            best = -np.inf
            for a in range(1, out.shape[1]):
                best = max(best, out[row, a] - out[row, 0])
            charged = share * max(best, 0.0) + usd
            for a in range(1, out.shape[1]):
                out[row, a] -= charged


@_strict
def _score_table(parts: Any, tables: Any, t: int, out: Any) -> None:
    """Scores of some rows by one of the stacked tables, eligible or not."""
    _, channel_hour, channel_arm, hour_arm, _, _ = tables
    _, channels, hours = channel_hour.shape
    arms = channel_arm.shape[2]
    start = t * (1 + channels + hours + arms)
    by_channel, by_hour, by_arm = start + 1, start + 1 + channels, start + 1 + channels + hours
    for row in range(len(out)):
        out[row, 0] = parts[row, start]
        cell = 1
        for c in range(channels):
            for h in range(hours):
                first = parts[row, by_channel + c] + parts[row, by_hour + h] + channel_hour[t, c, h]
                for a in range(arms):
                    out[row, cell + a] = first + (parts[row, by_arm + a] + channel_arm[t, c, a]) + hour_arm[t, h, a]
                cell += arms


@_strict
def _logistic(odds: Any, bits: Any) -> None:
    """`policies.parts.tables.logistic` in place, operation by operation; libm's exponential is never vectorised."""
    power = bits.view(np.float64)
    c13, c12, c11, c10, c9, c8, c7, c6, c5, c4, c3, c2 = _FACTORS
    for a in range(len(odds)):
        value = -odds[a]
        value = value if value < _FAR else _FAR
        value = value if value > -_FAR else -_FAR
        shifted = value * _LOG2E + _SHIFT
        twos = shifted - _SHIFT
        rest = value - twos * _LN2_HIGH - twos * _LN2_LOW
        power[a] = shifted
        total = (((((c13 * rest + c12) * rest + c11) * rest + c10) * rest + c9) * rest + c8) * rest + c7
        total = (((((total * rest + c6) * rest + c5) * rest + c4) * rest + c3) * rest + c2) * rest + 1.0
        odds[a] = total * rest + 1.0
    for a in range(len(odds)):
        bits[a] = (bits[a] << 52) + _ONE
    for a in range(len(odds)):
        odds[a] = 1.0 / (1.0 + odds[a] * power[a])


@_strict
def _scratch(k: int) -> Any:
    """Room for `_drawn`: greedy actions, actions found and their probabilities."""
    return np.empty(k, dtype=np.bool_), np.empty((2, k + 1), dtype=np.int64), np.empty((2, k + 1))


@_strict
def _drawn(out: Any, m: int, explore: Any, uniform: float, scratch: Any, reach: float) -> Any:
    """Explore, limit and draw one row of scores, which it overwrites.

    Returns action, propensity, the exploring mass (0 where there is neither a ceiling nor a floor), and the next reach.
    """
    kind, parameter, ceiling, floor, _ = explore
    greedy, found, values = scratch
    if floor > 0.0:
        return _limited_draw(out, m, explore, uniform, found, values, reach)
    exploring = 0.0
    if ceiling <= 1.0:
        greedy[:] = out == _largest(out)
    _probabilities(out, m, kind, parameter)
    if ceiling <= 1.0:
        exploring = _under_ceiling(out, greedy, ceiling)
    action, propensity = _draw(out, uniform)
    return action, propensity, exploring, reach


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
