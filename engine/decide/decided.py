"""What came of a batch of decisions: taken now or read from the store, and summed over batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.content.eligibility import is_modular
from engine.guardrails.counts import RemovalCounts, Unknowns
from engine.limits.reasons import recorded_reasons
from engine.records import schema as records
from engine.state.reading.stricter import Beside
from engine.types import HOLD, BoolArray, CodeArray, IntArray


@dataclass(frozen=True)
class Decided:
    """A batch of decisions.

    Attributes:
        table: rows in the log's schema.
        action: (n,) chosen actions.
        removed: what the guardrails removed.
        suppressed: (n,) sends that are recorded as suppressed.
        reasons: cap -> sends that it refused.
        limited: set-level limit -> contacts from whom it took some send.
        unknowns: contacts of whom the rules could not know something.
        beside: what the contact file said beside a state store.
        read: of the rows, those that were decided by an earlier run and read from the store.
        sequence: number of the store's newest change among the rows; 0 without a store.
    """

    table: pa.Table
    action: CodeArray
    removed: RemovalCounts
    suppressed: BoolArray
    reasons: Mapping[str, int] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)
    unknowns: Unknowns = field(default_factory=Unknowns)
    beside: Beside = field(default_factory=Beside)
    read: int = 0
    sequence: int = 0


@dataclass
class Summary:
    """Sums over batches of decisions.

    Attributes:
        by_action: action index -> times chosen; without what was suppressed at once.
        removed: sums of the batches' removals.
        suppressed: sends that were suppressed at once.
        reasons / limited / unknowns / beside / read: sums of those of `Decided`.
        sequence: the largest of the batches'.
    """

    by_action: dict[int, int] = field(default_factory=dict)
    removed: RemovalCounts = field(default_factory=RemovalCounts)
    suppressed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    unknowns: Unknowns = field(default_factory=Unknowns)
    beside: Beside = field(default_factory=Beside)
    read: int = 0
    sequence: int = 0

    def add(self, decided: Decided) -> None:
        for action, times in zip(*np.unique(decided.action[~decided.suppressed], return_counts=True), strict=True):
            self.by_action[int(action)] = self.by_action.get(int(action), 0) + int(times)
        self.removed = self.removed + decided.removed
        self.suppressed += int(decided.suppressed.sum())
        self.reasons.update(decided.reasons)
        self.limited.update(decided.limited)
        self.unknowns = self.unknowns + decided.unknowns
        self.beside = self.beside + decided.beside
        self.read += decided.read
        self.sequence = max(self.sequence, decided.sequence)

    def sends(self, catalog: Catalog) -> Mapping[str, int]:
        """Action name -> times sent."""
        return {catalog.action_names[a]: times for a, times in sorted(self.by_action.items()) if a != HOLD}


def read_back(catalog: Catalog, table: pa.Table, sequence: int) -> Decided:
    """Decisions of an earlier run as they were recorded."""
    action: CodeArray = table.column("action").to_numpy().astype(np.int32)
    eligible = np.array([int.from_bytes(bits, "little") for bits in table.column("eligible").to_pylist()], dtype=object)
    inputs = [recorded_reasons(one) for one in table.column("rule_inputs").to_pylist()]
    suppressed = np.array(table.column("state").cast(pa.string()).to_numpy() == records.SUPPRESSED, dtype=np.bool_)
    held = int((eligible == 1 << HOLD).sum()) if not is_modular(catalog) else 0
    return Decided(
        table,
        action,
        RemovalCounts(contacts=len(action), sends=catalog.k - 1, held=held),
        suppressed,
        Counter(reason for one in inputs for reason in one.refused),
        Counter(name for one in inputs for name in {shortage.limit for shortage in one.limits}),
        read=len(action),
        sequence=sequence,
    )


def joined(one: Decided, one_rows: IntArray, other: Decided, other_rows: IntArray) -> Decided:
    """Two parts of a batch, in the order of its rows."""
    order = pa.array(np.argsort(np.concatenate([one_rows, other_rows]), kind="stable"))
    table = pa.concat_tables([one.table, other.table.cast(one.table.schema)]).unify_dictionaries().combine_chunks()
    return Decided(
        table.take(order),
        np.concatenate([one.action, other.action])[order.to_numpy()],
        one.removed + other.removed,
        np.concatenate([one.suppressed, other.suppressed])[order.to_numpy()],
        Counter(one.reasons) + Counter(other.reasons),
        Counter(one.limited) + Counter(other.limited),
        one.unknowns + other.unknowns,
        one.beside + other.beside,
        read=one.read + other.read,
        sequence=max(one.sequence, other.sequence),
    )
