"""Quantiles of the reward under policies, over a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from scipy.special import ndtri

from engine.errors import DataError, ParameterError
from engine.ope.sums.exact import two_sum
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

MOST_VALUES: Final = 10_000
STEPS: Final = 4096


class Quantile(msgspec.Struct, frozen=True):
    """One quantile.

    Attributes:
        level: The share of the weight at or below it, in (0, 1).
        value: The smallest edge with at least `level` of the weight at or below it.
        low / high: Interval, on the edges; the last edge where the weight cannot bound it.
        share_below: The share of the weight below the value: what a reward of many equal values jumps over.
    """

    level: float
    value: float
    low: float
    high: float
    share_below: float


class QuantileSums:
    """The self-normalised distribution function of the reward at fixed edges.

    F(y) = sum(w 1{r <= y}) / sum(w): Huang, Leqi, Lipton & Azizzadenesheli (2021), section 3; Chandak et al. (2021).
    Sums by bin of w and w^2, as double-doubles, are enough for F and its delta-method error at every edge; any order
    and partition gives the same bytes.

    Args:
        edges: rising, finite; the last at least the largest reward. Values are exact to a bin.

    Raises:
        ParameterError: fewer than 2 edges, or edges that do not rise.
    """

    def __init__(self, edges: Sequence[float] | FloatArray) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not (np.diff(self.edges) > 0).all():
            raise ParameterError("edges", "QuantileSums", allowed="at least 2, rising", got=self.edges.shape)
        if not np.isfinite(self.edges).all():
            raise ParameterError("edges", "QuantileSums", allowed="finite", got="an infinite edge")
        self.n = 0
        self._high, self._low = np.zeros((2, len(self.edges))), np.zeros((2, len(self.edges)))

    def add(self, weight: FloatArray, reward: FloatArray) -> None:
        """Add (n,) weights and rewards of independent rows.

        Raises:
            DataError: a reward above the last edge or not a number, or a weight that is negative or not finite.
        """
        if not (reward <= self.edges[-1]).all() or not (np.isfinite(weight) & (weight >= 0)).all():
            raise DataError(
                f"rewards must be numbers up to {self.edges[-1]:g}, weights finite and not negative",
                hint="the last edge is the highest declared reward",
            )
        place = np.searchsorted(self.edges, reward, side="left")
        size = len(self.edges)
        self.n += len(weight)
        self._accumulate(np.stack([np.bincount(place, weight, size), np.bincount(place, weight * weight, size)]))

    def merge(self, other: QuantileSums) -> None:
        """Add what another with the same edges has summed.

        Raises:
            ParameterError: other edges.
        """
        if not np.array_equal(self.edges, other.edges):
            raise ParameterError("edges", "QuantileSums.merge", allowed="the same", got="others")
        self.n += other.n
        self._accumulate(other._high)
        self._accumulate(other._low)

    @property
    def weight(self) -> float:
        """The sum of all weights."""
        return float((self._high[0] + self._low[0]).sum())

    def result(self, levels: Sequence[float], alpha: float = 0.05) -> tuple[Quantile, ...]:
        """The quantiles, each with an interval of error rate alpha.

        Woodruff (1952): the edges whose F is not significantly different from the level.

        Raises:
            ParameterError: a level or alpha outside (0, 1).
            DataError: no weight was added.
        """
        for name, values in (("levels", levels), ("alpha", (alpha,))):
            if not len(values) or not all(0 < value < 1 for value in values):
                raise ParameterError(name, "QuantileSums.result", allowed="in (0, 1)", got=values)
        weights, squares = self._high + self._low
        total = weights.sum()
        if not total > 0:
            raise DataError("no row has any weight", hint="the policy does nothing that the log holds")
        below = np.minimum(weights.cumsum() / total, 1.0)
        spread = squares.cumsum() * (1 - 2 * below) + below**2 * squares.sum()
        reach = float(ndtri(1 - alpha / 2)) * np.sqrt(np.maximum(spread, 0.0)) / total
        return tuple(self._quantile(level, below, reach) for level in levels)

    def _quantile(self, level: float, below: FloatArray, reach: FloatArray) -> Quantile:
        last = len(self.edges) - 1
        # Sums of weights may fall short of 1 by rounding alone.
        place = min(int(np.searchsorted(below, level - 1e-12)), last)
        low = np.flatnonzero(below + reach >= level)
        high = np.flatnonzero(below - reach >= level)
        return Quantile(
            level=level,
            value=float(self.edges[place]),
            low=float(self.edges[min(place, int(low[0]) if len(low) else last)]),
            high=float(self.edges[max(place, int(high[0]) if len(high) else last)]),
            share_below=float(below[place - 1]) if place else 0.0,
        )

    def _accumulate(self, values: FloatArray) -> None:
        self._high, error = two_sum(self._high, values)
        self._low = self._low + error
        self._high, self._low = two_sum(self._high, self._low)


class PolicyQuantiles:
    """Quantiles of the reward under several policies, over a stream of batches.

    Args:
        targets: The policies.
        metric: A key in `RoundBatch.rewards`.
        edges: See `QuantileSums` and `edges_of`.
    """

    def __init__(self, targets: Sequence[Target], metric: str, edges: Sequence[float] | FloatArray) -> None:
        self._metric = metric
        self._sums = {target.name: (target, QuantileSums(edges)) for target in targets}

    def add(self, batch: RoundBatch) -> None:
        """Add a chunk of usable rows whose metric and propensity are known.

        Raises:
            DataError: see `QuantileSums.add`.
        """
        for target, sums in self._sums.values():
            logged = target.probabilities(batch).logged
            weight = np.ones(batch.n) if logged is None else logged / batch.propensity
            sums.add(weight, batch.rewards[self._metric])

    def results(self, levels: Sequence[float], alpha: float) -> dict[str, tuple[Quantile, ...]]:
        """Policy -> its quantiles at the levels; none where no row has any weight.

        Raises:
            ParameterError: a level or alpha outside (0, 1).
        """
        return {name: sums.result(levels, alpha) if sums.weight > 0 else () for name, (_, sums) in self._sums.items()}


def edges_of(rounds: Iterable[RoundBatch], metric: str) -> FloatArray:
    """Edges for the rewards of a log, in one pass: its distinct rewards, so that quantiles are exact.

    Where there are more than `MOST_VALUES` of them, `STEPS` even steps from the smallest to the largest.

    Raises:
        DataError: the log has no rows.
    """
    known = np.zeros(0)
    low, high = np.inf, -np.inf
    for batch in rounds:
        if batch.n:
            reward = batch.rewards[metric]
            low, high = min(low, float(reward.min())), max(high, float(reward.max()))
            known = np.union1d(known, reward) if len(known) <= MOST_VALUES else known
    if not len(known):
        raise DataError("the log has no rows to evaluate", hint=f"no row has a known {metric!r}")
    if len(known) > MOST_VALUES:
        return np.linspace(low, high, STEPS + 1)
    return np.append(np.nextafter(low, -np.inf), known)


def quantiles(
    weight: FloatArray, reward: FloatArray, levels: Sequence[float], alpha: float = 0.05
) -> tuple[Quantile, ...]:
    """Exact quantiles of (n,) weights and rewards: the edges are the rewards themselves.

    Raises:
        ParameterError: no rows, or a level or alpha outside (0, 1).
        DataError: see `QuantileSums.add`.
    """
    values = np.unique(reward)
    if not len(values) or not np.isfinite(values).all():
        raise ParameterError("reward", "quantiles", allowed="finite, at least one", got=reward.shape)
    sums = QuantileSums(np.append(np.nextafter(values[0], -np.inf), values))
    sums.add(weight, reward)
    return sums.result(levels, alpha)
