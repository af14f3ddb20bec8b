"""Differences of several policies that are to hold together: how far each reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from engine.numeric.matmul import matmul
from engine.ope.intervals.names import BOOTSTRAP, DELTA, STUDENTISED
from engine.ope.intervals.simultaneous import max_t_quantile
from engine.ope.intervals.studentised import Fraction
from engine.ope.setup import Setup
from engine.ope.state import Totals


@dataclass(frozen=True)
class Together:
    """How the differences of one estimator are corrected.

    Attributes:
        count: differences that hold together; 1 where nothing is corrected.
        reach: standard errors on each side, the same for all, or None where the error is divided among them.
    """

    count: int = 1
    reach: float | None = None

    @property
    def note(self) -> str:
        """What a reader must know, or nothing."""
        if self.count < 2:
            return ""
        how = "the largest of their errors (max-t)" if self.reach is not None else "an equal share of the error each"
        return f"the intervals of {self.count} differences hold together, by {how}"


@dataclass(frozen=True)
class Gap:
    """A difference: coefficients of its influence, and the ratios that it is made of, with their signs."""

    influence: Mapping[int, float]
    fractions: tuple[Fraction, ...]


def together(setup: Setup, totals: Totals, gaps: Sequence[Gap]) -> Together:
    """The correction for differences that are defined and vary.

    Resamples exist for the normal and the bootstrap intervals: there the largest |t| of a resample is taken, which uses
    how much the policies overlap. For the others the error is divided.
    """
    if not setup.simultaneous or len(gaps) < 2:
        return Together()
    if setup.interval not in (DELTA, BOOTSTRAP, STUDENTISED) or totals.units is None:
        return Together(len(gaps))
    units = totals.units
    if totals.resamples is not None:
        drawn = np.abs([totals.resamples.pivots(gap.fractions) for gap in gaps])
        largest = np.where(np.isfinite(drawn), drawn, 0.0).max(axis=0)
        return Together(len(gaps), float(np.quantile(largest, 1 - setup.alpha)))
    influences = np.column_stack(
        [matmul(units[:, list(gap.influence)], np.array(list(gap.influence.values()))) for gap in gaps]
    )
    reach = max_t_quantile(influences, setup.draws, setup.seed, setup.alpha)
    # The resamples are normal in the limit; few units need Student's wider tail, at the level the reach stands for.
    tail = math.erfc(reach / math.sqrt(2.0)) / 2.0
    few = float(stdtrit(totals.clusters - 1, 1 - tail)) / float(ndtri(1 - tail)) if 0 < tail < 0.5 else 1.0
    return Together(len(gaps), reach * few)
