"""Support: does the log hold enough of what the target would do, and what may be said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.errors import ParameterError
from engine.ope.estimate import BETTER, INSUFFICIENT, NO_DIFFERENCE, WORSE
from engine.ope.sums.moments import ChunkTable
from engine.types import FloatArray


@dataclass(frozen=True)
class WeightSummary:
    """What the weights of n rows say.

    Attributes:
        n: rows.
        ess: (sum w)^2 / sum w^2; 0 where all weights are 0.
        mean: mean weight.
        largest: largest weight.
        largest_share: share of the largest weight in sum w.
        largest_square_share: share of the largest weight in sum w^2.
        unsupported: mean target mass outside the eligible set; NaN where unknown.
        kept: share of sum w that clipping leaves.
    """

    n: int
    ess: float
    mean: float
    largest: float
    largest_share: float
    largest_square_share: float
    unsupported: float
    kept: float


class WeightSums:
    """Mergeable sums behind a `WeightSummary`, one vector per chunk.

    Args:
        clip: constant of the clipped estimator.
    """

    _WIDTH = 6

    def __init__(self, clip: float) -> None:
        self.clip = clip
        self._table = ChunkTable()

    def add(self, chunk: int, weight: FloatArray, unsupported: FloatArray) -> None:
        """Add the (n,) weights and unsupported masses of a chunk.

        Raises:
            DataError: the chunk was added before.
        """
        clipped = np.minimum(weight, self.clip).sum()
        sums = [len(weight), weight.sum(), (weight * weight).sum(), weight.max(), unsupported.sum(), clipped]
        self._table.add(chunk, np.array(sums, dtype=np.float64))

    def merge(self, other: WeightSums) -> None:
        """Take over the chunks of another."""
        self._table.merge(other._table)

    def result(self) -> WeightSummary:
        """The summary; NaN throughout where the weights are unknown."""
        table = self._table.stack(self._WIDTH)
        n, total, squares, _, unsupported, clipped = (math.fsum(column) for column in table.T)
        largest = float(table[:, 3].max()) if len(table) else math.nan
        return WeightSummary(
            n=int(n),
            ess=_ratio(total * total, squares),
            mean=_ratio(total, n),
            largest=largest,
            largest_share=_ratio(largest, total),
            largest_square_share=_ratio(largest * largest, squares),
            unsupported=_ratio(unsupported, n),
            kept=_ratio(clipped, total),
        )


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0


@dataclass(frozen=True)
class SupportRule:
    """When the weights say that a figure is no answer.

    The normal approximation behind every interval needs that no single row decides the variance (Lindeberg's
    condition). On the small Open Bandit logs of Thompson sampling scored for the uniform policy one row carries 26 %
    (all), 23 % (men) and 99.97 % (women) of the sum of squared weights, at an ESS of 340, 656 and 2.1 of 10,000 rows,
    and one click then carries 37-89 % of the variance: none of the three is an answer, however large ESS may look.
    A constant action on an evenly randomised log of n rows has about 1 / (n * propensity).

    Attributes:
        min_ess: smallest effective sample size, rows. Below about 30 a normal interval undercovers even without
            outliers.
        min_clusters: fewest clusters; below about 10 the variance by cluster is too small on average.
        max_weight_share: largest share of one row in the sum of weights, in (0, 1].
        max_square_share: largest share of one row in the sum of squared weights, in (0, 1].
        max_unsupported: largest mean target mass outside the eligible set, in [0, 1].
        min_outcomes: smallest effective number of rows that carry the reward's variance: ESS over the kurtosis of the
            reward, which for a rare event is the expected number of events. With fewer, none may have been seen by
            chance, and an interval of no width is drawn around the wrong figure.
        max_error_share: largest share of one row in the sampling variance of an estimate, in (0, 1]: with five
            rows of a rare reward behind a figure its interval is no interval.
        max_cluster_error_share: the same of one cluster; looser, as the clusters of small trials differ in size.
        mean_weight_sigmas: how many of its standard errors the mean weight may lie from its expectation
            (1 - unsupported mass); further off, the propensities are not those of the log.
        mean_weight_slack: absolute distance that is always allowed: logs round their propensities.
    """

    min_ess: float = 30.0
    min_clusters: int = 10
    max_weight_share: float = 0.05
    max_square_share: float = 0.10
    max_unsupported: float = 0.05
    min_outcomes: float = 5.0
    max_error_share: float = 0.2
    max_cluster_error_share: float = 0.35
    mean_weight_sigmas: float = 4.0
    mean_weight_slack: float = 0.01

    def __post_init__(self) -> None:
        for name in (
            "max_weight_share",
            "max_square_share",
            "max_unsupported",
            "max_error_share",
            "max_cluster_error_share",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(name, "SupportRule", allowed="in [0, 1]", got=getattr(self, name))
        for name in ("min_ess", "min_outcomes", "min_clusters", "mean_weight_sigmas", "mean_weight_slack"):
            if not getattr(self, name) >= 0:
                raise ParameterError(name, "SupportRule", allowed="at least 0", got=getattr(self, name))

    def reasons(self, weights: WeightSummary, mean_weight_stderr: float, clusters: int) -> tuple[str, ...]:
        """Every reason why the support is too little, as sentences; empty where it is enough.

        Args:
            weights: The target's weights on the log.
            mean_weight_stderr: The standard error of the mean weight, by cluster; NaN where not defined.
            clusters: units that are independent of each other.
        """
        found = []
        if clusters < self.min_clusters:
            found.append(f"{clusters} independent units are fewer than {self.min_clusters}")
        if not weights.ess >= self.min_ess:
            found.append(f"effective sample size {weights.ess:.1f} of {weights.n} rows is below {self.min_ess:g}")
        if weights.largest_share > self.max_weight_share:
            found.append(f"one row carries {weights.largest_share:.1%} of the sum of weights")
        if weights.largest_square_share > self.max_square_share:
            found.append(f"one row carries {weights.largest_square_share:.1%} of the sum of squared weights")
        if weights.unsupported > self.max_unsupported:
            found.append(f"{weights.unsupported:.1%} of the target's mass is on actions that were not eligible")
        expected = 1.0 - (0.0 if math.isnan(weights.unsupported) else weights.unsupported)
        spread = 0.0 if math.isnan(mean_weight_stderr) else mean_weight_stderr
        off = abs(weights.mean - expected)
        if off > self.mean_weight_sigmas * spread + self.mean_weight_slack:
            found.append(
                f"mean weight {weights.mean:.4g} is too far from {expected:.4g} (standard error {spread:.2g}): "
                "the propensities or the target's probabilities do not fit the log"
            )
        return tuple(found)

    def outcome_reasons(self, weights: WeightSummary, kurtosis: float) -> tuple[str, ...]:
        """Why the reward is too rare for the support."""
        if math.isnan(kurtosis) or weights.ess >= self.min_outcomes * kurtosis:
            return ()
        held = weights.ess / kurtosis
        return (f"the effective rows hold about {held:.1f} of the rare outcomes that make the metric",)

    def error_reasons(self, largest: float, *, clustered: bool) -> tuple[str, ...]:
        """Why the error of an estimate is not to be trusted, given the largest share of one unit in its variance."""
        limit = self.max_cluster_error_share if clustered else self.max_error_share
        if largest <= limit:
            return ()
        unit = "cluster" if clustered else "row"
        return (f"one {unit} carries {largest:.1%} of the sampling variance: too few rewards decide the figure",)


def verdict_of(low: float | None, high: float | None, reasons: tuple[str, ...]) -> str:
    """Verdict relative to the baseline: insufficient support beats everything, then the difference's interval decides.

    A difference without an interval (DM) is insufficient too: no statement about it holds at a known error rate.
    """
    if reasons or low is None or high is None:
        return INSUFFICIENT
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_DIFFERENCE
