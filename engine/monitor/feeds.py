"""Feeds: the share of stale values by feature and day, and of decisions about contacts who may be written to.

A contact may be written to who said yes to promotional messages on some channel; where the log keeps no rule inputs,
one for whom some send was eligible (which caps lower too).
"""

from __future__ import annotations

import numpy as np

from engine.audit.checks.consent import Consent
from engine.audit.windows import DaySums
from engine.catalog import Catalog
from engine.contacts.contacts import YES
from engine.features import STALE, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import PURPOSES, BoolArray, FloatArray, IntArray


class FeedSums:
    """Rows, rows of contacts who may be written to, and stale rows by feature, by day; mergeable.

    Args:
        schema: schema of the features.
        catalog: catalog of the actions.
    """

    def __init__(self, schema: FeatureSchema, catalog: Catalog) -> None:
        self.features = schema.names
        self._days = DaySums()
        self._consent = Consent(catalog)

    def add(self, batch: RoundBatch, day: IntArray) -> None:
        """Add rows of a batch."""
        stale = [batch.context.columns[name].state == STALE for name in self.features]
        table = np.column_stack([np.ones(batch.n), self._reached(batch), *stale]).astype(np.float64)
        self._days.add(day, lambda rows: table[rows].sum(axis=0))

    def _reached(self, batch: RoundBatch) -> BoolArray:
        # More than the first bit, which is hold.
        reached = batch.eligible[:, 1:].any(axis=1) | ((batch.eligible[:, 0] & 0xFE) > 0)
        said = [self._consent.levels(raw) for raw in batch.extra["rule_inputs"]]
        known = np.array([levels is not None for levels in said], dtype=np.bool_)
        if known.any():
            levels = np.array([one for one in said if one is not None]).reshape(int(known.sum()), -1, len(PURPOSES))
            reached[known] = (levels[:, :, PURPOSES.index("promotional")] == YES).any(axis=1)
        return reached

    def merge(self, other: FeedSums) -> None:
        """Take over the sums of another part."""
        self._days.merge(other._days)

    @property
    def days(self) -> list[int]:
        return self._days.days

    def reach(self) -> FloatArray:
        """(days,) share of decisions in which some send was eligible."""
        table = self._table()
        share: FloatArray = table[:, 1] / np.maximum(table[:, 0], 1.0)
        return share

    def stale(self) -> FloatArray:
        """(days, features) share of stale values."""
        table = self._table()
        share: FloatArray = table[:, 2:] / np.maximum(table[:, :1], 1.0)
        return share

    def _table(self) -> FloatArray:
        return np.array([self._days.of(day) for day in self.days]).reshape(len(self.days), 2 + len(self.features))
