"""What a guardrail rule is: from a scene to a verdict, and a finding that explains it.

A rule is a frozen `msgspec.Struct` whose fields are its parameters in the pack. It never sees the policy, never looks
at the clock, and writes its verdict as factors, so that no rule loops over actions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from engine.catalog import NOW, Catalog
from engine.contacts.contacts import ContactBatch
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.time.localtime import slot_instants
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray


@dataclass(frozen=True)
class Scene:
    """What the rules judge: contacts, the catalog, and one instant.

    Attributes:
        catalog: the actions.
        contacts: n contacts.
        now_at: the decision's instant, microseconds.
        latency_margin_s: the longest delay between a planned instant and the real send, seconds.
        conditions: the sender's side: use case, volumes, rates, switches.
    """

    catalog: Catalog
    contacts: ContactBatch
    now_at: int
    latency_margin_s: int
    conditions: Conditions = NOTHING_SAID

    def sealed(self) -> Scene:
        """The same for a rule that is not ours: it can change neither what other rules see nor what is logged."""
        return replace(self, catalog=self.catalog.handed_out, contacts=self.contacts.sealed())

    @property
    def margin_us(self) -> int:
        return self.latency_margin_s * MICROSECONDS_PER_S

    @cached_property
    def slots(self) -> IntArray:
        """(Z + 1, H) planned instants by zone; the last row (zone code -1) is the unknown zone: only "now" is known."""
        hours = self.catalog.hours
        unknown = [self.now_at if hour == NOW else NOT_AN_INSTANT for hour in hours]
        return np.vstack([slot_instants(self.contacts.zones, hours, self.now_at), [unknown]])

    @cached_property
    def planned(self) -> IntArray:
        """(n, H) planned instants."""
        return self.slots[self.contacts.zone_code]

    def zone(self, row: int) -> str | None:
        """The contact's zone, None where unknown."""
        code = int(self.contacts.zone_code[row])
        return None if code < 0 else self.contacts.zones[code]


@dataclass(frozen=True)
class Verdict:
    """What a rule removes: an action is removed where either factor is true.

    Attributes:
        channel_arm: broadcastable to (n, C, K) with first axis n, or None: nothing by arm.
        channel_hour: broadcastable to (n, P, C, H) with first axis n, or None: nothing by hour.
    """

    channel_arm: BoolArray | None = None
    channel_hour: BoolArray | None = None


@dataclass(frozen=True)
class Cell:
    """One send action: positions on the catalog's axes, and the purpose position of its arm."""

    channel: int
    hour: int
    arm: int
    purpose: int


@dataclass(frozen=True)
class Finding:
    """Why a rule removed one action of one contact.

    Attributes:
        observed: the value that the rule read.
        limit: what would have been allowed.
        reason: a short sentence for people.
        next_allowed_at: first later instant, microseconds, at which the same rule lets a decision for this action
            pass if nothing else changes; None where no such instant is known.
    """

    observed: Any
    limit: Any
    reason: str
    next_allowed_at: int | None = None


@runtime_checkable
class Rule(Protocol):
    """A guardrail.

    `reads` names the inputs without which everything in the rule's scope is removed: `zone`, `consent`, `suppressed`,
    `sends` (the rule sees their unknown values and must remove) or columns of `ContactBatch.extra` (the rule never sees
    a contact without them: the layer removes). `applies_to` are the purposes in its scope.

    A rule may also have `may_read`: further inputs that the reader of contacts loads, and without which the rule judges
    by itself what to remove.

    `verdict(scene)` judges all contacts and must be a pure function. `explain(scene, row, cell)` is asked only for
    actions that `verdict` removed, in a scene that may hold a single contact.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...

    @property
    def applies_to(self) -> tuple[str, ...]: ...

    def verdict(self, scene: Scene) -> Verdict: ...

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding: ...


def purpose_mask(purposes: tuple[str, ...]) -> BoolArray:
    """(P,) bool: which purposes are named."""
    return np.array([purpose in purposes for purpose in PURPOSES], dtype=np.bool_)
