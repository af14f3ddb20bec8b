"""The interface of contact state: four narrow protocols, which `SqlState` implements all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.state.facts import Fact
from engine.state.sends.caps import SendRequest, SendRule
from engine.types import IntArray, ObjectArray


@dataclass(frozen=True)
class Reserved:
    """A send that its holder may go on with.

    Attributes:
        decision_id: id that was asked for.
        send_at: the instant that is reserved.
        lease_until: from then on the reservation is free again, unless the send is being dispatched by then.
        state: reserved, dispatching or dispatched.
        fresh: false where the same decision held it already.
    """

    decision_id: str
    send_at: int
    lease_until: int
    state: str
    fresh: bool


@dataclass(frozen=True)
class Refused:
    """A send that must not happen.

    Attributes:
        decision_id: id that was asked for.
        reasons: names of the caps that it would break, or the state that the send is in.
        next_allowed_at: first instant at which the caps would let the same send pass; None where there is none.
    """

    decision_id: str
    reasons: tuple[str, ...]
    next_allowed_at: int | None = None


@dataclass(frozen=True)
class History:
    """Sends and events of n contacts, row i's in `[offsets[i], offsets[i + 1])`, oldest first.

    Attributes:
        sent_offsets / event_offsets: (n + 1,) int64.
        sent_at / event_at: (m,) int64 microseconds.
        sent_channel, sent_purpose, sent_topic, sent_template, sent_category, sent_state: (m,) strings.
        event_kind, event_channel, event_category: (e,) strings or None.
    """

    sent_offsets: IntArray
    sent_at: IntArray
    sent_channel: ObjectArray
    sent_purpose: ObjectArray
    sent_topic: ObjectArray
    sent_template: ObjectArray
    sent_category: ObjectArray
    sent_state: ObjectArray
    event_offsets: IntArray
    event_at: IntArray
    event_kind: ObjectArray
    event_channel: ObjectArray
    event_category: ObjectArray


class StateReader(Protocol):
    """Reads what is known of many contacts at once.

    `batch(contact_ids, catalog, now_at)` is what the guardrail rules read; `history(contact_ids, now_at)` the sends and
    events in full.
    """

    def batch(
        self, contact_ids: ObjectArray, catalog: Catalog, *, now_at: int, without: Sequence[str] = ()
    ) -> ContactBatch: ...

    def history(self, contact_ids: ObjectArray, *, now_at: int) -> History: ...


class StateWriter(Protocol):
    """Takes facts in, all or none, durable on return; a fact that is known already changes nothing.

    `record` answers how many changed the store.
    """

    def record(self, facts: Sequence[Fact]) -> int: ...


class SendReserver(Protocol):
    """Promises sends. `reserve` is one transaction; `expire` frees the promises of holders that died."""

    def reserve(
        self,
        requests: Sequence[SendRequest],
        rules: Sequence[SendRule],
        *,
        now_at: int,
        lease_s: float,
        strict: bool = True,
    ) -> tuple[Reserved | Refused, ...]: ...

    def expire(self, *, now_at: int) -> int: ...


class SendDispatcher(Protocol):
    """Sees a reserved send out. Only the caller to whom `dispatch` answers `Reserved` may hand it to the provider."""

    def dispatch(self, decision_id: str, rules: Sequence[SendRule], *, now_at: int) -> Reserved | Refused: ...

    def settle(self, decision_id: str, state: str, *, now_at: int, reason: str = "") -> bool: ...
