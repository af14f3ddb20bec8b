"""Reserving, dispatching and settling sends: each call is one transaction.

Life of a send: reserved -> dispatching -> dispatched, or failed; reserved -> released. What counts against the caps:
dispatched, dispatching, and reserved while the lease runs. Whoever decides on a contact holds the contact's row of
`send_lock` (PostgreSQL) or the whole store (SQLite) until its transaction ends, so two can never both see room for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from engine.errors import DataError
from engine.state.checks import require_instant, require_span
from engine.state.protocols import Refused, Reserved
from engine.state.sends.caps import SendRequest, SendRule, conflict, longest_window_us
from engine.state.sequence import changing
from engine.state.tables import (
    DISPATCHED,
    DISPATCHING,
    FAILED,
    RELEASED,
    RESERVED,
    SEND,
    SEND_LOCK,
    SEND_STEP,
    in_state,
)
from engine.storage.database import among, in_byte_order, insert_missing, is_postgresql, reading, stored_values
from engine.types import MICROSECONDS_PER_S

COUNTED: Final = (RESERVED, DISPATCHING, DISPATCHED)
EXPIRED: Final = "lease ran out"
OTHERWISE: Final = "reserved_otherwise"
_CONTENT: Final = ("contact_id", "channel", "purpose", "topic", "template", "category", "discount")

Row = dict[str, Any]


@dataclass(frozen=True)
class Reservations:
    """The sends of one store.

    Attributes:
        engine: database, from `open_database`.
    """

    engine: sa.Engine

    def reserve(
        self,
        requests: Sequence[SendRequest],
        rules: Sequence[SendRule],
        *,
        now_at: int,
        lease_s: float,
        strict: bool = True,
    ) -> tuple[Reserved | Refused, ...]:
        """Reserve sends, each if it fits beside all that count and beside those before it in the same call.

        The same decision again gets what it holds. A decision whose reservation was released is judged anew; one that
        failed stays refused.

        Args:
            requests: any number, with distinct decision ids.
            rules: caps; all of them must hold.
            now_at: leases that ended by then no longer count, and cannot be revived.
            lease_s: the reservation holds until this long after now or after its planned instant, the later of both.
            strict: false refuses a decision that is known with other content or another instant, for the reason
                `reserved_otherwise`, where true raises.

        Returns:
            One answer per request, in order.

        Raises:
            DataError: a decision id given twice, or known with other content.
            StorageError: the store refused; nothing is reserved.
        """
        require_instant("now_at", "reserve", now_at)
        require_span("lease_s", "reserve", lease_s)
        require_distinct(requests)
        if not requests:
            return ()
        with changing(self.engine, "reserve sends") as (connection, _):
            return reserve_in(connection, requests, rules, now_at=now_at, lease_s=lease_s, strict=strict)

    def expire(self, *, now_at: int) -> int:
        """Release every reservation whose lease is over; sends that are being dispatched stay, and count.

        Returns:
            How many were released.

        Raises:
            StorageError: the store refused.
        """
        require_instant("now_at", "expire", now_at)
        with changing(self.engine, "expire reservations") as (connection, _):
            # Rows that somebody works on are left to the next call: to wait here could be to wait in a circle.
            over = sa.select(SEND.c.decision_id).where(in_state(RESERVED), SEND.c.lease_until <= now_at)
            free = over.order_by(SEND.c.decision_id).with_for_update(skip_locked=True)
            return _lapse(connection, SEND.c.decision_id.in_(free), now_at)

    def dispatch(self, decision_id: str, rules: Sequence[SendRule], *, now_at: int) -> Reserved | Refused:
        """The last look before the provider: only one caller ever gets `Reserved` for a reservation, and must send.

        The send counts at `now_at` from here on, and the rules are judged there again: a queue that was late must not
        push a send into the window of the next one.

        Raises:
            DataError: no such decision.
            StorageError: the store refused; the message must not go out.
        """
        require_instant("now_at", "dispatch", now_at)
        with changing(self.engine, "dispatch a send") as (connection, _):
            row = locked(connection, [decision_id])[decision_id]
            if row["state"] != RESERVED:
                return Refused(decision_id, (row["state"],))
            if row["lease_until"] <= now_at:
                _lapse(connection, SEND.c.decision_id == decision_id, now_at)
                return Refused(decision_id, (EXPIRED,))
            request = _request(row, send_at=now_at)
            _lapse(connection, SEND.c.contact_id == request.contact_id, now_at)
            counted = _counted(connection, [request.contact_id], now_at - longest_window_us(rules))
            others = [other for other in counted[request.contact_id] if other.decision_id != decision_id]
            found = conflict(request, others, rules)
            if found is not None:
                return Refused(decision_id, found.reasons, found.next_allowed_at)
            advance(connection, row, DISPATCHING, now_at, at=now_at)
        return Reserved(decision_id, now_at, row["lease_until"], DISPATCHING, fresh=True)

    def states(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """Decision id -> state of its send; decisions without a reservation are absent.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self.engine, "read sends") as connection:
            query = sa.select(SEND.c.decision_id, SEND.c.state)
            found = connection.execute(query.where(among(connection, SEND.c.decision_id, list(decision_ids))))
            return {row.decision_id: row.state for row in found}


