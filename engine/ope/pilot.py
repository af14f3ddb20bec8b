"""What a pilot log tells about logs to come that explore more or less than it did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

import numpy as np

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.ope.moments import ChunkTable, Spread
from engine.ope.plan import Terms
from engine.ope.target import Target
from engine.records.rounds import RoundBlock
from engine.types import FloatArray

_PAIRS: Final = tuple(combinations_with_replacement(range(3), 2))
# Products of the pairs' columns, for the error of the variance.
_SQUARES: Final = tuple(combinations_with_replacement(range(len(_PAIRS)), 2))
_SHARED: Final = 5


@dataclass(frozen=True)
class Pilot:
    """What a pilot log tells.

    Attributes:
        n: rows.
        target / baseline: their values, by SNIPS.
        kurtosis: of the reward.
        terms: by exploration.
    """

    n: int
    target: float
    baseline: float
    kurtosis: float
    terms: tuple[Terms, ...]


class PilotSums:
    """Sums over a pilot log, one vector per chunk; any order and partition gives the same bytes.

    For a log to come with propensities q(a) = (1 - e) baseline(a) + e / eligible actions, the mean of
    (w1 (r - V1) - w2 (r - V2))^2 is that of (t1 (r - V1) - t2 (r - V2))^2 / (p q) over the pilot's rows, with t1, t2
    and p the probabilities of the logged action: one more use of inverse propensities. It is a quadratic form in
    ((t1 - t2) r, t1, t2), so V1 and V2 need not be known while the log is read.

    Args:
        target / baseline: the policies.
        metric: key in `RoundBlock.rewards`.
        reward_range: lowest and highest possible reward.
        explorations: values of e, in [0, 1].
    """

    def __init__(
        self,
        target: Target,
        baseline: Target,
        *,
        metric: str,
        reward_range: tuple[float, float],
        explorations: Sequence[float],
    ) -> None:
        bad = [e for e in explorations if not 0 <= e <= 1]
        if bad or not explorations:
            raise ParameterError("exploration", "plan", allowed="one or several in [0, 1]", got=tuple(explorations))
        self._target, self._baseline, self._metric, self._range = target, baseline, metric, reward_range
        self._explorations = tuple(explorations)
        self._table = ChunkTable()
        self._spread = Spread()
        self._largest = np.zeros(len(self._explorations))

    def add(self, block: RoundBlock) -> None:
        """Add a chunk of rows whose metric and propensity are known.

        Raises:
            DataError: the chunk came before, or a column does not hold what a policy needs.
        """
        if block.n == 0:
            return
        reward = np.asarray(block.rewards[self._metric], dtype=np.float64)
        ours, theirs = self._logged(self._target, block), self._logged(self._baseline, block)
        p = block.propensity
        low, high = self._range
        self._spread.add(block.chunk, (reward - low) / (high - low))
        sums = [float(block.n), (ours / p).sum(), (ours / p * reward).sum(), (theirs / p).sum()]
        sums.append((theirs / p * reward).sum())
        columns = ((ours - theirs) * reward, ours, theirs)
        share = 1.0 / block.eligible_counts()
        for place, exploration in enumerate(self._explorations):
            to_come = (1.0 - exploration) * theirs + exploration * share
            with np.errstate(divide="ignore", invalid="ignore"):
                scale = np.where(ours + theirs > 0, 1.0 / (p * to_come), 0.0)
                weight = np.where(ours > 0, ours / to_come, 0.0)
                sums += _quadratic_sums(np.stack([columns[i] * columns[j] * scale for i, j in _PAIRS]))
            self._largest[place] = max(self._largest[place], float(weight.max()))
        self._table.add(block.chunk, np.array(sums, dtype=np.float64))

    def merge(self, other: PilotSums) -> None:
        """Take over the chunks of another.

        Raises:
            DataError: some chunk is in both.
        """
        self._table.merge(other._table)
        self._spread.merge(other._spread)
        self._largest = np.maximum(self._largest, other._largest)

    def result(self) -> Pilot:
        """What the pilot tells.

        Raises:
            DataError: no rows, or none on which the target, or the baseline, would have done what was done.
        """
        width = len(_PAIRS) + len(_SQUARES)
        table = self._table.stack(_SHARED + width * len(self._explorations))
        with np.errstate(invalid="ignore"):
            sums = [math.fsum(column) if np.isfinite(column).all() else math.inf for column in table.T]
        n, weight, total, base_weight, base_total = sums[:_SHARED]
        if not weight or not base_weight:
            raise DataError(
                "the pilot log has no row on which the policy, or the baseline, would have done what was done",
                hint="plan from moments, or from a pilot that explored",
            )
        target, baseline = total / weight, base_total / base_weight
        found = []
        for place, exploration in enumerate(self._explorations):
            start = _SHARED + place * width
            own = sums[start : start + width]
            found.append(_terms(exploration, own, n, target, baseline, float(self._largest[place])))
        return Pilot(int(n), target, baseline, self._spread.kurtosis(), tuple(found))

    @staticmethod
    def _logged(policy: Target, block: RoundBlock) -> FloatArray:
        logged = policy.probabilities(block).logged
        return block.propensity if logged is None else logged


def _quadratic_sums(products: FloatArray) -> list[float]:
    """Sums over rows of the (pairs, n) products, and of the products of two of them.

    All infinite where some action of a policy would never be logged.
    """
    if not np.isfinite(products).all():
        return [math.inf] * (len(_PAIRS) + len(_SQUARES))
    squares = matmul(products, products.T)
    return [*products.sum(axis=1).tolist(), *(float(squares[i, j]) for i, j in _SQUARES)]


def _terms(exploration: float, sums: list[float], n: float, target: float, baseline: float, largest: float) -> Terms:
    if not all(math.isfinite(value) for value in sums):
        return Terms(exploration, math.inf, math.inf, math.inf)
    moments, squares = dict(zip(_PAIRS, sums, strict=False)), dict(zip(_SQUARES, sums[len(_PAIRS) :], strict=True))
    factors = (1.0, -target, baseline)
    form = [(1.0 if i == j else 2.0) * factors[i] * factors[j] for i, j in _PAIRS]
    variance = max(sum(factor * moments[pair] for factor, pair in zip(form, _PAIRS, strict=True)), 0.0) / n
    second = sum((1.0 if i == j else 2.0) * form[i] * form[j] * total for (i, j), total in squares.items()) / n
    stderr = math.sqrt(max(second - variance**2, 0.0) / n)
    return Terms(exploration, variance, moments[1, 1] / n, largest, stderr)
