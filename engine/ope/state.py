"""The mergeable state of an evaluation: add batches, merge states of other partitions, ask for results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import DataError, MissingPropensityError
from engine.numeric.matmul import matmul
from engine.ope.columns import columns_of
from engine.ope.estimators.terms import WEIGHT
from engine.ope.intervals.bootstrapped import Resamples, resample
from engine.ope.intervals.streams import Streams
from engine.ope.settings import BOOTSTRAP, RESAMPLED, STUDENTISED
from engine.ope.setup import Setup
from engine.ope.sums.bootstrap import BucketSums, resampled_sums, units_of_clusters
from engine.ope.sums.clusters import ClusterSums
from engine.ope.sums.moments import Extremes, Moments, Pair, Spread
from engine.ope.sums.ratios import ONE_COLUMN, quadratic
from engine.ope.support import WeightSummary, WeightSums
from engine.records.rounds import RoundBatch
from engine.types import FloatArray


@dataclass(frozen=True)
class Totals:
    """What a finished evaluation has summed; enough for every value, error and interval.

    Attributes:
        n: rows.
        clusters: independent units.
        sums: (m,) by column of the layout.
        weights: By unit of the setup, the summary of target / propensity.
        summaries: By unit of the setup, the summaries of every weight that an estimate rests on, by the weight's name.
        exact: By unit of the setup, whether its probabilities are exact.
        extremes: smallest and largest value of each column.
        kurtosis: The kurtosis of the reward; NaN where it never varies.
        seconds: centred second moments, where each row is its own unit.
        cluster_sums: (c, m), where rows are clustered.
        replicates: (draws, m) bootstrap sums, where asked for.
        resamples: What the studentised bootstrap reads, where it is asked for.
        units: (u, m) sums of the units that are resampled, where some interval asks for them.
        streams: what some intervals must know of the single terms.
    """

    n: int
    clusters: int
    sums: FloatArray
    weights: tuple[WeightSummary, ...]
    exact: tuple[bool, ...]
    extremes: Extremes
    kurtosis: float
    seconds: Mapping[Pair, float]
    cluster_sums: FloatArray | None
    replicates: FloatArray | None
    resamples: Resamples | None
    units: FloatArray | None
    streams: Streams
    summaries: tuple[Mapping[str, WeightSummary], ...]

    def sum_of_squares(self, form: Mapping[int, float]) -> float:
        """Sum over independent units of the square of a linear form that sums to 0 over the log."""
        if self.cluster_sums is None:
            return quadratic(self.seconds, form)
        by_cluster = self._by_cluster(form)
        return float((by_cluster * by_cluster).sum())

    def raw_squares(self, form: Mapping[int, float]) -> float:
        """Sum over independent units of the square of a linear form, not centred."""
        if self.cluster_sums is None:
            total = sum(factor * float(self.sums[column]) for column, factor in form.items())
            return quadratic(self.seconds, form) + total * total / self.n
        by_cluster = self._by_cluster(form)
        return float((by_cluster * by_cluster).sum())

    def largest_share(self, form: Mapping[int, float]) -> float:
        """Largest share of one independent unit in `sum_of_squares`; 0 where nothing varies.

        Exact by cluster. By row it is exact for a form in one column; for a ratio, where the row of the largest
        numerator is not known with its weight, the numerator alone is taken.
        """
        total = self.sum_of_squares(form)
        if total <= 0 or math.isnan(total):
            return 0.0
        if self.cluster_sums is not None:
            by_cluster = self._by_cluster(form)
            return float((by_cluster * by_cluster).max() / total)
        numerator, factor = next(iter(form.items()))
        centre = self.sums[numerator] / self.n if form.keys() <= {numerator, ONE_COLUMN} else 0.0
        reach = max(self.extremes.high[numerator] - centre, centre - self.extremes.low[numerator])
        return float((factor * reach) ** 2 / total)

    def _by_cluster(self, form: Mapping[int, float]) -> FloatArray:
        columns = list(form)
        sums: FloatArray = np.zeros(0) if self.cluster_sums is None else self.cluster_sums[:, columns]
        by_cluster: FloatArray = matmul(sums, np.array([form[column] for column in columns]))
        return by_cluster


class EvaluationState:
    """Sums over the batches of a log.

    Blocks are canonical chunks, each with its own `chunk`. Adding them in any order, in any partition of states that
    are merged later, gives the same bytes: rows are summed within their chunk, chunks are combined in their order, and
    sums by cluster and by bucket are double-doubles.

    Args:
        setup: what is asked for.
    """

    def __init__(self, setup: Setup) -> None:
        layout, settings, clustered = setup.layout, setup.settings, setup.question.clustered
        self.setup = setup
        self._moments = Moments(layout.width, () if clustered else layout.pairs)
        self._extremes = Extremes(layout.width)
        self._spread = Spread()
        self._weights = [{name: WeightSums(settings.clip) for name in names} for names in layout.weights]
        self._exact = [not setup.question.allow_inexact for _ in setup.units]
        self._clusters = ClusterSums(layout.width) if clustered else None
        self._streams = Streams(setup)
        # The baseline and one other policy are one difference, which nothing has to be corrected for.
        several = setup.settings.simultaneous and len(setup.units) > 2
        resampled = (setup.settings.interval in RESAMPLED or several) and not setup.question.clustered
        self._buckets = BucketSums(layout.width, settings.seed) if resampled else None

    def add(self, batch: RoundBatch) -> None:
        """Add a canonical chunk of rows whose metric is known.

        Raises:
            DataError: unknown or non-finite reward, one outside the declared range, a propensity outside (0, 1], a
                chunk that came before, or a column that does not hold what a target needs.
            MissingPropensityError: a row without propensity, unless the setup allows it.
            ParameterError: a policy's answer is no distribution over the eligible set.
        """
        if batch.n == 0:
            return
        reward = _rewards(batch, self.setup)
        _check_propensity(batch, self.setup)
        columns, supports, exact = columns_of(self.setup, batch, reward)
        self._moments.add(batch.chunk, columns)
        self._extremes.add(columns)
        low, high = self.setup.question.reward_range
        self._spread.add(batch.chunk, (reward - low) / (high - low))
        for sums, support in zip(self._weights, supports, strict=True):
            for name, (weight, outside) in support.items():
                sums[name].add(batch.chunk, weight, outside)
        self._exact = [before and now for before, now in zip(self._exact, exact, strict=True)]
        self._streams.add(columns)
        if self._clusters is not None:
            self._clusters.add(batch.cluster, columns.T)
        if self._buckets is not None:
            self._buckets.add(batch.cluster, columns.T)

    def merge(self, other: EvaluationState) -> None:
        """Add what a state of the same setup has summed over other chunks.

        Raises:
            DataError: some chunk is in both.
        """
        self._moments.merge(other._moments)
        self._extremes.merge(other._extremes)
        self._spread.merge(other._spread)
        for sums, others in zip(self._weights, other._weights, strict=True):
            for name, own in sums.items():
                own.merge(others[name])
        self._exact = [a and b for a, b in zip(self._exact, other._exact, strict=True)]
        self._streams.merge(other._streams)
        if self._clusters is not None and other._clusters is not None:
            self._clusters.merge(other._clusters)
        if self._buckets is not None and other._buckets is not None:
            self._buckets.merge(other._buckets)

    def totals(self) -> Totals:
        """Everything summed so far.

        Raises:
            DataError: no rows were added.
        """
        settings = self.setup.settings
        n, sums, seconds = self._moments.result()
        if n == 0:
            raise DataError(
                "the log has no rows to evaluate",
                hint=f"no row is available, dispatched and has a known {self.setup.question.metric!r}",
            )
        clusters = n
        cluster_sums: FloatArray | None = None
        replicates: FloatArray | None = None
        units: FloatArray | None = None
        if self._clusters is not None:
            keys, cluster_sums = self._clusters.totals()
            clusters = len(keys)
            units = units_of_clusters(keys, cluster_sums, settings.seed)
        if self._buckets is not None:
            units = self._buckets.units()
        if settings.interval == BOOTSTRAP and units is not None:
            replicates = resampled_sums(units, settings.replicates, settings.seed)
        resamples = None
        if settings.interval == STUDENTISED and units is not None:
            resamples = resample(units, self.setup.layout.pairs, settings.replicates, settings.seed)
        summaries = tuple({name: own.result() for name, own in sums.items()} for sums in self._weights)
        return Totals(
            n=n,
            clusters=clusters,
            sums=sums,
            weights=tuple(summary[WEIGHT] for summary in summaries),
            summaries=summaries,
            exact=tuple(self._exact),
            extremes=self._extremes,
            kurtosis=self._spread.kurtosis(),
            seconds=seconds,
            cluster_sums=cluster_sums,
            replicates=replicates,
            resamples=resamples,
            units=units,
            streams=self._streams,
        )


def _rewards(batch: RoundBatch, setup: Setup) -> FloatArray:
    metric = setup.question.metric
    if metric not in batch.rewards:
        raise DataError(
            f"the log has no metric {metric!r}",
            hint=f"it has: {', '.join(sorted(batch.rewards)) or 'none'}",
        )
    reward = np.ascontiguousarray(batch.rewards[metric], dtype=np.float64)
    low, high = setup.question.reward_range
    bad = ~((reward >= low) & (reward <= high)) | np.isinf(reward)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{metric!r} must be in [{low:g}, {high:g}], got {float(reward[row])!r} for decision "
            f"{batch.decision_id[row]!r} ({int(bad.sum())} such rows in chunk {batch.chunk})",
            hint="rows without a known outcome must be left out; a range is widened in the mapping",
        )
    return reward


def _check_propensity(batch: RoundBatch, setup: Setup) -> None:
    propensity = batch.propensity
    missing = np.isnan(propensity)
    if missing.any() and not setup.question.allow_inexact:
        raise MissingPropensityError(
            f"{int(missing.sum())} of {batch.n} rows in chunk {batch.chunk} have no propensity, the first is decision "
            f"{batch.decision_id[int(np.flatnonzero(missing)[0])]!r}",
            hint="log the probability of each choice; without it only the estimator dm can be asked for, with inexact "
            "results allowed explicitly, and they are marked as not exact",
        )
    bad = ~missing & ~((propensity > 0) & (propensity <= 1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"propensity must be in (0, 1], got {float(propensity[row])!r} for decision {batch.decision_id[row]!r} "
            f"({int(bad.sum())} such rows in chunk {batch.chunk})",
            hint="an action that was taken had a positive probability; leave out rows without a choice",
        )