def require_distinct(requests: Sequence[SendRequest]) -> None:
    """Refuse a decision id that stands twice.

    Raises:
        DataError: such an id.
    """
    if len({request.decision_id for request in requests}) != len(requests):
        raise DataError("a decision id stands twice in one call of reserve")


def reserve_in(
    connection: sa.Connection,
    requests: Sequence[SendRequest],
    rules: Sequence[SendRule],
    *,
    now_at: int,
    lease_s: float,
    strict: bool,
) -> tuple[Reserved | Refused, ...]:
    """`Reservations.reserve` within a transaction of the caller's; one request or more."""
    ids = [request.decision_id for request in requests]
    contacts = sorted({request.contact_id for request in requests})
    since = min(request.send_at for request in requests) - longest_window_us(rules)
    lock_contacts(connection, contacts)
    _lapse(connection, among(connection, SEND.c.contact_id, contacts), now_at)
    known = {row["decision_id"]: row for row in _rows(connection, among(connection, SEND.c.decision_id, ids))}
    counted = _counted(connection, contacts, since)
    judge = _Judge(known, counted, rules, now_at, lease_s, strict)
    answers = tuple(judge.answer(request) for request in requests)
    _write(connection, judge.written, now_at)
    return answers


class _Judge:
    """Answers requests one after the other, and collects the rows to write."""

    def __init__(
        self,
        known: Mapping[str, Row],
        counted: dict[str, list[SendRequest]],
        rules: Sequence[SendRule],
        now_at: int,
        lease_s: float,
        strict: bool,
    ) -> None:
        self.known = known
        self.counted = counted
        self.rules = rules
        self.now_at = now_at
        self.strict = strict
        self.lease_us = round(lease_s * MICROSECONDS_PER_S)
        self.written: list[Row] = []

    def answer(self, request: SendRequest) -> Reserved | Refused:
        row = self.known.get(request.decision_id)
        if row is not None:
            if self.strict:
                _require_same(request, row)
            elif _differences(request, row) or (row["state"] in COUNTED and row["planned_at"] != request.send_at):
                return Refused(request.decision_id, (OTHERWISE,))
            if row["state"] in COUNTED:
                return Reserved(request.decision_id, row["at"], row["lease_until"], row["state"], fresh=False)
            if row["state"] == FAILED:
                return Refused(request.decision_id, (FAILED,))
        others = self.counted.setdefault(request.contact_id, [])
        found = conflict(request, others, self.rules)
        if found is not None:
            return Refused(request.decision_id, found.reasons, found.next_allowed_at)
        others.append(request)
        lease_until = max(self.now_at, request.send_at) + self.lease_us
        self.written.append(
            {name: getattr(request, name) for name in ("decision_id", *_CONTENT)}
            | {"at": request.send_at, "planned_at": request.send_at, "state": RESERVED, "lease_until": lease_until}
            | {"step": 0 if row is None else row["step"] + 1}
        )
        return Reserved(request.decision_id, request.send_at, lease_until, RESERVED, fresh=True)


def lock_contacts(connection: sa.Connection, contacts: Sequence[str]) -> None:
    """Keep everybody else from deciding on these contacts until the transaction ends; `contacts` are sorted.

    SQLite's BEGIN IMMEDIATE did so already. On PostgreSQL everybody inserts and locks in the same order, so nobody
    waits in a circle; the locks lie in the rows, so their number is not limited as that of advisory locks is.
    """
    if not contacts or not is_postgresql(connection):
        return
    connection.execute(insert_missing(connection, SEND_LOCK), [{"contact_id": contact} for contact in contacts])
    query = sa.select(SEND_LOCK.c.contact_id).where(among(connection, SEND_LOCK.c.contact_id, contacts))
    connection.execute(query.order_by(in_byte_order(connection, SEND_LOCK.c.contact_id)).with_for_update()).all()


