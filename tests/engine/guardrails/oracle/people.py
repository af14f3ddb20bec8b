"""A contact, a send and the sender as the oracle knows them: plain values, None where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch
from engine.guardrails.conditions import Conditions
from engine.types import NOT_AN_INSTANT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PROMOTIONAL, TRANSACTIONAL = "promotional", "transactional"
PURPOSES = (PROMOTIONAL, TRANSACTIONAL)
BASES = ("express_written", "express", "implied_purchase", "implied_inquiry", "soft_opt_in")


@dataclass(frozen=True)
class Sent:
    """One send; `channel` is "elsewhere" where the catalog does not have it."""

    at: datetime
    channel: str
    purpose: str
    topic: str | None = None
    template: str | None = None
    category: str | None = None
    discount: float | None = None


@dataclass(frozen=True)
class Event:
    at: datetime
    kind: str
    channel: str | None
    category: str | None


@dataclass(frozen=True)
class Consent:
    """What is recorded for one channel and purpose."""

    state: str | None
    at: datetime | None = None
    basis: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Person:
    """Everything known of one contact; `facts` holds the further columns, None where missing."""

    name: str
    zone: str | None
    locale: str | None
    consent: Mapping[tuple[str, str], Consent]
    suppressed: Mapping[str, bool | None]
    sends: tuple[Sent, ...] | None
    events: tuple[Event, ...] | None
    stops: frozenset[str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Action:
    """One send action."""

    channel: str
    hour: int | str
    arm: Arm


@dataclass(frozen=True)
class Setting:
    """The instant, the catalog and the sender's side."""

    now: datetime
    catalog: Catalog
    margin: timedelta
    world: Conditions


def moment(instant: int) -> datetime | None:
    return None if instant == NOT_AN_INSTANT else EPOCH + int(instant) * MICROSECOND


def people_of(batch: ContactBatch, catalog: Catalog) -> list[Person]:
    return [_person(batch, row, catalog) for row in range(batch.n)]


def _person(batch: ContactBatch, row: int, catalog: Catalog) -> Person:
    return Person(
        name=str(batch.contact_id[row]),
        zone=_level(batch.zones, batch.zone_code[row]),
        locale=_level(batch.locales, batch.locale_code[row]),
        consent={
            (channel, purpose): _consent(batch, row, c, p)
            for c, channel in enumerate(catalog.channels)
            for p, purpose in enumerate(PURPOSES)
        },
        suppressed={
            channel: {0: False, 1: True}.get(int(batch.suppressed[row, c]))
            for c, channel in enumerate(catalog.channels)
        },
        sends=_sends(batch, row, catalog) if batch.history_known[row] else None,
        events=_events(batch, row, catalog),
        stops=_stops(batch, row, catalog),
        facts={name: _fact(batch, name, row) for name in batch.extra if not name.startswith("consent_")},
        details=frozenset(batch.sent_details),
    )


def _level(levels: tuple[str, ...], code: int) -> str | None:
    return None if code < 0 else levels[code]


def _consent(batch: ContactBatch, row: int, c: int, p: int) -> Consent:
    state = {1: "granted", 0: "denied"}.get(int(batch.consent[row, c, p]))

    def cell(name: str) -> Any:
        return batch.extra[name][row, c, p] if name in batch.extra else None

    at, basis, expires = cell("consent_at"), cell("consent_basis"), cell("consent_expires_at")
    return Consent(
        state,
        None if at is None else moment(int(at)),
        None if basis is None else _level(BASES, int(basis)),
        None if expires is None else moment(int(expires)),
    )


def _sends(batch: ContactBatch, row: int, catalog: Catalog) -> tuple[Sent, ...]:
    found = []
    for s in range(batch.sent_offsets[row], batch.sent_offsets[row + 1]):
        discount = batch.sent_details.get("sent_discount")
        found.append(
            Sent(
                EPOCH + int(batch.sent_at[s]) * MICROSECOND,
                _level(catalog.channels, batch.sent_channel[s]) or "elsewhere",
                PURPOSES[batch.sent_purpose[s]],
                _detail(batch, "sent_topic", s),
                _detail(batch, "sent_template", s),
                _detail(batch, "sent_category", s),
                None if discount is None or discount[s] != discount[s] else float(discount[s]),
            )
        )
    return tuple(found)


def _detail(batch: ContactBatch, name: str, s: int) -> str | None:
    column = batch.sent_details.get(name)
    found = None if column is None else _level(batch.levels[name], int(column[s]))
    return (found or "").strip() or None


def _events(batch: ContactBatch, row: int, catalog: Catalog) -> tuple[Event, ...] | None:
    events = batch.events
    if events is None or not events.known[row]:
        return None
    return tuple(
        Event(
            EPOCH + int(events.at[e]) * MICROSECOND,
            EVENTS[events.kind[e]],
            _level(catalog.channels, int(events.channel[e])),
            _level(events.categories, int(events.category[e])),
        )
        for e in range(events.offsets[row], events.offsets[row + 1])
    )


def _stops(batch: ContactBatch, row: int, catalog: Catalog) -> frozenset[str]:
    """Channels on which the contact unsubscribed, complained or bounced; all of them where the channel is not told."""
    events, found = batch.events, set()
    if events is None:
        return frozenset()
    for e in range(events.offsets[row], events.offsets[row + 1]):
        if EVENTS[events.kind[e]] in ("hard_bounced", "complained", "unsubscribed"):
            channel = int(events.channel[e])
            found |= set(catalog.channels) if channel == -2 else {_level(catalog.channels, channel)} - {None}
    return frozenset(str(channel) for channel in found)


def _fact(batch: ContactBatch, name: str, row: int) -> Any:
    value = batch.extra[name][row]
    if name in batch.levels:
        return _level(batch.levels[name], int(value))
    if isinstance(value, float):  # numpy's float64 is one, too
        return None if value != value else float(value)
    return value
