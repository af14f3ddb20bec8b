"""What regressions leave over, by channel and arm: means, shrunk by what all sends, channels and arms have in common.

The mean that sends of channel c and arm a leave over is taken as level + channel_c + arm_a + rest_ca, each drawn from a
normal distribution around 0 (the level: around what is taken for granted). Nobody knows how wide these are, so the
answer is the mean over a few widths of each, 0 among them, weighted by how well they predict the means that were seen
(Lindley & Smith, "Bayes Estimates for the Linear Model", JRSS B 1972, with widths integrated out). An arm's cells are
many, so that a difference of arms is seen long before one of cells; and nothing is added by a test that chance passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from engine.catalog import Catalog
from engine.numeric.matmul import matmul
from engine.types import HOLD, FloatArray, IntArray
from policies.parts.regression import Stream

_LEAST_ROWS: Final = 20
# Widths that are tried, in standard errors of what they are the width of, beside one that is seen to be far wider.
_WIDTHS: Final = (0.5, 1.0, 2.0)
# How sure it is, before a log says anything, that there is no such difference: where a stage explains what messages
# bring, and where nothing does.
_NONE: Final = {True: 0.99, False: 0.5}
# The same of the level. That messages take more than they bring to all who get them is a claim that asks for more.
_NO_LEVEL: Final = 0.9
_NO_HARM: Final = 0.98


@dataclass(frozen=True)
class _Seen:
    """What sends of some cells leave over.

    Attributes:
        mean / variance: (J,) of the mean of each cell, over what hold leaves over.
        common: variance that all of them share: that of hold's mean; infinite where their level is not of interest.
        channel / arm: (J,) of each cell.
    """

    mean: FloatArray
    variance: FloatArray
    common: float
    channel: IntArray
    arm: IntArray


def leftover_by_arm(stream: Stream, catalog: Catalog, *, over_hold: bool, practice: float | None = None) -> FloatArray:
    """(C, K) what sends of each channel and arm leave over, USD; about 0 where chance explains it.

    A cell with few rows has what its channel and its arm have.

    Args:
        stream: rows with what is left over as their target.
        catalog: the actions.
        over_hold: take it less what holds leave over; else only what cells have over each other counts.
        practice: USD that a mean send is taken to bring, unless the log shows that it does not: who sends today goes on
            where nobody can tell. None where the sends' worth is known by another part, so that nothing is left over
            unless the log shows it.
    """
    channels, _, arms = catalog.shape
    sums = np.zeros((3, channels * arms + 1))
    for rows in stream():
        channel, _, arm = catalog.split(rows.action)
        cell = np.where(rows.action == HOLD, 0, 1 + channel * arms + arm)
        for power in range(3):
            sums[power] += np.bincount(cell, weights=rows.target**power, minlength=sums.shape[1])
    count, total, squares = sums
    known = np.flatnonzero(count[1:] >= _LEAST_ROWS)
    if len(known) <= 1 - over_hold or (over_hold and count[0] < _LEAST_ROWS):
        return np.zeros((channels, arms))
    mean = total / np.maximum(count, 1.0)
    spread = (squares[1:] - count[1:] * mean[1:] ** 2)[known].sum() / (count[1:][known] - 1.0).sum()
    if not spread > 0.0:
        return np.zeros((channels, arms))
    held, common = (mean[0], (squares[0] / count[0] - mean[0] ** 2) / count[0]) if over_hold else (0.0, np.inf)
    at = divmod(known, arms)
    seen = _Seen(mean[1:][known] - held, spread / count[1:][known], float(common), *at)
    return _expected(seen, (channels, arms), practice)


def _expected(seen: _Seen, shape: tuple[int, int], practice: float | None) -> FloatArray:
    """(C, K) the mean over widths of what each cell is expected to leave over."""
    channel, arm = (one.ravel() for one in np.indices(shape))
    start = practice or 0.0
    weight = 1.0 / seen.variance
    centre = float((weight * seen.mean).sum() / weight.sum())
    if np.isinf(seen.common):
        # No level: what all cells share is taken out with a width that says nothing of it.
        start, common, level = centre, 1e4 * float(seen.variance.max()), [(0.0, 1.0)]
    else:
        common = seen.common
        error, none = float(np.sqrt(1.0 / weight.sum() + common)), _NO_LEVEL if centre >= start else _NO_HARM
        level = _tried(error, abs(centre - start), none)
    none = _NONE[practice is None]
    widths, rest = list[list[tuple[float, float]]](), seen.mean - centre
    # What a cell has for itself is what its channel and its arm do not explain.
    for of in (seen.channel, seen.arm, np.arange(len(weight))):
        common_to, error = _grouped(weight, rest, of)
        counts = len(np.unique(of)) > 1 and (len(widths) < len(shape) or min(shape) > 1)
        widths.append(_tried(error, float(common_to.std()), none) if counts else [(0.0, 1.0)])
        rest = rest - common_to
    everywhere = (np.ones_like(channel), channel, arm, np.arange(len(channel)))
    own = seen.channel * shape[1] + seen.arm
    # (J', J) whether cells share a level, a channel, an arm or everything.
    shared = [of[:, None] == of[own] for of in everywhere]
    noise = np.diag(seen.variance) + common
    evidence, expected = [], []
    for chosen in product(level, *widths):
        prior = sum((width**2 * same for (width, _), same in zip(chosen, shared, strict=True)), np.zeros(()))
        prior = np.broadcast_to(prior, shared[0].shape)
        factor = cho_factor(prior[own] + noise, lower=True)
        solved = cho_solve(factor, seen.mean - start)
        odds = -float(np.log(np.diag(factor[0])).sum()) - 0.5 * float(matmul(seen.mean - start, solved))
        evidence.append(odds + float(np.log([chance for _, chance in chosen]).sum()))
        expected.append(np.where(np.isinf(seen.common), 0.0, start) + (prior * solved).sum(axis=1))
    share = np.exp(np.array(evidence) - max(evidence))
    out: FloatArray = (np.array(expected) * (share / share.sum())[:, None]).sum(axis=0)
    return out.reshape(shape)


def _tried(error: float, seen: float, none: float) -> list[tuple[float, float]]:
    """Pairs of a width and its chance before anything is seen."""
    widths = [error * times for times in _WIDTHS]
    if seen > 2.0 * widths[-1]:
        widths.append(seen)
    return [(0.0, none), *((width, (1.0 - none) / len(widths)) for width in widths)]


def _grouped(weight: FloatArray, mean: FloatArray, of: IntArray) -> tuple[FloatArray, float]:
    """(J,) the mean over the cells of each cell's group, and the typical standard error of such a mean."""
    total = np.bincount(of, weights=weight)
    means = np.bincount(of, weights=weight * mean) / np.where(total > 0.0, total, 1.0)
    return means[of], float(np.sqrt(np.mean(1.0 / total[total > 0.0])))
