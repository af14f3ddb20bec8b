"""Taking facts in: one transaction, and a fact that is known already changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from engine.errors import DataError, ParameterError
from engine.state.facts import Consent, Event, Fact, PastSend, Profile, Suppression, fact_id, former_event_id, stop_of
from engine.state.replies import given_back
from engine.state.sends.reservations import lock_contacts
from engine.state.sequence import changing
from engine.state.tables import CONSENT, CONTACT, DISPATCHED, EVENT, SEND, SEND_OWED, SEND_STEP, SUPPRESSION
from engine.storage.database import among, insert, insert_missing

_APPENDED: Final = {Consent: CONSENT, Suppression: SUPPRESSION}
# What the row of an event with an id says besides its key.
_TOLD: Final = ("contact_id", "kind", "at", "decision_id", "channel", "category", "value_usd")
_SENT: Final = ("contact_id", "channel", "purpose")
# What only a send says that was recorded without a reservation: a reservation has its own planned instant and details.
_IMPORTED_SENT: Final = ("at", "topic", "template", "category", "discount")
_KEPT: Final = (
    *("region", "country", "area_code", "locale", "history_from_at"),
    *("line_type", "lists", "motive_price", "due_at"),
)
_IMPORTED: Final = "recorded without a reservation"

Row = dict[str, Any]


class KnownOtherwiseError(DataError):
    """A fact whose key is known with other content.

    Attributes:
        position: place of the fact among those given.
    """

    def __init__(self, position: int, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.position = position


@dataclass(frozen=True)
class FactWriter:
    """Writes facts to one store.

    Attributes:
        engine: database, from `open_database`.
    """

    engine: sa.Engine

    def record(self, facts: Sequence[Fact]) -> int:
        """Write facts in one transaction; they are on the disk when this returns.

        An event that closes its channel (`STOP_KINDS`) leaves the suppression that it stands for beside it.

        Returns:
            How many facts changed the store; the others were known, or older than what was.

        Raises:
            ParameterError: something that is no fact; nothing is written.
            KnownOtherwiseError: an event or a past send whose key is known with other content; nothing is written.
            StorageError: the store refused; nothing is written.
        """
        strange = [fact for fact in facts if not isinstance(fact, Fact)]
        if strange:
            raise ParameterError(
                "facts", "record", allowed="facts of engine.state.facts", got=type(strange[0]).__name__
            )
        with changing(self.engine, "record facts") as (connection, _):
            new = _write_sends(connection, facts)
            new += _write_profiles(connection, [fact for fact in facts if isinstance(fact, Profile)])
            for kind, table in _APPENDED.items():
                new += len(_append(connection, table, [_row(fact) for fact in facts if isinstance(fact, kind)]))
            new += _write_events(connection, facts)
            _append(connection, CONSENT, [_row(consent) for consent in given_back(connection, facts)])
            _append(connection, SUPPRESSION, [_row(stop) for stop in _stops(facts)])
        return new


def _stops(facts: Sequence[Fact]) -> list[Suppression]:
    """The suppressions that events stand for: whoever reports a complaint need not record that it counts."""
    stops = [stop_of(fact) for fact in facts if isinstance(fact, Event)]
    return [stop for stop in stops if stop is not None]


def _row(fact: Fact) -> Row:
    # Not `asdict`: it copies every value deeply, which took most of the time of a large import.
    row = dict(vars(fact))
    if isinstance(fact, Consent | Suppression | Event):
        row["fact_id"] = fact_id(fact)
    if isinstance(fact, Event):
        row["event_id"] = fact.event_id or None
    return row


def _append(connection: sa.Connection, table: sa.Table, rows: list[Row]) -> set[str]:
    """The keys that were new."""
    if not rows:
        return set()
    # In one order everywhere: two processes that insert the same keys would else wait in a circle.
    rows.sort(key=lambda row: str(row["fact_id"]))
    return set(connection.execute(insert_missing(connection, table).returning(table.c.fact_id), rows).scalars())


def _write_events(connection: sa.Connection, facts: Sequence[Fact]) -> int:
    """Events: a repeat is known by its key and must say the same, or something that happened would be lost."""
    rows: dict[str, Row] = {}
    given: dict[str, tuple[int, Event]] = {}
    for position, fact in enumerate(facts):
        if not isinstance(fact, Event):
            continue
        row = _row(fact)
        key = str(row["fact_id"])
        _require_same_event(rows.setdefault(key, row), row, position, fact)
        given.setdefault(key, (position, fact))
    former = _former(connection, [fact for _, fact in given.values() if fact.event_id])
    for key, (_, fact) in given.items():
        before = former.get(former_event_id(fact)) if fact.event_id else None
        if before is not None and all(before[name] == rows[key][name] for name in _TOLD):
            del rows[key]
    new = _append(connection, EVENT, list(rows.values()))
    again = [key for key in rows if key not in new and rows[key]["event_id"]]
    stored = sa.select(EVENT).where(among(connection, EVENT.c.fact_id, again)) if again else None
    for found in connection.execute(stored).mappings() if stored is not None else ():
        key = str(found["fact_id"])
        _require_same_event(dict(found), rows[key], *given[key])
    return len(new)


def _former(connection: sa.Connection, events: Sequence[Event]) -> dict[str, Row]:
    """Rows that were written when an event's id alone was its key."""
    if not events:
        return {}
    keys = among(connection, EVENT.c.fact_id, [former_event_id(event) for event in events])
    return {row["fact_id"]: dict(row) for row in connection.execute(sa.select(EVENT).where(keys)).mappings()}


