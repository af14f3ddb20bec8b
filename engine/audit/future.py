"""Features that are newer than their decision: an age that is negative."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch

import numpy as np

from engine.audit.block import AuditBlock
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.features import PRESENT, FeatureSchema

NAME = "future_features"
ADVICE = "the feature named was read after the decision: log it as it was at `decided_at`"


class Future:
    """Rows with a negative age, by feature.

    Args:
        schema: of the features.
        rule: names the features that are ages.
    """

    def __init__(self, schema: FeatureSchema, rule: AuditRule) -> None:
        numeric = [spec.name for spec in schema.features if spec.type == "numeric"]
        self._ages = [name for name in numeric if any(fnmatch(name, pattern) for pattern in rule.age_features)]
        self._rows = 0
        self._negative: Counter[str] = Counter()

    def add(self, block: AuditBlock) -> None:
        self._rows += block.n
        for name in self._ages:
            column = block.rounds.context.columns[name]
            values = np.asarray(column.values, dtype=np.float64)
            self._negative[name] += int(((column.state == PRESENT) & (values < 0)).sum())

    def merge(self, other: Future) -> None:
        self._rows += other._rows
        self._negative += other._negative

    def finding(self, rule: AuditRule) -> Finding:
        """The largest share of rows."""
        if not self._ages:
            return not_applicable(NAME, f"no feature is an age by its name ({', '.join(rule.age_features)})")
        worst = max(self._ages, key=lambda name: self._negative[name])
        share = self._negative[worst] / max(self._rows, 1)
        what = f"{self._negative[worst]} of {self._rows} rows have a negative {worst}; {len(self._ages)} ages looked at"
        return graded(NAME, share, rule.future_rows, what, ADVICE)
