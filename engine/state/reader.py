"""Reading many contacts at once: one query per table and block, folded into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts import NO, UNKNOWN, ContactBatch, plain_contacts
from engine.errors import ParameterError
from engine.state.checks import require_id, require_instant
from engine.state.consents import fold_consents, profiling_objections
from engine.state.database import among, reading
from engine.state.protocols import History
from engine.state.suppressions import fold_suppressions
from engine.state.tables import CONSENT, CONTACT, DISPATCHED, DISPATCHING, EVENT, RESERVED, SEND, SUPPRESSION
from engine.types import NOT_AN_INSTANT, PURPOSES, CodeArray, IntArray, ObjectArray

_NAMED: Final = ("zone_source", "region", "area_code")
_ENGAGED: Final = ("open", "click", "reply", "purchase")
_SENT: Final = ("channel", "purpose", "topic", "template", "category", "state")


@dataclass(frozen=True)
class ContactReader:
    """Reads one store.

    Attributes:
        engine: of `open_database`.
    """

    engine: sa.Engine

    def batch(self, contact_ids: ObjectArray, catalog: Catalog, *, now_at: int) -> ContactBatch:
        """What the guardrail rules read of n contacts, as one consistent snapshot.

        A contact without a profile is unknown: no zone, no known history, suppression unknown; rules block it.

        Args:
            contact_ids: (n,) pseudonyms; repeats are fine.
            catalog: names the channels.
            now_at: consents that are given later or have expired do not count; refusals always do.

        Returns:
            The batch without context. `extra` has, per contact: zone_source, region, area_code (None: not known);
            zone_observed_at, history_from_at, engaged_at (last open, click, reply or purchase), purchased_at,
            ticket_closed_at (microseconds, or `NOT_AN_INSTANT`); open_ticket (-1 unknown, 0, 1); consent_expires_at
            (n, C, P): the largest int64 where without end, `NOT_AN_INSTANT` without consent; profiling_objection (n, C)
            (1 objected, 0 not).

        Raises:
            StorageError: the store cannot be read.
        """
        require_instant("now_at", "batch", now_at)
        ids, back = _distinct(contact_ids)
        with reading(self.engine, "read contacts") as connection:
            profiles = _fetch(connection, CONTACT, ids)
            consents = _fetch(connection, CONSENT, ids)
            suppressions = _fetch(connection, SUPPRESSION, ids)
            sends = _fetch(connection, SEND, ids, _standing(now_at))
            events = _fetch(connection, EVENT, ids, EVENT.c.at <= now_at)
        row_of = {contact: row for row, contact in enumerate(ids)}
        parts = _profile_part(profiles, row_of)
        known = parts.pop("known")
        consent, expires = fold_consents(consents, row_of, catalog.channels, now_at)
        suppressed = fold_suppressions(suppressions, row_of, catalog.channels, now_at)
        suppressed[~known[:, None] & (suppressed == NO)] = UNKNOWN
        extra = parts.pop("extra") | _event_part(events, row_of, known)
        extra["consent_expires_at"] = expires
        extra["profiling_objection"] = profiling_objections(consents, row_of, catalog.channels)
        batch = plain_contacts(
            np.array(ids, dtype=object),
            catalog,
            consent=consent,
            suppressed=suppressed,
            extra=extra,
            **parts,
            **_send_part(sends, row_of, catalog.channels),
        )
        return batch if np.array_equal(back, np.arange(len(ids))) else batch.take(back)

    def history(self, contact_ids: ObjectArray, *, now_at: int) -> History:
        """Every send that counts at `now_at` and every event up to then, oldest first.

        Raises:
            ParameterError: a contact given twice.
            StorageError: the store cannot be read.
        """
        require_instant("now_at", "history", now_at)
        ids, back = _distinct(contact_ids)
        with reading(self.engine, "read history") as connection:
            sends = _fetch(connection, SEND, ids, _standing(now_at))
            events = _fetch(connection, EVENT, ids, EVENT.c.at <= now_at)
        row_of = {str(contact_ids[at]): at for at in range(len(contact_ids))}
        if len(ids) != len(back):
            raise ParameterError("contact_ids", "history", allowed="distinct", got=f"{len(back) - len(ids)} repeats")
        sent_offsets, sent_at, sent = _csr(sends, row_of)
        event_offsets, event_at, event = _csr(events, row_of)
        return History(
            sent_offsets=sent_offsets,
            sent_at=sent_at,
            **{f"sent_{name}": sent(name) for name in _SENT},
            event_offsets=event_offsets,
            event_at=event_at,
            **{f"event_{name}": event(name) for name in ("kind", "channel", "category")},
        )


def _distinct(contact_ids: ObjectArray) -> tuple[list[str], IntArray]:
    """Distinct ids in order of first appearance, and each row's position among them."""
    position: dict[str, int] = {}
    back = np.empty(len(contact_ids), dtype=np.int64)
    for row, contact in enumerate(contact_ids):
        require_id("contact_id", "ContactReader", contact)
        back[row] = position.setdefault(contact, len(position))
    return list(position), back


