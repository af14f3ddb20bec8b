"""Two packs on the same contacts: who gains and who loses which actions, and by which rules.

Works block by block and adds up; nothing grows with the number of contacts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.eligibility import pack
from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.judging import judge, removed
from engine.guardrails.layer import Guardrails
from engine.types import HOLD, BoolArray, ByteArray, IntArray, ObjectArray

# Flags of single pairs, rules x pairs, are built for so many contacts at a time.
BLOCK_ROWS: Final = 2048


@dataclass(frozen=True)
class BatchDifference:
    """What changes for n contacts when the second pack takes over from the first.

    Attributes:
        contact_id: (n,) ids.
        before / after: (n,) send actions left by the first and by the second pack.
        gained / lost: (n, ceil(k / 8)) packed bits of actions, as in a log's `eligible`.
        gained_count / lost_count: (n,) how many.
    """

    contact_id: ObjectArray
    before: IntArray
    after: IntArray
    gained: ByteArray
    lost: ByteArray
    gained_count: IntArray
    lost_count: IntArray


@dataclass
class Difference:
    """Sums over blocks.

    Attributes:
        contacts: seen.
        gainers / losers: contacts that gain, or lose, at least one action.
        held / freed: contacts left with hold alone by the second pack only, or by the first only.
        gained / lost: (k,) contacts that gain, or lose, each action.
        gained_by: rule of the first pack -> pairs gained that it had removed.
        lost_by: rule of the second pack -> pairs lost that it removes.
        gained_alone / lost_alone: of these, pairs that no other rule of that pack removes.
    """

    contacts: int = 0
    gainers: int = 0
    losers: int = 0
    held: int = 0
    freed: int = 0
    gained: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    lost: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    gained_by: Counter[str] = field(default_factory=Counter)
    lost_by: Counter[str] = field(default_factory=Counter)
    gained_alone: Counter[str] = field(default_factory=Counter)
    lost_alone: Counter[str] = field(default_factory=Counter)


class Comparison:
    """Adds up what changes from one pack to another.

    Args:
        first / second: bound to the same catalog.

    Raises:
        ParameterError: the catalogs differ.
    """

    def __init__(self, first: Guardrails, second: Guardrails) -> None:
        if first.catalog.version != second.catalog.version:
            raise ParameterError(
                "second", "Comparison", allowed=f"of the catalog {first.catalog.name!r}", got=second.catalog.name
            )
        self._first, self._second = first, second
        self.total = Difference(
            gained=np.zeros(first.catalog.k, dtype=np.int64), lost=np.zeros(first.catalog.k, dtype=np.int64)
        )

    @property
    def catalog(self) -> Catalog:
        return self._first.catalog

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """Columns beyond the core ones that either pack reads."""
        return tuple(sorted({*self._first.extra_inputs, *self._second.extra_inputs}))

    def add(self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID) -> BatchDifference:
        """Compare on n contacts; n x (k + pairs that change x rules) bytes, so call it on blocks of `BLOCK_ROWS`.

        Raises:
            ParameterError: a naive `now`, or contacts of another catalog.
        """
        before = self._first.eligibility(contacts, now, conditions)[0].dense()
        after = self._second.eligibility(contacts, now, conditions)[0].dense()
        gained, lost = after & ~before, before & ~after
        total = self.total
        _credit(self._first, contacts, now, conditions, gained, total.gained_by, total.gained_alone)
        _credit(self._second, contacts, now, conditions, lost, total.lost_by, total.lost_alone)
        left = [eligible.sum(axis=1) - 1 for eligible in (before, after)]
        many = [changed.sum(axis=1) for changed in (gained, lost)]
        total.contacts += contacts.n
        total.gainers += int(np.count_nonzero(many[0]))
        total.losers += int(np.count_nonzero(many[1]))
        total.held += int(np.count_nonzero((left[0] > 0) & (left[1] == 0)))
        total.freed += int(np.count_nonzero((left[0] == 0) & (left[1] > 0)))
        total.gained += gained.sum(axis=0)
        total.lost += lost.sum(axis=0)
        return BatchDifference(contacts.contact_id, left[0], left[1], pack(gained), pack(lost), many[0], many[1])


def _credit(
    guardrails: Guardrails,
    contacts: ContactBatch,
    now: datetime,
    conditions: Conditions,
    changed: BoolArray,
    every: Counter[str],
    alone: Counter[str],
) -> None:
    """Count, for pairs that one pack removes and the other does not, the rules that remove them."""
    rows = np.flatnonzero(changed.any(axis=1))
    if not len(rows):
        return
    scene = guardrails.scene(contacts.take(rows), now, conditions)
    pairs = np.flatnonzero(changed[rows])
    flags = {
        entry.id: ~removed(judge(rule, scene), len(rows), guardrails.catalog).dense().reshape(-1)[pairs]
        for entry, rule in guardrails.rules
    }
    reasons = np.sum(list(flags.values()), axis=0)
    for name, gone in flags.items():
        every[name] += int(np.count_nonzero(gone))
        alone[name] += int(np.count_nonzero(gone & (reasons == 1)))


def by_axis(catalog: Catalog, counts: IntArray) -> dict[str, dict[str, int]]:
    """(k,) pairs per action -> pairs per channel, per arm and per hour."""
    cells = counts[HOLD + 1 :].reshape(catalog.shape)
    axes = {"channel": (catalog.channels, (1, 2)), "hour": (catalog.hours, (0, 2)), "arm": (catalog.arm_ids, (0, 1))}
    return {
        axis: {str(name): int(many) for name, many in zip(names, cells.sum(axis=others), strict=True)}
        for axis, (names, others) in axes.items()
    }
