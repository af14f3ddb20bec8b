"""Reading many contacts at once: one query per table and block, folded into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.contacts import NO, UNKNOWN, ContactBatch, plain_contacts
from engine.errors import ParameterError
from engine.state.checks import require_id, require_instant
from engine.state.erased import ERASED_REASON, erased_at
from engine.state.facts import CONSENT_KINDS, EVENT_KINDS, STATUSES
from engine.state.protocols import History
from engine.state.reading.columns import event_part, levels_of, place_part, send_part, ticket_part
from engine.state.reading.levels import (
    CONSENT_COLUMNS,
    SUPPRESSION_COLUMNS,
    Columns,
    fold_consents,
    fold_suppressions,
    lifts_of,
    profiling_objections,
    standing_events,
)
from engine.state.spellings import closed_by, kin_of
from engine.state.tables import CONSENT, CONTACT, DISPATCHED, DISPATCHING, EVENT, RESERVED, SEND, SUPPRESSION
from engine.storage.database import among, not_among, reading, stored_values
from engine.types import NOT_AN_INSTANT, IntArray, ObjectArray

_NAMED: Final = ("zone_source", "region", "country", "area_code", "line_type", "lists", "motive_price")
_PLACES: Final = ("zone_source", "region", "area_code")
_DATED: Final = ("zone_observed_at", "history_from_at", "due_at")
_PROFILE: Final = ("zone", "locale", *_NAMED, *_DATED)
_SENT: Final = ("channel", "purpose", "topic", "template", "category", "state")
_DETAILS: Final = ("channel", "purpose", "topic", "template", "category", "discount")
_HAPPENED: Final = ("kind", "channel", "category")


@dataclass(frozen=True)
class ContactReader:
    """Reads one store.

    Attributes:
        engine: database, from `open_database`.
    """

    engine: sa.Engine

    def batch(
        self, contact_ids: ObjectArray, catalog: Catalog, *, now_at: int, without: Sequence[str] = ()
    ) -> ContactBatch:
        """What the guardrail rules read of n contacts, as one consistent snapshot.

        What speaks against an id that is spelt alike closes the contact as well (`engine.state.spellings`).
        A contact without a profile is unknown: no zone, no known history, suppression unknown; rules block it.

        Args:
            contact_ids: (n,) pseudonyms; repeats are fine.
            catalog: names the channels.
            now_at: consents that are given later or have expired do not count; refusals always do.
            without: decision ids whose own sends are left out: a decision that is judged again must not count itself.

        Returns:
            The batch without context, with all that a contact file can say (docs/contacts.md): places, line type,
            lists, objection to profiling (on any channel), price motive, due date, consent details, details of sends,
            events.
            `extra` has besides: zone_source, region, area_code (None: not known); zone_observed_at, history_from_at,
            engaged_at (last open, click, reply or purchase), purchased_at, ticket_closed_at (microseconds, or
            `NOT_AN_INSTANT`); open_ticket (-1 unknown, 0, 1).

        Raises:
            StorageError: the store cannot be read.
        """
        require_instant("now_at", "batch", now_at)
        row_of, back = _distinct(contact_ids)
        with stored_values("read contacts"):
            return self._batch(row_of, back, catalog, now_at, without)

    def _batch(
        self, row_of: dict[str, int], back: IntArray, catalog: Catalog, now_at: int, without: Sequence[str]
    ) -> ContactBatch:
        with reading(self.engine, "read contacts") as connection:
            kin = kin_of(connection, row_of)
            row_of = dict(kin.row_of)
            profiles = _profiles(connection, row_of, kin.same)
            consents = _fetch(connection, CONSENT, CONSENT_COLUMNS, row_of)
            suppressions = _with_erased(
                connection, _fetch(connection, SUPPRESSION, SUPPRESSION_COLUMNS, row_of), row_of
            )
            own = not_among(connection, SEND.c.decision_id, without) if len(without) else sa.true()
            sends = _fetch(connection, SEND, ("at", *_DETAILS), row_of, _standing(now_at), own)
            events = _fetch(connection, EVENT, ("at", *_HAPPENED), row_of)
        _require_words(consents, "status", STATUSES)
        _require_words(consents, "kind", CONSENT_KINDS)
        _require_words(events, "kind", EVENT_KINDS)
        names = [name for name in row_of if name not in kin.same]
        n = len(names)
        parts = _profile_part(profiles, n)
        known = parts.pop("known")
        folded = fold_consents(consents, n, catalog.channels, now_at)
        lifts = lifts_of(suppressions, catalog.channels, now_at)
        suppressed = fold_suppressions(suppressions, n, catalog.channels, now_at, lifts)
        suppressed[~known[:, None] & (suppressed == NO)] = UNKNOWN
        objected = profiling_objections(consents, n, catalog.channels).any(axis=1)
        named = parts.pop("extra")
        places = place_part(named, parts.pop("zone"), np.where(objected, 1, np.where(known, 0, UNKNOWN)), now_at)
        standing = standing_events(events, lifts)
        happened = event_part(standing, parts["history_known"], catalog.channels, now_at)
        extra = {name: named[name] for name in (*_PLACES, *_DATED)} | places.extra | ticket_part(events, known, now_at)
        extra |= {"consent_at": folded.given_at, "consent_basis": folded.basis}
        extra["consent_expires_at"] = folded.expires_at
        sent, levels = send_part(*_csr(sends, n), catalog.channels)
        batch = plain_contacts(
            np.array(names, dtype=object),
            catalog,
            consent=folded.level,
            suppressed=suppressed,
            zone_code=places.zone_code,
            zones=places.zones,
            extra=extra,
            levels=places.levels | levels,
            events=happened,
            **parts,
            **sent,
        )
        batch = closed_by(batch, kin.closes)
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
        with stored_values("read history"):
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


def _profiles(connection: sa.Connection, row_of: Mapping[str, int], same: Mapping[str, int]) -> Columns:
    """Profiles; of a contact that has two, under two forms of its id, the one under the form that is read today."""
    found = _fetch(connection, CONTACT, _PROFILE, {name: row for name, row in row_of.items() if name not in same})
    if not same:
        return found
    more = _fetch(connection, CONTACT, _PROFILE, same)
    new = [at for at, owner in enumerate(more["owner"]) if owner not in set(found["owner"])]
    return {name: (*column, *(more[name][at] for at in new)) for name, column in found.items()}


def _with_erased(connection: sa.Connection, suppressions: Columns, row_of: Mapping[str, int]) -> Columns:
    """The suppressions, and one of all channels for each contact that was erased, which only an express lift ends."""
    erased = erased_at(connection, list(row_of))
    if not erased:
        return suppressions
    rows = [(row_of[name], None, ERASED_REASON, at, None, False) for name, at in erased.items()]
    added = dict(zip(("owner", *SUPPRESSION_COLUMNS), zip(*rows, strict=True), strict=True))
    return {name: (*column, *added[name]) for name, column in suppressions.items()}


def _require_words(found: Columns, name: str, known: Sequence[str]) -> None:
    """A refusal or a complaint whose word is damaged must not be passed over."""
    strange = set(found[name]) - set(known)
    if strange:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {sorted(map(repr, strange))[0]}")


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
    locale_code, locales = levels_of(names["locale"])
    return {
        "known": known,
        "zone": names["zone"],
        "locale_code": locale_code,
        "locales": locales,
        "history_known": instants["history_from_at"] != NOT_AN_INSTANT,
        "extra": {name: names[name] for name in _NAMED} | dict(instants),
    }


def _csr(found: Columns, n: int) -> tuple[IntArray, dict[str, NDArray[Any]]]:
    """Offsets, and the columns (`at` as int64, the others as objects) oldest first per contact."""
    owner = np.array(found["owner"], dtype=np.int64)
    order = np.lexsort((np.array(found["at"], dtype=np.int64), owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)
    kinds = {name: np.int64 if name == "at" else object for name in found}
    return offsets, {name: np.array(column, dtype=kinds[name])[order] for name, column in found.items()}
