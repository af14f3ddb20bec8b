"""Several answers at once: the largest of many differences, and adjusted p-values.

Within one evaluation all policies are judged on the same rows, so their differences are strongly dependent. The max-t
bootstrap uses that: the half-widths grow to the quantile of the largest |t| among the policies, which for 36 arms
that hardly differ is far below Bonferroni's, and it gives intervals, so that verdict and picture say the same. Holm's
method gives no intervals worth showing but needs nothing about dependence: it is for p-values of separate evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.intervals.bootstrapped import Fraction
from engine.ope.settings import BOOTSTRAP, DELTA, STUDENTISED
from engine.ope.setup import Setup
from engine.ope.state import Totals
from engine.ope.sums.bootstrap import resample_counts
from engine.types import FloatArray


def max_t_quantile(influences: FloatArray, draws: int, seed: int, alpha: float) -> float:
    """The factor of the standard error at which all intervals hold together with probability 1 - alpha.

    Romano & Wolf (2005), "Exact and approximate stepdown methods", single-step; for many policies by the bootstrap of
    Chernozhukov, Chetverikov & Kato (2013): the resampled mean influence over its standard error, the largest over
    the policies.

    Args:
        influences: (u, p) influences of independent units on p differences; each column sums to 0.
        draws: resamples.
        seed: Seed of the draws.
        alpha: error of all together, in (0, 1).
    """
    error = np.sqrt((influences * influences).sum(axis=0))
    varying = influences[:, error > 0] / error[error > 0]
    if varying.shape[1] == 0:
        return 0.0
    largest = [np.abs(matmul(counts, varying)).max(axis=1) for counts in resample_counts(len(varying), draws, seed)]
    return float(np.quantile(np.concatenate(largest), 1 - alpha))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values: those below alpha may be rejected together with an error of at most alpha in all.

    Holm (1979), "A simple sequentially rejective multiple test procedure"; holds under any dependence.

    Raises:
        ParameterError: a p-value outside [0, 1].
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ParameterError("p_values", "holm", allowed="in [0, 1]", got=tuple(p_values))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return tuple(adjusted)


@dataclass(frozen=True)
class Together:
    """How the differences of one estimator are corrected.

    Attributes:
        count: differences that hold together; 1 where nothing is corrected.
        reach: standard errors on each side, the same for all, or None where the error is divided among them.
        share: of the evaluation's error that they have together, in (0, 1].
        alpha: that error, in (0, 1).
    """

    count: int = 1
    reach: float | None = None
    share: float = 1.0
    alpha: float = 0.0

    @property
    def note(self) -> str:
        """What a reader must know, or nothing."""
        level = f" at {100 * (1 - self.alpha):g} %" if self.alpha else ""
        if self.count < 2:
            return f"the interval of the difference holds{level}" if self.share < 1.0 else ""
        how = "the largest of their errors (max-t)" if self.reach is not None else "an equal share of the error each"
        return f"the intervals of {self.count} differences hold together{level}, by {how}"


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
    share = setup.question.secondary_share
    alpha = setup.settings.shared_alpha * share
    if not setup.settings.simultaneous or not gaps:
        return Together()
    if len(gaps) < 2 or setup.settings.interval not in (DELTA, BOOTSTRAP, STUDENTISED) or totals.units is None:
        return Together(len(gaps), None, share, alpha)
    units = totals.units
    if totals.resamples is not None:
        drawn = np.abs([totals.resamples.pivots(gap.fractions) for gap in gaps])
        largest = np.where(np.isfinite(drawn), drawn, 0.0).max(axis=0)
        return Together(len(gaps), float(np.quantile(largest, 1 - alpha)), share, alpha)
    influences = np.column_stack(
        [matmul(units[:, list(gap.influence)], np.array(list(gap.influence.values()))) for gap in gaps]
    )
    reach = max_t_quantile(influences, setup.settings.replicates, setup.settings.seed, alpha)
    # Several differences cannot need less than one of them, which the noise of resampling may say.
    reach = max(reach, float(ndtri(1 - alpha / 2.0)))
    # The resamples are normal in the limit; few units need Student's wider tail, at the level the reach stands for.
    tail = math.erfc(reach / math.sqrt(2.0)) / 2.0
    few = float(stdtrit(totals.clusters - 1, 1 - tail)) / float(ndtri(1 - tail)) if 0 < tail < 0.5 else 1.0
    return Together(len(gaps), reach * few, share, alpha)
