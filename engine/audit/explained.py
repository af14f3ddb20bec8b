"""Leaks through the outcome: a feature that alone predicts a metric too well has probably seen it.

Sends and holds are looked at apart: who may not be sent anything has no deliveries, and every feature that says so
would "predict" them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.audit.bins import FeatureBins
from engine.audit.block import AuditBlock
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.features import FeatureSchema
from engine.numeric.matmul import matmul
from engine.types import HOLD, FloatArray

NAME = "explained_outcome"
ADVICE = (
    "one feature all but gives the outcome away: it was written after the outcome, or is the outcome; take it out, or "
    "raise audit.explained where it is known before the decision"
)
# Bins with fewer rows say nothing of their own: chance alone would explain them.
_FEWEST = 20


class Explained:
    """Rows, sums and squares of each metric by indicator, for holds and sends.

    Args:
        schema: of the features.
        bins: of the features.
        metrics: by name.
    """

    def __init__(self, schema: FeatureSchema, bins: FeatureBins, metrics: Sequence[str]) -> None:
        self._schema, self._bins, self._metrics = schema, bins, tuple(metrics)
        # (metrics, 2, 3, F): hold and send; rows, sum and sum of squares.
        self._sums: FloatArray | None = None

    def add(self, block: AuditBlock) -> None:
        if not self._metrics:
            return
        send = block.rounds.action != HOLD
        columns = []
        for metric in self._metrics:
            reward = block.rounds.rewards[metric]
            known = ~np.isnan(reward) & block.rounds.usable
            value = np.where(known, reward, 0.0)
            for stratum in (~send, send):
                columns += [known & stratum, value * stratum, value * value * stratum]
        # Single precision within a chunk, double over chunks; see `independence`.
        sums = matmul(np.array(columns, dtype=np.float32), block.features)
        shaped = sums.astype(np.float64).reshape(len(self._metrics), 2, 3, -1)
        self._sums = shaped if self._sums is None else self._sums + shaped

    def merge(self, other: Explained) -> None:
        if other._sums is not None:
            self._sums = other._sums if self._sums is None else self._sums + other._sums

    def finding(self, rule: AuditRule) -> Finding:
        """The feature and metric with the largest share of variance explained, adjusted for chance."""
        best, said = -1.0, ""
        feature = np.array(self._bins.feature)
        shares: dict[str, float] = {}
        every = np.zeros((0, 2, 3, 0)) if self._sums is None else self._sums
        for metric, sums in zip(self._metrics, every, strict=False):
            for position, spec in enumerate(self._schema.features):
                share = _share(sums[..., feature == position])
                name = f"{spec.name} of {metric}"
                if share > 0.05:
                    shares[name] = round(share, 4)
                if share > best:
                    best, said = share, f"{name}: {share:.1%} of the variance"
        if best < 0.0:
            return not_applicable(NAME, "the log has no features, or no metric with enough rows")
        found = graded(NAME, best, rule.explained, f"the most is {said}", ADVICE)
        found.details["shares"] = shares
        return found


def _share(sums: FloatArray) -> float:
    """Adjusted R^2 of the means by bin within holds and within sends; -1 where nothing varies or rows are too few.

    Args:
        sums: (2, 3, b) rows, sums and squares by bin.
    """
    rows, total, squares = np.moveaxis(sums, 1, 0)
    each, mean = rows.sum(axis=1), total.sum(axis=1) / np.maximum(rows.sum(axis=1), 1.0)
    n, whole = each.sum(), squares.sum() - (each * mean * mean).sum()
    used = rows >= _FEWEST
    spent = int(used.sum())
    if n < 100 or spent < 2 or n <= spent or whole <= 1e-6 * max(squares.sum(), 1e-12):
        return -1.0
    by_bin = np.divide(total, rows, out=np.zeros_like(total), where=used)
    between = (rows * (by_bin - mean[:, None]) ** 2)[used].sum()
    return float(max(0.0, 1.0 - (1.0 - between / whole) * (n - 1.0) / (n - spent)))
