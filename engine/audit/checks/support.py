"""Could every eligible action be drawn? What the propensities themselves say about it."""

from __future__ import annotations

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.findings import FAIL, PASS, WARN, Finding
from engine.audit.groups import ActionGroups
from engine.records.schema import UNIFORM_SLICE, LogMeta
from engine.types import FloatArray

_TOLERANCE = 1e-6


class Support:
    """Extremes of the propensities; mergeable.

    Args:
        groups: groups of actions whose draws are counted.
    """

    def __init__(self, groups: ActionGroups) -> None:
        k, count = groups.member.shape
        self._low, self._high = np.full(k, np.inf), np.zeros(k)
        self._even = np.array([np.inf, 0.0])
        self._sizes = np.array([np.inf, 0.0])
        self._narrowest = np.ones(count)
        self.slice_rows = 0
        self.rows = 0
        self.below_one = 0

    def add(self, batch: AuditBatch) -> None:
        if not len(batch.rows):
            return
        rounds, rows = batch.rounds, batch.rows
        propensity, action = rounds.propensity[rows], rounds.action[rows]
        np.minimum.at(self._low, action, propensity)
        np.maximum.at(self._high, action, propensity)
        even = propensity * batch.eligible_count
        self._even = np.array([min(self._even[0], even.min()), max(self._even[1], even.max())])
        size = batch.eligible_count
        self._sizes = np.array([min(self._sizes[0], size.min()), max(self._sizes[1], size.max())])
        share = np.where(batch.share > 0, batch.share, 1.0).min(axis=0)
        self._narrowest = np.minimum(self._narrowest, share)
        self.slice_rows += int((batch.group[rows] == UNIFORM_SLICE).sum())
        self.rows += len(rows)
        self.below_one += int((propensity < 1.0).sum())

    def merge(self, other: Support) -> None:
        self._low, self._high = np.minimum(self._low, other._low), np.maximum(self._high, other._high)
        self._even = np.array([min(self._even[0], other._even[0]), max(self._even[1], other._even[1])])
        self._sizes = np.array([min(self._sizes[0], other._sizes[0]), max(self._sizes[1], other._sizes[1])])
        self._narrowest = np.minimum(self._narrowest, other._narrowest)
        self.slice_rows += other.slice_rows
        self.rows += other.rows
        self.below_one += other.below_one

    @property
    def even(self) -> bool:
        """Every propensity is 1 / the number of eligible actions."""
        return bool(self.rows) and bool(np.all(np.abs(self._even - 1.0) < _TOLERANCE))

    @property
    def constant(self) -> FloatArray | None:
        """(k,) the propensity of each action, where it never changes and those that were seen sum to 1; else None."""
        seen = self._high > 0
        alike = np.all(self._high[seen] - self._low[seen] < _TOLERANCE)
        if not self.rows or not alike or self._sizes[0] != self._sizes[1]:
            return None
        fixed = np.where(seen, self._high, 0.0)
        whole = abs(fixed.sum() - 1.0) < 1e-4 and seen.sum() == self._sizes[0]
        return fixed / fixed.sum() if whole else None

    @property
    def full(self) -> bool:
        """Every eligible action had a chance: there is a uniform slice, or the propensities leave nothing over."""
        return self.slice_rows > 0 or self.even or self.constant is not None

    def largest_weight(self) -> FloatArray:
        """(G,) bound of the weights of a group's policy under full support, from the smallest propensity seen."""
        return np.asarray(1.0 / (self._narrowest * max(self._even[0], 1e-12)), dtype=np.float64)


PROPENSITIES = "propensities"


def propensities(meta: LogMeta, support: Support, available: int) -> Finding:
    """Drawn rows without a propensity, and the share of rows in which something else could have been drawn."""
    if meta.propensity != "logged":
        advice = "log the probability of each choice, or give it in the mapping; until then nothing here is exact"
        return Finding(PROPENSITIES, FAIL, 1.0, None, 0.0, "the log has no propensities", advice)
    absent = (available - support.rows) / available if available else 1.0
    if absent:
        what = (
            f"{available - support.rows} of {available} drawn rows have no propensity"
            if available
            else ("nothing was drawn in any row: everybody is in control or not available")
        )
        return Finding(PROPENSITIES, FAIL, absent, None, 0.0, what, "log the probability of every choice")
    explored = support.below_one / support.rows
    what = f"{explored:.1%} of the drawn rows could have gone otherwise"
    if not support.below_one:
        advice = "without exploration the log says nothing of any other policy: decide with a uniform slice"
        return Finding(PROPENSITIES, WARN, absent, None, 0.0, what, advice)
    return Finding(
        PROPENSITIES, PASS, absent, None, 0.0, what, details={"explored": explored, "full_support": support.full}
    )
