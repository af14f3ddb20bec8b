"""Logged rounds: batches of (context, eligible set, action, propensity, rewards) for learners and estimators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import BlockEligibility, unpacked
from engine.eligibility import unpack
from engine.errors import DataError
from engine.features import ContextBatch
from engine.sealing import sealed
from engine.types import BoolArray, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

# Readers cut a log at multiples of this many rows, whatever is asked for later, so that sums come out the same.
CHUNK_ROWS: Final = 4096
# Column of `RoundBatch.extra` that holds how much a row counts when a reward model is fitted; absent: all alike.
SAMPLE_WEIGHT: Final = "tactful.sample_weight"


@dataclass(frozen=True)
class RoundBatch:
    """n logged rounds.

    Attributes:
        chunk: position of the batch in its log, counted in chunks of `CHUNK_ROWS` rows before any filter.
        decision_id: (n,) strings.
        context: the features of the n rows.
        action: (n,) int32 in [0, k).
        propensity: (n,) in (0, 1], NaN where the log has none.
        eligible: (n, width) packed eligible sets: k bits, or the factors of a modular catalog.
        k: number of actions of the catalog.
        cluster: (n,) uint64; where the log declares none, a hash of the decision id (each row on its own).
        rewards: metric name -> (n,) floats, NaN where unknown or not yet matured.
        usable: (n,) bool: available and dispatched, so that the row may train and be evaluated.
        decided_at: (n,) int64 microseconds, `NOT_AN_INSTANT` where unknown.
        extra: other columns that were asked for, by name; floats or objects.
        modular: the catalog, where `eligible` holds its factors (`engine.content.eligibility`).
    """

    chunk: int
    decision_id: ObjectArray
    context: ContextBatch
    action: CodeArray
    propensity: FloatArray
    eligible: ByteArray
    k: int
    cluster: KeyArray
    rewards: Mapping[str, FloatArray]
    usable: BoolArray
    decided_at: IntArray
    extra: Mapping[str, ObjectArray]
    modular: Catalog | None = None

    @property
    def n(self) -> int:
        return len(self.action)

    def eligible_dense(self) -> BoolArray:
        """(n, k) bool; of a large catalog call it on few rows."""
        return unpack(self.eligible, self.k) if self.modular is None else self.eligible_blocks().dense()

    def eligible_blocks(self) -> BlockEligibility:
        """The eligible sets of a modular catalog.

        Raises:
            DataError: the catalog has no blocks.
        """
        if self.modular is None:
            raise DataError("the rounds are not of a modular catalog", hint="see docs/modular-content.md")
        return unpacked(self.eligible, self.modular)

    def eligible_counts(self) -> IntArray:
        """(n,) number of eligible actions."""
        if self.modular is not None:
            return self.eligible_blocks().counts()
        counts: IntArray = np.bitwise_count(self.eligible).sum(axis=1, dtype=np.int64)
        return counts

    def was_eligible(self) -> BoolArray:
        """(n,) whether the row's action was."""
        if self.modular is not None:
            return self.eligible_blocks().contains(self.action)
        byte = np.take_along_axis(self.eligible, (self.action // 8).astype(np.int64)[:, None], axis=1)[:, 0]
        was: BoolArray = (byte >> (self.action % 8).astype(np.uint8)) & 1 > 0
        return was

    def take(self, rows: slice | np.ndarray[Any, Any]) -> RoundBatch:
        """The rows of a slice, an index array or a mask."""
        return replace(self, context=self.context.take(rows), **self._each(lambda values: values[rows]))

    def sealed(self) -> RoundBatch:
        """The same rounds, in memory that no learner, reward model or target can write to (`engine.sealing`)."""
        return replace(self, context=self.context.sealed(), **self._each(sealed))

    def _each(self, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> dict[str, Any]:
        """Every array of the fields, changed."""
        arrays = {name: change(value) for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        maps = {
            name: {key: change(values) for key, values in getattr(self, name).items()} for name in ("rewards", "extra")
        }
        return arrays | maps
