"""Taking facts in: one transaction, and a fact that is known already changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from engine.database import among, insert, insert_missing, writing
from engine.errors import DataError, ParameterError
from engine.state.facts import Consent, Event, Fact, PastSend, Profile, Suppression, fact_id, stop_of
from engine.state.replies import given_back
from engine.state.reservations import lock_contacts
from engine.state.tables import CONSENT, CONTACT, DISPATCHED, EVENT, SEND, SEND_STEP, SUPPRESSION

_APPENDED: Final = {Consent: CONSENT, Suppression: SUPPRESSION, Event: EVENT}
_KEPT: Final = (
    *("region", "country", "area_code", "locale", "history_from_at"),
    *("line_type", "lists", "motive_price", "due_at"),
)
_IMPORTED: Final = "recorded without a reservation"

Row = dict[str, Any]


@dataclass(frozen=True)
class FactWriter:
    """Writes facts to one store.

    Attributes:
        engine: of `open_database`.
    """

    engine: sa.Engine

    def record(self, facts: Sequence[Fact]) -> int:
        """Write facts in one transaction; they are on the disk when this returns.

        An event that closes its channel (`STOP_KINDS`) leaves the suppression that it stands for beside it.

        Returns:
            How many facts changed the store; the others were known, or older than what was.

        Raises:
            ParameterError: something that is no fact; nothing is written.
            DataError: a past send whose id is another contact's; nothing is written.
            StorageError: the store refused; nothing is written.
        """
        strange = [fact for fact in facts if not isinstance(fact, Fact)]
        if strange:
            raise ParameterError(
                "facts", "record", allowed="facts of engine.state.facts", got=type(strange[0]).__name__
            )
        with writing(self.engine, "record facts") as connection:
            new = _write_sends(connection, [fact for fact in facts if isinstance(fact, PastSend)])
            new += _write_profiles(connection, [fact for fact in facts if isinstance(fact, Profile)])
            for kind, table in _APPENDED.items():
                rows = [_row(fact) for fact in facts if isinstance(fact, kind)]
                if rows:
                    # In one order everywhere: two processes that insert the same keys would else wait in a circle.
                    rows.sort(key=lambda row: str(row["fact_id"]))
                    added = insert_missing(connection, table).returning(table.c.fact_id)
                    new += len(connection.execute(added, rows).all())
            back = [_row(consent) for consent in given_back(connection, facts)]
            if back:
                connection.execute(insert_missing(connection, CONSENT), back)
            _write_stops(connection, facts)
        return new


def _write_stops(connection: sa.Connection, facts: Sequence[Fact]) -> None:
    """The suppressions that events stand for: whoever reports a complaint need not record that it counts."""
    stops = [stop_of(fact) for fact in facts if isinstance(fact, Event)]
    rows = [_row(stop) for stop in stops if stop is not None]
    if rows:
        rows.sort(key=lambda row: str(row["fact_id"]))
        connection.execute(insert_missing(connection, SUPPRESSION), rows)


def _row(fact: Fact) -> Row:
    # Not `asdict`: it copies every value deeply, which took most of the time of a large import.
    row = dict(vars(fact))
    if isinstance(fact, Consent | Suppression | Event):
        row["fact_id"] = fact_id(fact)
    row.pop("event_id", None)
    return row


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


def _write_sends(connection: sa.Connection, sends: Sequence[PastSend]) -> int:
    """What really went out counts, also where its reservation was released or failed."""
    if not sends:
        return 0
    lock_contacts(connection, sorted({send.contact_id for send in sends}))
    statement = insert(connection, SEND)
    going = statement.excluded
    upsert = statement.on_conflict_do_update(
        index_elements=["decision_id"],
        set_={"at": going.at, "state": DISPATCHED, "step": SEND.c.step + 1},
        where=sa.and_(SEND.c.state != DISPATCHED, SEND.c.contact_id == going.contact_id),
    ).returning(SEND.c.decision_id, SEND.c.step)
    rows = [
        {**_row(send), "planned_at": send.at, "state": DISPATCHED, "lease_until": send.at, "step": 0}
        for send in sorted(sends, key=lambda send: send.decision_id)
    ]
    changed: dict[str, int] = {row.decision_id: row.step for row in connection.execute(upsert, rows)}
    _require_contacts(connection, [send for send in sends if send.decision_id not in changed])
    at = {send.decision_id: send.at for send in sends}
    steps = [
        {"decision_id": key, "step": step, "state": DISPATCHED, "at": at[key], "reason": _IMPORTED}
        for key, step in changed.items()
    ]
    if steps:
        connection.execute(sa.insert(SEND_STEP), steps)
    return len(changed)


def _require_contacts(connection: sa.Connection, sends: Sequence[PastSend]) -> None:
    """Refuse a send that is known as another contact's: left out in silence, it would not count."""
    query = sa.select(SEND.c.decision_id, SEND.c.contact_id)
    ids = [send.decision_id for send in sends]
    found = connection.execute(query.where(among(connection, SEND.c.decision_id, ids)))
    known: dict[str, str] = {row.decision_id: row.contact_id for row in found}
    for send in sends:
        if known[send.decision_id] != send.contact_id:
            raise DataError(
                f"send {send.decision_id!r} is known as another contact's", hint="give every message an id of its own"
            )
