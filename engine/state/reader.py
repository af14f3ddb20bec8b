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
from engine.state.consents import CONSENT_COLUMNS, Columns, fold_consents, profiling_objections
from engine.state.database import among, reading
from engine.state.protocols import History
from engine.state.suppressions import SUPPRESSION_COLUMNS, fold_suppressions
from engine.state.tables import CONSENT, CONTACT, DISPATCHED, DISPATCHING, EVENT, RESERVED, SEND, SUPPRESSION
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, CodeArray, IntArray, ObjectArray

_NAMED: Final = ("zone_source", "region", "area_code")
_DATED: Final = ("zone_observed_at", "history_from_at")
_PROFILE: Final = ("zone", "locale", *_NAMED, *_DATED)
_ENGAGED: Final = ("open", "click", "reply", "purchase")
_SENT: Final = ("channel", "purpose", "topic", "template", "category", "state")
_HAPPENED: Final = ("kind", "channel", "category")


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
        row_of, back = _distinct(contact_ids)
        with reading(self.engine, "read contacts") as connection:
            profiles = _fetch(connection, CONTACT, _PROFILE, row_of)
            consents = _fetch(connection, CONSENT, CONSENT_COLUMNS, row_of)
            suppressions = _fetch(connection, SUPPRESSION, SUPPRESSION_COLUMNS, row_of)
            sends = _fetch(connection, SEND, ("at", "channel", "purpose"), row_of, _standing(now_at))
            events = _fetch(connection, EVENT, ("at", "kind"), row_of, EVENT.c.at <= now_at)
        n = len(row_of)
        parts = _profile_part(profiles, n)
        known = parts.pop("known")
        consent, expires = fold_consents(consents, n, catalog.channels, now_at)
        suppressed = fold_suppressions(suppressions, n, catalog.channels, now_at)
        suppressed[~known[:, None] & (suppressed == NO)] = UNKNOWN
        extra = parts.pop("extra") | _event_part(events, known)
        extra["consent_expires_at"] = expires
        extra["profiling_objection"] = profiling_objections(consents, n, catalog.channels)
        batch = plain_contacts(
            np.array(list(row_of), dtype=object),
            catalog,
            consent=consent,
            suppressed=suppressed,
            extra=extra,
            **parts,
            **_send_part(sends, n, catalog.channels),
        )
        return batch if np.array_equal(back, np.arange(n)) else batch.take(back)

    def history(self, contact_ids: ObjectArray, *, now_at: int) -> History:
        """Every send that counts at `now_at` and every event up to then, oldest first.

        Raises:
            ParameterError: a contact given twice.
            StorageError: the store cannot be read.
        """
        require_instant("now_at", "history", now_at)
        row_of, back = _distinct(contact_ids)
        n = len(row_of)
        if n != len(back):
            raise ParameterError("contact_ids", "history", allowed="distinct", got=f"{len(back) - n} repeats")
        with reading(self.engine, "read history") as connection:
            sends = _fetch(connection, SEND, ("at", *_SENT), row_of, _standing(now_at))
            events = _fetch(connection, EVENT, ("at", *_HAPPENED), row_of, EVENT.c.at <= now_at)
        sent_offsets, sent = _csr(sends, n)
        event_offsets, event = _csr(events, n)
        return History(
            sent_offsets=sent_offsets,
            **{f"sent_{name}": sent[name] for name in ("at", *_SENT)},
            event_offsets=event_offsets,
            **{f"event_{name}": event[name] for name in ("at", *_HAPPENED)},
        )


def _distinct(contact_ids: ObjectArray) -> tuple[dict[str, int], IntArray]:
    """Position of each distinct id, in order of first appearance, and each row's position among them."""
    position: dict[str, int] = {}
    back = np.empty(len(contact_ids), dtype=np.int64)
    for row, contact in enumerate(contact_ids):
        require_id("contact_id", "ContactReader", contact)
        back[row] = position.setdefault(contact, len(position))
    return position, back


def _standing(now_at: int) -> sa.ColumnElement[bool]:
    alive = sa.and_(SEND.c.state == RESERVED, SEND.c.lease_until > now_at)
    return sa.or_(SEND.c.state.in_((DISPATCHING, DISPATCHED)), alive)


def _fetch(
    connection: sa.Connection,
    table: sa.Table,
    names: Sequence[str],
    row_of: Mapping[str, int],
    *where: sa.ColumnElement[bool],
) -> Columns:
    """The named columns of every row of these contacts, and `owner`, the contact's row in the batch."""
    query = sa.select(table.c.contact_id, *(table.c[name] for name in names))
    query = query.where(among(connection, table.c.contact_id, list(row_of)), *where)
    rows = connection.execute(query).all()
    # Column by column: to ask each row for its attributes by name took most of the time of a batch.
    owners, *columns = zip(*rows, strict=True) if rows else [()] * (1 + len(names))
    return {"owner": tuple(row_of[contact] for contact in owners), **dict(zip(names, columns, strict=True))}


def _profile_part(found: Columns, n: int) -> dict[str, Any]:
    at = np.array(found["owner"], dtype=np.int64)
    known = np.zeros(n, dtype=np.bool_)
    known[at] = True
    names = {name: np.full(n, None, dtype=object) for name in ("zone", "locale", *_NAMED)}
    for name, column in names.items():
        column[at] = np.array(found[name], dtype=object)
    instants = {name: np.full(n, NOT_AN_INSTANT, dtype=np.int64) for name in _DATED}
    for name, dates in instants.items():
        dates[at] = [NOT_AN_INSTANT if value is None else value for value in found[name]]
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


def _send_part(found: Columns, n: int, channels: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    offsets, sent = _csr(found, n)
    channel = {name: at for at, name in enumerate(channels)}
    purpose = {name: at for at, name in enumerate(PURPOSES)}
    return {
        "sent_offsets": offsets,
        "sent_at": sent["at"],
        "sent_channel": np.array([channel.get(name, UNKNOWN) for name in sent["channel"]], dtype=np.int32),
        "sent_purpose": np.array([purpose[name] for name in sent["purpose"]], dtype=np.int32),
    }


def _event_part(found: Columns, known: BoolArray) -> dict[str, NDArray[Any]]:
    owner = np.array(found["owner"], dtype=np.int64)
    at = np.array(found["at"], dtype=np.int64)
    kind = np.array(found["kind"], dtype=object)

    def last(kinds: Iterable[str]) -> IntArray:
        newest = np.full(len(known), NOT_AN_INSTANT, dtype=np.int64)
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


def _csr(found: Columns, n: int) -> tuple[IntArray, dict[str, NDArray[Any]]]:
    """Offsets, and the columns (`at` as int64, the others as objects) oldest first per contact."""
    owner = np.array(found["owner"], dtype=np.int64)
    order = np.lexsort((np.array(found["at"], dtype=np.int64), owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)
    kinds = {name: np.int64 if name == "at" else object for name in found}
    return offsets, {name: np.array(column, dtype=kinds[name])[order] for name, column in found.items()}
