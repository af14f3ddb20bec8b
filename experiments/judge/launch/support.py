"""How much of a log speaks for a policy: a histogram of its weights, mergeable."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.numeric.matmul import matmul
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from experiments.outputs import Output

EDGES: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


class WeightBin(Output, frozen=True, kw_only=True):
    """Rows whose weight lies above `low` and up to `high`; null is without limit, 0 to 0 is a weight of exactly 0.

    Attributes:
        rows: share of the rows.
        weight: share of the sum of weights.
    """

    low: float
    high: float | None
    rows: float
    weight: float


class SupportRow(Output, frozen=True, kw_only=True):
    """How much of the log speaks for a policy.

    Attributes:
        effective: what its rows are worth: (sum w)^2 / sum w^2.
        mean_weight: 1 in expectation where propensities are right.
    """

    policy: str
    rows: int
    effective: float
    mean_weight: float
    largest_weight: float
    bins: tuple[WeightBin, ...]


class WeightHistogram:
    """Rows and weight by size of target / propensity; the first bin is weight 0: what the policy would never do.

    Args:
        target: The policy whose weights are counted.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        bins = len(EDGES) + 1
        self._rows, self._weight = np.zeros(bins, dtype=np.int64), np.zeros(bins)
        self._squares, self._largest = 0.0, 0.0

    def add(self, batch: RoundBatch) -> None:
        """Count a batch."""
        asked = self.target.probabilities(batch).logged
        weight: FloatArray = np.ones(batch.n) if asked is None else asked / batch.propensity
        place = np.where(weight > 0.0, np.searchsorted(EDGES, weight, side="left"), 0)
        bins = len(self._rows)
        self._rows += np.bincount(place, minlength=bins)
        self._weight += np.bincount(place, weight, bins)
        self._squares += float(matmul(weight, weight))
        self._largest = max(self._largest, float(weight.max()))

    def merge(self, other: WeightHistogram) -> None:
        """Add what another has counted."""
        self._rows += other._rows
        self._weight += other._weight
        self._squares += other._squares
        self._largest = max(self._largest, other._largest)

    def result(self) -> SupportRow:
        """The histogram as shares."""
        rows, total = int(self._rows.sum()), float(self._weight.sum())
        ends = (None, *EDGES[1:], None)
        starts = (0.0, *EDGES)
        return SupportRow(
            policy=self.target.name,
            rows=rows,
            effective=total**2 / self._squares if self._squares else 0.0,
            mean_weight=total / max(rows, 1),
            largest_weight=self._largest,
            bins=tuple(
                WeightBin(
                    low=starts[i],
                    high=0.0 if i == 0 else ends[i],
                    rows=float(self._rows[i]) / max(rows, 1),
                    weight=float(self._weight[i]) / total if total else 0.0,
                )
                for i in range(len(self._rows))
            ),
        )
