"""Leaks: features that know of the draw, of the outcome, or are newer than their decision.

The draw: given its propensity it knows nothing of the contact, so E[f (w - target)] is at most 0 for every f in [0, 1]
that was fixed before it, with w the weight of a uniform action of a group (`checks.draws`). Tested for every bin of
every feature and for its complement. A feature such as "opened this message" is 1 for sends only and fails at once.

The outcome: a feature that alone predicts a metric too well has probably seen it. Sends and holds are looked at apart:
who may not be sent anything has no deliveries, and every feature that says so would "predict" them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.bins import FeatureBins
from engine.audit.evidence import smallest, upper_p
from engine.audit.findings import FAIL, Finding, graded, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.features import PRESENT, FeatureSchema
from engine.numeric.matmul import matmul
from engine.types import HOLD, FloatArray

LEAKED_FEATURES = "leaked_features"
_LEAKED_FEATURES_ADVICE = (
    "the feature named depends on the action that was drawn: it was read after the decision; take it out, or log "
    "features as they were when the decision was taken"
)


class Independence:
    """Sums of f w, f w^2 and f target for every indicator and group, and of the same without f.

    Args:
        groups: groups of actions whose draws are counted.
        bins: indicators of the features.
    """

    def __init__(self, groups: ActionGroups, bins: FeatureBins) -> None:
        self._groups, self._bins = groups, bins
        self._sums: FloatArray | None = None
        self._whole = np.zeros((3, len(groups.names)))

    def add(self, batch: AuditBatch) -> None:
        features = batch.features[batch.rows]
        parts = (batch.weight, batch.weight * batch.weight, batch.target)
        # One product in single precision: the sums of a chunk are small, those over chunks are kept in double.
        product = matmul(features.T, np.concatenate(parts, axis=1).astype(np.float32))
        sums = np.stack(np.split(product.astype(np.float64), 3, axis=1))
        self._sums = sums if self._sums is None else self._sums + sums
        self._whole += np.stack([part.sum(axis=0) for part in parts])

    def merge(self, other: Independence) -> None:
        if other._sums is not None:
            self._sums = other._sums if self._sums is None else self._sums + other._sums
        self._whole = self._whole + other._whole

    def finding(self, drawn: Finding, rule: AuditRule) -> Finding:
        """The worst indicator and group.

        Args:
            drawn: the finding of `mean_weight`; where it fails, a leak cannot be told from a broken draw.
            rule: limits.
        """
        if self._sums is None or not self._bins.names or not self._whole[2].any():
            return not_applicable(LEAKED_FEATURES, "the log has no features, or no propensities")
        if drawn.verdict == FAIL:
            return not_applicable(LEAKED_FEATURES, f"{drawn.check} fails: a leak cannot be told from a broken draw")
        own, rest = self._sums, self._whole[:, None, :] - self._sums
        sides = [upper_p(part[0] - part[2], part[1] - 2.0 * part[0] + part[2]) for part in (own, rest)]
        # "Any action" moves with the number of eligible actions alone; a leak shows in a group.
        p_values = np.minimum(1.0, 2.0 * np.min(sides, axis=0))[:, 1:]
        indicator, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        by_feature = p_values.min(axis=1)
        found = [self._bins.names[i] for i in np.argsort(by_feature) if by_feature[i] * p_values.size < rule.warn_error]
        said = f"{self._bins.names[indicator]} by {self._groups.names[group + 1]} is the least independent of the draw"
        what = f"{said}; {p_values.size} pairs tested"
        return tested(LEAKED_FEATURES, smallest(p_values), rule, what, _LEAKED_FEATURES_ADVICE, indicators=found[:20])


EXPLAINED_OUTCOME = "explained_outcome"
_EXPLAINED_OUTCOME_ADVICE = (
    "one feature all but gives the outcome away: it was written after the outcome, or is the outcome; take it out, or "
    "raise audit.explained where it is known before the decision"
)
# Bins with fewer rows say nothing of their own: chance alone would explain them.
_FEWEST = 20


class Explained:
    """Rows, sums and squares of each metric by indicator, for holds and sends.

    Args:
        schema: schema of the features.
        bins: indicators of the features.
        metrics: names of the metrics.
    """

    def __init__(self, schema: FeatureSchema, bins: FeatureBins, metrics: Sequence[str]) -> None:
        self._schema, self._bins, self._metrics = schema, bins, tuple(metrics)
        # (metrics, 2, 3, F): hold and send; rows, sum and sum of squares.
        self._sums: FloatArray | None = None

    def add(self, batch: AuditBatch) -> None:
        if not self._metrics:
            return
        send = batch.rounds.action != HOLD
        columns = []
        for metric in self._metrics:
            reward = batch.rounds.rewards[metric]
            known = ~np.isnan(reward) & batch.rounds.usable
            value = np.where(known, reward, 0.0)
            for stratum in (~send, send):
                columns += [known & stratum, value * stratum, value * value * stratum]
        # Single precision within a chunk, double over chunks; see `independence`.
        sums = matmul(np.array(columns, dtype=np.float32), batch.features)
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
            return not_applicable(EXPLAINED_OUTCOME, "the log has no features, or no metric with enough rows")
        found = graded(EXPLAINED_OUTCOME, best, rule.explained, f"the most is {said}", _EXPLAINED_OUTCOME_ADVICE)
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


FUTURE_FEATURES = "future_features"
_FUTURE_FEATURES_ADVICE = "the feature named was read after the decision: log it as it was at `decided_at`"


class Future:
    """Rows with a negative age, by feature.

    Args:
        schema: schema of the features.
        rule: names the features that are ages.
    """

    def __init__(self, schema: FeatureSchema, rule: AuditRule) -> None:
        numeric = [spec.name for spec in schema.features if spec.type == "numeric"]
        self._ages = [name for name in numeric if any(fnmatch(name, pattern) for pattern in rule.age_features)]
        self._rows = 0
        self._negative: Counter[str] = Counter()

    def add(self, batch: AuditBatch) -> None:
        self._rows += batch.n
        for name in self._ages:
            column = batch.rounds.context.columns[name]
            values = np.asarray(column.values, dtype=np.float64)
            self._negative[name] += int(((column.state == PRESENT) & (values < 0)).sum())

    def merge(self, other: Future) -> None:
        self._rows += other._rows
        self._negative += other._negative

    def finding(self, rule: AuditRule) -> Finding:
        """The largest share of rows."""
        if not self._ages:
            return not_applicable(FUTURE_FEATURES, f"no feature is an age by its name ({', '.join(rule.age_features)})")
        worst = max(self._ages, key=lambda name: self._negative[name])
        share = self._negative[worst] / max(self._rows, 1)
        what = f"{self._negative[worst]} of {self._rows} rows have a negative {worst}; {len(self._ages)} ages looked at"
        return graded(FUTURE_FEATURES, share, rule.future_rows, what, _FUTURE_FEATURES_ADVICE)