def _standing(now_at: int) -> sa.ColumnElement[bool]:
    alive = sa.and_(SEND.c.state == RESERVED, SEND.c.lease_until > now_at)
    return sa.or_(SEND.c.state.in_((DISPATCHING, DISPATCHED)), alive)


def _fetch(
    connection: sa.Connection, table: sa.Table, ids: Sequence[str], *where: sa.ColumnElement[bool]
) -> Sequence[sa.Row[Any]]:
    query = sa.select(table).where(among(connection, table.c.contact_id, ids), *where)
    return connection.execute(query).all()


def _profile_part(rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int]) -> dict[str, Any]:
    n = len(row_of)
    known = np.zeros(n, dtype=np.bool_)
    names = {name: np.full(n, None, dtype=object) for name in ("zone", "locale", *_NAMED)}
    instants = {name: np.full(n, NOT_AN_INSTANT, dtype=np.int64) for name in ("zone_observed_at", "history_from_at")}
    if rows:
        at = np.array([row_of[row.contact_id] for row in rows], dtype=np.int64)
        known[at] = True
        for name, column in names.items():
            column[at] = np.array([getattr(row, name) for row in rows], dtype=object)
        for name, column in instants.items():
            column[at] = [NOT_AN_INSTANT if (value := getattr(row, name)) is None else value for row in rows]
    zone_code, zones = _levels(names["zone"])
    locale_code, locales = _levels(names["locale"])
    return {
        "known": known,
        "zone_code": zone_code,
        "zones": zones,
        "locale_code": locale_code,
        "locales": locales,
        "history_known": instants["history_from_at"] != NOT_AN_INSTANT,
        "extra": {name: names[name] for name in _NAMED} | dict(instants),
    }


def _levels(values: ObjectArray) -> tuple[CodeArray, tuple[str, ...]]:
    """Codes into the sorted distinct values; None is -1."""
    levels = sorted({value for value in values if value is not None})
    code = {level: at for at, level in enumerate(levels)} | {None: UNKNOWN}
    return np.array([code[value] for value in values], dtype=np.int32), tuple(levels)


def _send_part(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], channels: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    offsets, sent_at, column = _csr(rows, row_of)
    channel = {name: at for at, name in enumerate(channels)}
    purpose = {name: at for at, name in enumerate(PURPOSES)}
    return {
        "sent_offsets": offsets,
        "sent_at": sent_at,
        "sent_channel": np.array([channel.get(name, UNKNOWN) for name in column("channel")], dtype=np.int32),
        "sent_purpose": np.array([purpose[name] for name in column("purpose")], dtype=np.int32),
    }


def _event_part(
    rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int], known: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    owner = np.array([row_of[row.contact_id] for row in rows], dtype=np.int64)
    at = np.array([row.at for row in rows], dtype=np.int64)
    kind = np.array([row.kind for row in rows], dtype=object)

    def last(kinds: Iterable[str]) -> IntArray:
        newest = np.full(len(row_of), NOT_AN_INSTANT, dtype=np.int64)
        chosen = np.isin(kind, list(kinds))
        np.maximum.at(newest, owner[chosen], at[chosen])
        return newest

    opened, closed = last(["ticket_opened"]), last(["ticket_closed"])
    # A ticket that is opened and closed in the same instant counts as open: the order of the two is not known.
    ticket = ((opened != NOT_AN_INSTANT) & (opened >= closed)).astype(np.int8)
    ticket[~known & (ticket == NO)] = UNKNOWN
    return {
        "open_ticket": ticket,
        "ticket_closed_at": closed,
        "engaged_at": last(_ENGAGED),
        "purchased_at": last(["purchase"]),
    }


class _Column:
    """Reads columns of fetched rows in a given order."""

    def __init__(self, rows: Sequence[sa.Row[Any]], order: IntArray) -> None:
        self.rows = rows
        self.order = order

    def __call__(self, name: str) -> ObjectArray:
        values = np.empty(len(self.rows), dtype=object)
        values[:] = [getattr(row, name) for row in self.rows]
        return values[self.order]


def _csr(rows: Sequence[sa.Row[Any]], row_of: Mapping[str, int]) -> tuple[IntArray, IntArray, _Column]:
    """Offsets, instants and the other columns of rows that have `contact_id` and `at`, oldest first per contact."""
    owner = np.array([row_of[row.contact_id] for row in rows], dtype=np.int64)
    at = np.array([row.at for row in rows], dtype=np.int64)
    order = np.lexsort((at, owner))
    counts = np.bincount(owner, minlength=len(row_of))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, at[order], _Column(rows, order)
