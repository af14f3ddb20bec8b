"""Leaks through the draw: a feature that depends on the action was written after the decision.

Given its propensity the draw knows nothing of the contact, so E[f (w - target)] is at most 0 for every f in [0, 1] that
was fixed before it, with w the weight of a uniform action of a group (`mean_weight`). Tested for every bin of every
feature and for its complement. A feature such as "opened this message" is 1 for sends only and fails at once.
"""

from __future__ import annotations

import numpy as np

from engine.audit.bins import FeatureBins
from engine.audit.block import AuditBlock
from engine.audit.evidence import smallest, upper_p
from engine.audit.findings import FAIL, Finding, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.numeric.matmul import matmul
from engine.types import FloatArray

NAME = "leaked_features"
ADVICE = (
    "the feature named depends on the action that was drawn: it was read after the decision; take it out, or log "
    "features as they were when the decision was taken"
)


class Independence:
    """Sums of f w, f w^2 and f target for every indicator and group, and of the same without f.

    Args:
        groups: of actions.
        bins: of features.
    """

    def __init__(self, groups: ActionGroups, bins: FeatureBins) -> None:
        self._groups, self._bins = groups, bins
        self._sums: FloatArray | None = None
        self._whole = np.zeros((3, len(groups.names)))

    def add(self, block: AuditBlock) -> None:
        features = block.features[block.rows]
        parts = (block.weight, block.weight * block.weight, block.target)
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
            return not_applicable(NAME, "the log has no features, or no propensities")
        if drawn.verdict == FAIL:
            return not_applicable(NAME, f"{drawn.check} fails: a leak cannot be told from a broken draw")
        own, rest = self._sums, self._whole[:, None, :] - self._sums
        sides = [upper_p(part[0] - part[2], part[1] - 2.0 * part[0] + part[2]) for part in (own, rest)]
        # "Any action" moves with the number of eligible actions alone; a leak shows in a group.
        p_values = np.minimum(1.0, 2.0 * np.min(sides, axis=0))[:, 1:]
        indicator, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        by_feature = p_values.min(axis=1)
        found = [self._bins.names[i] for i in np.argsort(by_feature) if by_feature[i] * p_values.size < rule.warn_error]
        said = f"{self._bins.names[indicator]} by {self._groups.names[group + 1]} is the least independent of the draw"
        what = f"{said}; {p_values.size} pairs tested"
        return tested(NAME, smallest(p_values), rule, what, ADVICE, indicators=found[:20])
