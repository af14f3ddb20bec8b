"""Drift: the later half of the days against the first, feature by feature, and of the propensities.

The population stability index, sum of (q - p) ln(q / p) over bins, is the symmetrised Kullback-Leibler divergence; 0.1
is usually called a shift and 0.25 a large one. What chance alone brings, (bins - 1) (1 / n + 1 / m) on average, is
taken off.
"""

from __future__ import annotations

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.bins import FeatureBins
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.audit.windows import DaySums, day_name
from engine.features import FeatureSchema
from engine.types import FloatArray

FEATURES, PROPENSITIES = "feature_drift", "propensity_drift"
# Propensities by powers of 2, from 1 down to below 2^-15.
_POWERS = 16


class Drift:
    """Rows by day and bin.

    Args:
        schema: schema of the features.
        bins: indicators of the features.
    """

    def __init__(self, schema: FeatureSchema, bins: FeatureBins) -> None:
        self._schema, self._bins = schema, bins
        self._features, self._powers = DaySums(), DaySums()

    def add(self, batch: AuditBatch) -> None:
        features = batch.features
        self._features.add(batch.day, lambda rows: features[rows].sum(axis=0, dtype=np.float64))
        propensity = batch.rounds.propensity[batch.rows]
        power = np.clip(np.floor(-np.log2(propensity)), 0, _POWERS - 1).astype(np.int64)
        self._powers.add(
            batch.day[batch.rows], lambda rows: np.bincount(power[rows], minlength=_POWERS).astype(np.float64)
        )

    def merge(self, other: Drift) -> None:
        self._features.merge(other._features)
        self._powers.merge(other._powers)

    def features(self, rule: AuditRule) -> Finding:
        """The feature that moved most, its missing and stale rows among its bins."""
        halves = _halves(self._features)
        if halves is None or not self._bins.names:
            return not_applicable(FEATURES, "the log has fewer than two days, or no features")
        feature, index = np.array(self._bins.feature), {}
        for position, spec in enumerate(self._schema.features):
            own = feature == position
            index[spec.name] = stability_index(halves[0][own], halves[1][own])
        worst = max(index, key=lambda name: index[name])
        what = f"{worst} moved most: stability index {index[worst]:.3g}, days from {halves[2]} on against those before"
        advice = "learn from the recent days, or find out whether a feed broke (see the share of stale and missing)"
        found = graded(FEATURES, index[worst], rule.feature_drift, what, advice)
        moved = {name: round(value, 4) for name, value in index.items() if value > 0.1}
        found.details.update(moved=moved, absent=self._absent(halves))
        return found

    def propensities(self, rule: AuditRule) -> Finding:
        """How far the distribution of the logged propensities moved."""
        halves = _halves(self._powers)
        if halves is None:
            return not_applicable(PROPENSITIES, "the log has fewer than two days, or no propensities")
        index = stability_index(halves[0], halves[1])
        what = f"stability index {index:.3g} of the logged propensities, days from {halves[2]} on against those before"
        advice = "the policy or its exploration changed within the log: judge the parts apart where that was not meant"
        return graded(PROPENSITIES, index, rule.propensity_drift, what, advice)

    def _absent(self, halves: tuple[FloatArray, FloatArray, str]) -> dict[str, list[float]]:
        """Features of which more than 1 % are missing or stale: [share before, share after]."""
        feature, out = np.array(self._bins.feature), {}
        absent = np.array([name.rsplit(" ", 1)[-1] in ("missing", "stale") for name in self._bins.names])
        for position, spec in enumerate(self._schema.features):
            own = feature == position
            shares = [float(half[own & absent].sum() / max(half[own].sum(), 1.0)) for half in halves[:2]]
            if max(shares) > 0.01:
                out[spec.name] = [round(share, 4) for share in shares]
        return out


def stability_index(before: FloatArray, after: FloatArray) -> float:
    """The stability index of two vectors of counts, less what chance brings on average; at least 0."""
    used = (before + after) > 0
    n, m, bins = before.sum(), after.sum(), int(used.sum())
    if bins < 2 or not n or not m:
        return 0.0
    p, q = ((half[used] + 0.5) / (half.sum() + 0.5 * bins) for half in (before, after))
    return float(max(0.0, ((q - p) * np.log(q / p)).sum() - (bins - 1) * (1.0 / n + 1.0 / m)))


def _halves(sums: DaySums) -> tuple[FloatArray, FloatArray, str] | None:
    days = sums.days
    if len(days) < 2:
        return None
    cut = len(days) // 2
    before, after = (np.sum([sums.of(day) for day in part], axis=0) for part in (days[:cut], days[cut:]))
    return before, after, day_name(days[cut])
