"""Mergeable sums behind the stack: one pass over the batches, memory that does not grow with rows or contacts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import ParameterError
from engine.numeric.matmul import matmul
from engine.ope.metrics.bound import BoundStack, Quantities
from engine.ope.sums.bootstrap import BucketSums
from engine.ope.sums.exact import add_pairs
from engine.ope.support import WeightSummary, WeightSums
from engine.ope.target import Target, TargetBatch
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

# Of each policy and metric by row: sums of squares of both terms, of |numerator|, and rows where it exceeds the base.
_ROW_SUMS = 4
# Of each metric, unweighted: rows with a known outcome, rows with a numerator, rows with a denominator.
_LOG_SUMS = 3


@dataclass(frozen=True)
class StackTotals:
    """What was summed.

    Attributes:
        rows: The rows of the log.
        units: (u, m) sums over independent groups of contacts: rows, then per policy its weight and both terms of
            each metric.
        by_row: (P, M, 4) see `_ROW_SUMS`.
        of_log: (M, 3) see `_LOG_SUMS`.
        weights: One summary a policy.
    """

    rows: int
    units: FloatArray
    by_row: FloatArray
    of_log: FloatArray
    weights: tuple[WeightSummary, ...]


class StackState:
    """Sums over the batches of a log, for several policies at once.

    Contacts are put into `engine.ope.sums.bootstrap.BUCKETS` groups by a hash that sees nothing of them, and the groups
    are the independent units of every variance (the random groups of Wolter 2007, chapter 2): memory is that of the
    groups however many contacts there are, and the width of an interval errs by about 1 %.

    Args:
        bound: the stack and the log's catalog.
        targets: policies with distinct names; the first is today's.
        seed: Seed of the hash.
    """

    def __init__(self, bound: BoundStack, targets: Sequence[Target], seed: int = 0) -> None:
        names = [target.name for target in targets]
        if not names or len(set(names)) != len(names):
            raise ParameterError("targets", "the metric stack", allowed="at least one, with distinct names", got=names)
        self.bound, self.targets = bound, tuple(targets)
        count = len(bound.names)
        self._width = 1 + 2 * count
        self._buckets = BucketSums(1 + len(names) * self._width, seed)
        self._weights = [WeightSums(math.inf) for _ in names]
        self._rows = 0
        shape = len(names) * count * _ROW_SUMS + count * _LOG_SUMS
        self._high, self._low = np.zeros(shape), np.zeros(shape)

    def add(self, batch: RoundBatch) -> None:
        """Add a canonical chunk of usable rows.

        Raises:
            DataError: a column that does not hold what a target needs, or a chunk that came before.
            ParameterError: a policy's answer is no distribution over the eligible set.
        """
        if batch.n == 0:
            return
        logged = [self.bound.logged(name, batch) for name in self.bound.names]
        columns = [np.ones(batch.n)]
        by_row: list[FloatArray] = []
        for target, weights in zip(self.targets, self._weights, strict=True):
            asked = target.probabilities(batch)
            weight = np.ones(batch.n) if asked.logged is None else asked.logged / batch.propensity
            weights.add(batch.chunk, weight, asked.unsupported)
            columns.append(weight)
            for name, quantities in zip(self.bound.names, logged, strict=True):
                above, below, excess = self._terms(name, quantities, batch, asked, weight)
                columns += [above, below]
                by_row.append(np.array([matmul(above, above), matmul(below, below), np.abs(above).sum(), excess]))
        for quantities in logged:
            nonzero = (np.count_nonzero(part) for part in (quantities.above, quantities.below))
            by_row.append(np.array([np.count_nonzero(quantities.known), *nonzero], dtype=np.float64))
        self._buckets.add(batch.cluster, np.stack(columns, axis=1))
        added = np.concatenate(by_row) if by_row else np.zeros(0)
        self._high, self._low = add_pairs(self._high, self._low, added, np.zeros_like(added))
        self._rows += batch.n

    def _terms(
        self, name: str, quantities: Quantities, batch: RoundBatch, asked: TargetBatch, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray, float]:
        if asked.full is not None and self.bound.stack.metrics[name].of_choices:
            quantities, weight = self.bound.expected(name, batch, asked.full), np.ones(batch.n)
        excess = np.count_nonzero(quantities.above > quantities.below * (1.0 + 1e-9))
        return quantities.above * weight, quantities.below * weight, float(excess)

    def merge(self, other: StackState) -> None:
        """Add what a state of the same policies and metrics has summed over other chunks.

        Raises:
            DataError: some chunk is in both.
        """
        for own, others in zip(self._weights, other._weights, strict=True):
            own.merge(others)
        self._buckets.merge(other._buckets)
        self._high, self._low = add_pairs(self._high, self._low, other._high, other._low)
        self._rows += other._rows

    def totals(self) -> StackTotals:
        """Everything summed so far."""
        policies, metrics = len(self.targets), len(self.bound.names)
        flat = self._high + self._low
        by_row, of_log = np.split(flat, [policies * metrics * _ROW_SUMS])
        return StackTotals(
            rows=self._rows,
            units=self._buckets.units(),
            by_row=by_row.reshape(policies, metrics, _ROW_SUMS),
            of_log=of_log.reshape(metrics, _LOG_SUMS),
            weights=tuple(weights.result() for weights in self._weights),
        )

    def place(self, policy: int, metric: int) -> tuple[int, int]:
        """Columns of `StackTotals.units` that hold a metric's numerator and denominator under a policy."""
        start = 1 + policy * self._width + 1 + 2 * metric
        return start, start + 1

    def weight_column(self, policy: int) -> int:
        """Column of `StackTotals.units` that holds a policy's weight."""
        return 1 + policy * self._width
