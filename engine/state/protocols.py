"""What contact state answers, and the protocol by which it is read; `SqlState` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
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
