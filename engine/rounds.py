"""Logged rounds: blocks of (context, eligible set, action, propensity, rewards) for learners and estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from engine.eligibility import unpack
from engine.features import ContextBlock
from engine.types import BoolArray, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

# Readers cut a log at multiples of this many rows, whatever is asked for later, so that sums come out the same.
CHUNK_ROWS: Final = 4096
# Column of `RoundBlock.extra` that holds how much a row counts when a reward model is fitted; absent: all alike.
SAMPLE_WEIGHT: Final = "tactful.sample_weight"


@dataclass(frozen=True)
class RoundBlock:
    """n logged rounds.

    Attributes:
        chunk: position of the block in its log, counted in chunks of `CHUNK_ROWS` rows before any filter.
        decision_id: (n,) strings.
        context: of the n rows.
        action: (n,) int32 in [0, k).
        propensity: (n,) in (0, 1], NaN where the log has none.
        eligible: (n, ceil(k / 8)) packed bits.
        k: number of actions of the catalog.
        cluster: (n,) uint64; where the log declares none, a hash of the decision id (each row on its own).
        rewards: metric name -> (n,) floats, NaN where unknown or not yet matured.
        usable: (n,) bool: available and dispatched, so that the row may train and be evaluated.
        decided_at: (n,) int64 microseconds, `NOT_AN_INSTANT` where unknown.
        extra: other columns that were asked for, by name; floats or objects.
    """

    chunk: int
    decision_id: ObjectArray
    context: ContextBlock
    action: CodeArray
    propensity: FloatArray
    eligible: ByteArray
    k: int
    cluster: KeyArray
    rewards: Mapping[str, FloatArray]
    usable: BoolArray
    decided_at: IntArray
    extra: Mapping[str, ObjectArray]

    @property
    def n(self) -> int:
        return len(self.action)

    def eligible_dense(self) -> BoolArray:
        """(n, k) bool."""
        return unpack(self.eligible, self.k)

    def take(self, rows: slice | np.ndarray[Any, Any]) -> RoundBlock:
        """The rows of a slice, an index array or a mask."""
        return replace(
            self,
            decision_id=self.decision_id[rows],
            context=self.context.take(rows),
            action=self.action[rows],
            propensity=self.propensity[rows],
            eligible=self.eligible[rows],
            cluster=self.cluster[rows],
            rewards={name: values[rows] for name, values in self.rewards.items()},
            usable=self.usable[rows],
            decided_at=self.decided_at[rows],
            extra={name: values[rows] for name, values in self.extra.items()},
        )
