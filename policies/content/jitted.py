"""The body of the kernel of assemblies, step by step as `policies.content.stages`. Imports numba: see `kernels`.

All helpers stand in this one file: numba's cache on disk knows a kernel by its own file alone.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_strict = numba.njit(nogil=True, error_model="numpy")

UNIFORM, SOFTMAX, SQUARECB = 0, 1, 2
_BELOW_ONE = float(np.nextafter(1.0, 0.0))


def choose_rows(x: Any, tables: Any, combinations: Any, may: Any, explore: Any, uniform: Any, drawn: Any) -> None:
    """Score, explore and draw every row; fills cell and combinations, propensity and exploring mass."""
    linear, channel_hour, channel_block = tables
    first, allowed = combinations[0], combinations[2]
    may_block, may_hour = may
    kind, parameter, spread, ceiling = explore
    chosen, propensity, exploring = drawn
    channels, hours = channel_hour.shape
    groups = len(first) - 1
    parts = np.empty(linear.shape[1])
    values = np.empty((channels, len(allowed)))
    weights = np.empty((channels, len(allowed)))
    tops = np.empty((channels, groups))
    firsts = np.empty((channels, groups), dtype=np.int64)
    sums = np.empty((channels, groups))
    reach = np.empty(channels)
    flat = np.empty(1 + channels * hours)
    cells = np.empty(1 + channels * hours)
    for row in range(len(x)):
        _affine_row(x[row], linear, parts)
        at = 1 + channels + hours
        for c in range(channels):
            reach[c] = _members(
                parts[at:], channel_block[c], may_block[row, c], combinations, values[c], tops[c], firsts[c]
            )
            if reach[c] > -np.inf:
                _member_weights(first, values[c], tops[c], firsts[c], kind, parameter, weights[c], sums[c])
        flat[0] = parts[0]
        for c in range(channels):
            for h in range(hours):
                cell = 1 + c * hours + h
                if may_hour[row, c, h] and reach[c] > -np.inf:
                    flat[cell] = parts[1 + c] + parts[1 + channels + h] + channel_hour[c, h] + reach[c]
                else:
                    flat[cell] = -np.inf
        best = _first_best(flat)
        total = _cell_weights(flat, best, sums, hours, kind, parameter, cells)
        best_channel = max(best - 1, 0) // hours
        own = cells[best] / total
        if best > 0:
            for g in range(groups):
                own *= weights[best_channel, firsts[best_channel, g]] / sums[best_channel, g]
        share = spread
        exploring[row] = spread * (1.0 - own)
        if exploring[row] > ceiling:
            share = spread * (ceiling / exploring[row])
            exploring[row] = ceiling
        stage = (first, firsts, cells, total, weights, sums, hours)
        propensity[row] = _draw(uniform[row], share, best, stage, chosen[row])


@_strict
def _affine_row(x: Any, linear: Any, parts: Any) -> None:
    """`policies.vw.scoring.tables.affine` of one row."""
    width = linear.shape[1]
    parts[:] = linear[len(x)]
    for i in range(len(x)):
        if x[i] != 0.0:
            value = np.float64(x[i])
            for j in range(width):
                parts[j] += value * linear[i, j]


@_strict
def _members(
    by_block: Any, channel_block: Any, may: Any, combinations: Any, values: Any, tops: Any, firsts: Any
) -> float:
    """Scores of the combinations on one channel (-inf where removed), and the bests of groups; returns their sum."""
    first, blocks, allowed, pairs = combinations
    reach = 0.0
    for g in range(len(first) - 1):
        top, at = -np.inf, first[g]
        for m in range(first[g], first[g + 1]):
            ok = allowed[m]
            total = by_block[blocks[m, 0]] + channel_block[blocks[m, 0]]
            ok &= may[blocks[m, 0]]
            paired = False
            for i in range(1, blocks.shape[1]):
                if blocks[m, i] >= 0:
                    total += by_block[blocks[m, i]] + channel_block[blocks[m, i]]
                    ok &= may[blocks[m, i]]
                    paired = True
            if paired:
                total += pairs[m]
            values[m] = total if ok else -np.inf
            if values[m] > top:
                top, at = values[m], m
        tops[g], firsts[g] = top, at
        reach = reach + top if g > 0 else top
    return reach


@_strict
def _member_weights(
    first: Any, values: Any, tops: Any, firsts: Any, kind: int, parameter: float, weights: Any, sums: Any
) -> None:
    """Weights of the combinations of every group on one channel, and their sums."""
    for g in range(len(first) - 1):
        total, count = 0.0, 0
        for m in range(first[g], first[g + 1]):
            count += values[m] > -np.inf
        for m in range(first[g], first[g + 1]):
            weight = 0.0
            if values[m] > -np.inf:
                gap = tops[g] - values[m]
                if kind == SOFTMAX:
                    weight = np.exp(-parameter * gap)
                elif kind == SQUARECB:
                    weight = 0.0 if m == firsts[g] else 1.0 / (count + parameter * gap)
                else:
                    weight = 1.0
            weights[m] = weight
            total += weight
        if kind == SQUARECB:
            weights[firsts[g]] = 1.0 - total
            total = 0.0
            for m in range(first[g], first[g + 1]):
                total += weights[m]
        sums[g] = total


@_strict
def _first_best(flat: Any) -> int:
    best = 0
    for cell in range(1, len(flat)):
        if flat[cell] > flat[best]:
            best = cell
    return best


@_strict
def _cell_weights(flat: Any, best: int, sums: Any, hours: int, kind: int, parameter: float, cells: Any) -> float:
    """Weights of hold and every cell; returns their sum."""
    groups = sums.shape[1]
    total, count = 0.0, 0
    for cell in range(len(flat)):
        count += flat[cell] > -np.inf
    for cell in range(len(flat)):
        weight = 0.0
        if flat[cell] > -np.inf:
            gap = flat[best] - flat[cell]
            if kind == SQUARECB:
                weight = 0.0 if cell == best else 1.0 / (count + parameter * gap)
            else:
                weight = np.exp(-parameter * gap) if kind == SOFTMAX else 1.0
                if cell > 0:
                    for g in range(groups):
                        weight *= sums[(cell - 1) // hours, g]
        cells[cell] = weight
        total += weight
    if kind == SQUARECB:
        cells[best] = 1.0 - total
        total = 0.0
        for cell in range(len(flat)):
            total += cells[cell]
    return total


@_strict
def _draw(uniform: float, share: float, best: int, stage: Any, chosen: Any) -> float:
    """`Stages.draw` of one row into `chosen`; returns `Stages.probability` of it."""
    first, firsts, cells, total, weights, sums, hours = stage
    groups = len(first) - 1
    sure = 1.0 - share
    by_point = uniform < sure
    left = 0.0
    cell = best
    if not by_point:
        left = min(max((uniform - sure) / share, 0.0), _BELOW_ONE)
        cell, left = _picked(cells, 0, len(cells), total, left)
    channel = max(cell - 1, 0) // hours
    staged = cells[cell] / total
    same = cell == best
    chosen[0] = cell
    for g in range(groups):
        member = first[g]
        if cell > 0:
            if by_point:
                member = firsts[channel, g]
            else:
                member, left = _picked(weights[channel], first[g], first[g + 1], sums[channel, g], left)
            staged *= weights[channel, member] / sums[channel, g]
            same &= member == firsts[channel, g]
        chosen[1 + g] = member - first[g]
    return float((sure if same else 0.0) + share * staged)


@_strict
def _picked(weights: Any, start: int, stop: int, total: float, uniform: float) -> tuple[int, float]:
    """`engine.content.drawing.picked` of one row."""
    point = uniform * total
    running = 0.0
    at = start
    for i in range(start, stop):
        if weights[i] > 0.0:
            at = i
            if running + weights[i] > point:
                break
            running += weights[i]
    else:
        running -= weights[at]
    left = (point - running) / weights[at]
    return at, min(max(left, 0.0), _BELOW_ONE)
