"""Sends per decision of a new version beside the live one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.special import stdtrit

from engine.errors import DataError
from engine.ope.metrics.gate import Evidence
from engine.ope.sums.ratios import standard_error
from engine.ope.target import LoggedTarget, Target
from engine.records.rounds import RoundBlock
from engine.types import HOLD, FloatArray
from experiments.judge.promotion_config import SENDS


def sends_evidence(
    rounds: Iterable[RoundBlock], new: Target, live: Target, alpha: float, *, clustered: bool
) -> Evidence:
    """Sends per decision, from the policies' own probabilities: no outcome is in them, only who the contacts are.

    Args:
        alpha: of the two-sided interval of the difference.
        clustered: whether rows of one `cluster` depend on each other; memory grows with the clusters.

    Raises:
        DataError: no rows.
    """
    for target in (new, live):
        if _silent(target):
            why = f"{target.name} gives the probability of the logged action alone"
            return Evidence(SENDS, None, None, None, alpha, missing=why)
    units, gaps, sums = [], [], np.zeros(2)
    for block in rounds:
        both = np.column_stack([_sends(new, block), _sends(live, block)])
        sums += both.sum(axis=0)
        gaps.append(both[:, 0] - both[:, 1])
        units.append(block.cluster)
    gap: FloatArray = np.concatenate([np.zeros(0), *gaps])
    n = len(gap)
    if n == 0:
        raise DataError("there are no rows to judge on", hint="give a later log")
    mean_new, mean_live = sums / n
    difference = float(mean_new - mean_live)
    own: FloatArray = gap - difference
    if clustered:
        _, place = np.unique(np.concatenate(units), return_inverse=True)
        own = np.bincount(place, weights=own).astype(np.float64)
    reach = _reach(own, n, alpha)
    low, high = (None, None) if math.isnan(reach) else (difference - reach, difference + reach)
    return Evidence(SENDS, difference, low, high, alpha, live=float(mean_live), new=float(mean_new))


def _reach(own: FloatArray, n: int, alpha: float) -> float:
    """Half the width of the interval, from the influences of the units."""
    if len(own) < 2:
        return math.nan
    error = standard_error(float((own * own).sum()), len(own), n)
    return float(stdtrit(len(own) - 1, 1 - alpha / 2)) * error


def _sends(target: Target, block: RoundBlock) -> FloatArray:
    """(n,) probability of a send; of a log its own choice."""
    full = target.probabilities(block).full
    # A target that is asked for the logged actions alone gives None; `sends_evidence` has turned it away.
    sent: FloatArray = (block.action != HOLD).astype(np.float64) if full is None else 1.0 - full[:, HOLD]
    return sent


def _silent(target: Target) -> bool:
    """Whether nobody can say how often it sends."""
    return not target.knows_all and not isinstance(target, LoggedTarget)
