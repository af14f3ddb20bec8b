"""Leaks through the outcome: a feature that alone predicts a metric too well has probably seen it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.audit.bins import FeatureBins
from engine.audit.block import AuditBlock
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.features import FeatureSchema

NAME = "explained_outcome"
ADVICE = (
    "one feature all but gives the outcome away: it was written after the outcome, or is the outcome; take it out, or "
    "raise audit.explained where it is known before the decision"
)
# Bins with fewer rows say nothing of their own: chance alone would explain them.
_FEWEST = 20


class Explained:
    """Rows, sums and squares of each metric by indicator.

    Args:
        schema: of the features.
        bins: of the features.
        metrics: by name.
    """

    def __init__(self, schema: FeatureSchema, bins: FeatureBins, metrics: Sequence[str]) -> None:
        self._schema, self._bins, self._metrics = schema, bins, tuple(metrics)
        self._sums: dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]] = {}

    def add(self, block: AuditBlock) -> None:
        for metric in self._metrics:
            reward = block.rounds.rewards[metric]
            known = ~np.isnan(reward) & block.rounds.usable
            value = np.where(known, reward, 0.0)
            sums = np.column_stack([known.astype(np.float64), value, value * value]).T @ block.features
            self._sums[metric] = self._sums[metric] + sums if metric in self._sums else sums

    def merge(self, other: Explained) -> None:
        for metric, sums in other._sums.items():
            self._sums[metric] = self._sums[metric] + sums if metric in self._sums else sums

    def finding(self, rule: AuditRule) -> Finding:
        """The feature and metric with the largest share of variance explained, adjusted for chance."""
        best, said = -1.0, ""
        feature = np.array(self._bins.feature)
        shares: dict[str, float] = {}
        for metric, sums in self._sums.items():
            for position, spec in enumerate(self._schema.features):
                share = _share(sums[:, feature == position])
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


def _share(sums: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    """Adjusted R^2 of the means by bin; -1 where nothing varies or rows are too few."""
    rows, total, squares = sums
    n = rows.sum()
    whole = squares.sum() - total.sum() ** 2 / max(n, 1.0)
    used = rows >= _FEWEST
    bins = int(used.sum())
    if n < 100 or bins < 2 or whole <= 1e-12 * max(squares.sum(), 1.0):
        return -1.0
    mean = total.sum() / n
    between = (rows[used] * (total[used] / rows[used] - mean) ** 2).sum()
    return max(0.0, 1.0 - (1.0 - between / whole) * (n - 1.0) / (n - bins))