def _require_same_event(known: Row, row: Row, position: int, event: Event) -> None:
    other = [name for name in _TOLD if known[name] != row[name]]
    if other:
        said = " and ".join(f"{name} {known[name]!r}, here {row[name]!r}" for name in other[:3])
        source = f" of source {event.source!r}" if event.source else ""
        raise KnownOtherwiseError(
            position,
            f"event {event.event_id!r}{source} ({event.kind}) of this contact is known otherwise: {said}",
            hint="an id names one event of its source, contact and kind; give every event its own id, or its `source`",
        )


def _write_profiles(connection: sa.Connection, profiles: Sequence[Profile]) -> int:
    rows = [{**_row(profile), "zone_observed_at": profile.observed_at} for profile in profiles]
    for row in rows:
        if row["zone"] is None:
            row["zone_observed_at"] = row["zone_source"] = None
    if not rows:
        return 0
    statement = insert(connection, CONTACT)
    given = statement.excluded
    values: Row = {"observed_at": given.observed_at}
    for name in _KEPT:
        values[name] = sa.func.coalesce(given[name], CONTACT.c[name])
    # A zone comes with its own source and instant, or not at all: they must never mix with another zone's.
    for name in ("zone", "zone_source", "zone_observed_at"):
        values[name] = sa.case((given.zone.is_not(None), given[name]), else_=CONTACT.c[name])
    says_more = sa.or_(*(CONTACT.c[name].is_distinct_from(value) for name, value in values.items()))
    newer = sa.and_(CONTACT.c.observed_at <= given.observed_at, says_more)
    statement = statement.on_conflict_do_update(index_elements=["contact_id"], set_=values, where=newer)
    ordered = sorted(rows, key=lambda row: (row["contact_id"], row["observed_at"]))
    return len(connection.execute(statement.returning(CONTACT.c.contact_id), ordered).all())


def _write_sends(connection: sa.Connection, facts: Sequence[Fact]) -> int:
    """What really went out counts, also where its reservation was released or failed."""
    given = [(position, fact) for position, fact in enumerate(facts) if isinstance(fact, PastSend)]
    if not given:
        return 0
    lock_contacts(connection, sorted({send.contact_id for _, send in given}))
    first: dict[str, PastSend] = {}
    for position, send in given:
        _require_same_send(vars(first.setdefault(send.decision_id, send)), send, position, imported=True)
    ids = among(connection, SEND.c.decision_id, list(first))
    known = {row["decision_id"]: dict(row) for row in connection.execute(sa.select(SEND).where(ids)).mappings()}
    for position, send in given:
        if send.decision_id in known:
            row = known[send.decision_id]
            _require_same_send(row, send, position, imported=row["state"] == DISPATCHED and row["step"] == 0)
    statement = insert(connection, SEND)
    going = statement.excluded
    upsert = statement.on_conflict_do_update(
        index_elements=["decision_id"],
        set_={"at": going.at, "state": DISPATCHED, "step": SEND.c.step + 1},
        where=SEND.c.state != DISPATCHED,
    ).returning(SEND.c.decision_id, SEND.c.step)
    rows = [
        {**_row(send), "planned_at": send.at, "state": DISPATCHED, "lease_until": send.at, "step": 0}
        for _, send in sorted(first.items())
    ]
    changed: dict[str, int] = {row.decision_id: row.step for row in connection.execute(upsert, rows)}
    steps = [
        {"decision_id": key, "step": step, "state": DISPATCHED, "at": first[key].at, "reason": _IMPORTED}
        for key, step in changed.items()
    ]
    if steps:
        connection.execute(sa.insert(SEND_STEP), steps)
    # A decision's own send, of which no outcome file says that it left.
    owed = [{"decision_id": key, "event": DISPATCHED, "at": first[key].at} for key in changed if key in known]
    if owed:
        connection.execute(insert_missing(connection, SEND_OWED), owed)
    return len(changed)


def _require_same_send(known: Mapping[str, Any], send: PastSend, position: int, *, imported: bool) -> None:
    """Refuse a send that is known otherwise: left out in silence, it would not count."""
    other = [name for name in (*_SENT, *(_IMPORTED_SENT if imported else ())) if known[name] != getattr(send, name)]
    if not other:
        return
    said = "another contact's" if "contact_id" in other else f"one with another {' and '.join(other)}"
    raise KnownOtherwiseError(
        position, f"send {send.decision_id!r} is known as {said}", hint="give every message an id of its own"
    )