def locked(connection: sa.Connection, decision_ids: Sequence[str]) -> dict[str, Row]:
    """The rows of sends; their contacts are locked, and so are the rows, on which `expire` may be working.

    Raises:
        DataError: a decision without a send.
    """
    ids = among(connection, SEND.c.decision_id, decision_ids)
    owners = connection.execute(sa.select(SEND.c.decision_id, SEND.c.contact_id).where(ids))
    contacts: dict[str, str] = {row.decision_id: row.contact_id for row in owners}
    missing = next((name for name in decision_ids if name not in contacts), None)
    if missing is not None:
        raise DataError(f"no send of decision {missing!r}", hint="reserve it first")
    lock_contacts(connection, sorted(set(contacts.values())))
    query = sa.select(SEND).where(ids).order_by(in_byte_order(connection, SEND.c.decision_id)).with_for_update()
    return {row["decision_id"]: dict(row) for row in connection.execute(query).mappings()}


def _rows(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.select(SEND).where(where)).mappings()]


def _counted(connection: sa.Connection, contacts: Sequence[str], since: int) -> dict[str, list[SendRequest]]:
    """The sends that count, by contact; leases that are over were released before."""
    where = (among(connection, SEND.c.contact_id, contacts), SEND.c.state.in_(COUNTED), SEND.c.at > since)
    found: dict[str, list[SendRequest]] = {contact: [] for contact in contacts}
    for row in _rows(connection, sa.and_(*where)):
        found[row["contact_id"]].append(_request(row, send_at=row["at"]))
    return found


def _request(row: Row, *, send_at: int) -> SendRequest:
    with stored_values("read sends"):
        return _as_request(row, send_at)


def _as_request(row: Row, send_at: int) -> SendRequest:
    return SendRequest(row["decision_id"], send_at=send_at, **{name: row[name] for name in _CONTENT})


def _differences(request: SendRequest, row: Row) -> list[str]:
    return [name for name in _CONTENT if getattr(request, name) != row[name]]


def _require_same(request: SendRequest, row: Row) -> None:
    other = _differences(request, row)
    if other:
        raise DataError(
            f"decision {request.decision_id!r} is known with another {other[0]}",
            hint="a decision id is an idempotency key; take a new one for a new decision",
        )


def _lapse(connection: sa.Connection, where: sa.ColumnElement[bool], now_at: int) -> int:
    """Release what is reserved beyond its lease: written down, so that a slow holder cannot go on with it later."""
    change = sa.update(SEND).where(where, in_state(RESERVED), SEND.c.lease_until <= now_at)
    change = change.values(state=RELEASED, step=SEND.c.step + 1)
    changed = connection.execute(change.returning(SEND.c.decision_id, SEND.c.step)).all()
    _log(connection, ({"decision_id": key, "step": step, "state": RELEASED} for key, step in changed), now_at, EXPIRED)
    return len(changed)


def advance(connection: sa.Connection, row: Row, state: str, now_at: int, *, reason: str = "", **values: Any) -> None:
    """Write down the next state of a locked send."""
    step = row["step"] + 1
    change = sa.update(SEND).where(SEND.c.decision_id == row["decision_id"])
    connection.execute(change.values(state=state, step=step, **values))
    _log(connection, [{"decision_id": row["decision_id"], "step": step, "state": state}], now_at, reason)


def _write(connection: sa.Connection, rows: Sequence[Row], now_at: int) -> None:
    fresh = [row for row in rows if row["step"] == 0]
    if fresh:
        connection.execute(sa.insert(SEND), fresh)
    for row in rows:
        if row["step"]:
            connection.execute(sa.update(SEND).where(SEND.c.decision_id == row["decision_id"]).values(row))
    _log(connection, ({name: row[name] for name in ("decision_id", "step", "state")} for row in rows), now_at, "")


def _log(connection: sa.Connection, steps: Iterable[Row], now_at: int, reason: str) -> None:
    logged = [{**step, "at": now_at, "reason": reason} for step in steps]
    if logged:
        connection.execute(sa.insert(SEND_STEP), logged)
