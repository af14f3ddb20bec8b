"""Contacts whose ids differ in their spelling alone: what speaks against one closes the others as well.

Ids are opaque, so `Ann@x.org` and `ann@x.org` are two contacts, and what is granted to one opens nothing for the other.
But an opt-out that comes in under another case, with other blanks or in another Unicode form is more often the same
person's than somebody else's. The store holds no ids, so it keeps beside each pseudonym a keyed hash of the id without
those differences.

Ids are read with their accents composed (NFC). What an earlier version recorded under the decomposed form (NFD) stands
under another pseudonym; that pseudonym is noted as the same contact's, and all of its facts are read as the contact's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from engine.contacts.contacts import NO, YES, ContactBatch
from engine.guardrails.history.stops import stopped
from engine.identity import contact_pseudonyms, pseudonyms
from engine.state.facts import GRANTED, STOP_KINDS, Consent, Event, Fact, Suppression
from engine.state.sequence import changing
from engine.state.tables import CONSENT, CONTACT, EVENT, SEND, SPELLING
from engine.storage.database import among, insert_missing, reading

_HIDDEN: Final = ("Cc", "Cf")


def folded(name: str) -> str:
    """An id without case, white space, hidden characters and differences of Unicode form; never empty."""
    if name.isascii():
        return "".join(name.lower().split()) or name
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    kept = "".join(one for one in text if not one.isspace() and unicodedata.category(one) not in _HIDDEN)
    return unicodedata.normalize("NFKC", kept) or name


def note_ids(engine: sa.Engine, ids: Sequence[str], contact_key: str) -> None:
    """Keep how ids are spelt, as hashes; those that are noted change nothing.

    Raises:
        StorageError: the store refused.
    """
    names = sorted(set(ids))
    if not names:
        return
    apart = [(name, other) for name in names if (other := unicodedata.normalize("NFD", name)) != name]
    spelt = np.array([*names, *(other for _, other in apart)], dtype=object)
    composed = np.array([*names, *(name for name, _ in apart)], dtype=object)
    key = np.array([folded(name) for name in composed], dtype=object)
    columns = contact_pseudonyms(spelt, contact_key), contact_pseudonyms(composed, contact_key)
    hashes = pseudonyms(key, f"spelling/{contact_key}")
    with reading(engine, "look for spellings") as connection:
        there = among(connection, SPELLING.c.contact_id, columns[0].tolist())
        noted = set(connection.execute(sa.select(SPELLING.c.contact_id).where(there)).scalars())
    rows = [
        {"contact_id": one, "composed": whole, "folded": fold}
        for one, whole, fold in zip(*(part.tolist() for part in columns), hashes.tolist(), strict=True)
        if one not in noted
    ]
    if rows:
        rows.sort(key=lambda row: str(row["contact_id"]))
        with changing(engine, "note spellings") as (connection, _):
            connection.execute(insert_missing(connection, SPELLING), rows)


@dataclass(frozen=True)
class Kin:
    """Other spellings of the contacts of a batch.

    Attributes:
        row_of: pseudonym -> row: those of the batch first, then the others, each in a row of its own; another form
            of the same id is in its contact's row.
        same: of these, the other forms of ids of the batch.
        closes: (m, 2) rows: what speaks against the second closes the first.
    """

    row_of: Mapping[str, int]
    same: Mapping[str, int]
    closes: tuple[tuple[int, int], ...]


def kin_of(connection: sa.Connection, row_of: Mapping[str, int]) -> Kin:
    """The other spellings of contacts.

    Args:
        connection: to a store.
        row_of: pseudonym -> row in [0, n).
    """
    mine, other = SPELLING.alias(), SPELLING.alias()
    query = sa.select(mine.c.contact_id, mine.c.composed, other.c.contact_id, other.c.composed).join_from(
        mine, other, sa.and_(mine.c.folded == other.c.folded, mine.c.contact_id != other.c.contact_id)
    )
    rows, same, closes = dict(row_of), dict[str, int](), []
    where = among(connection, mine.c.contact_id, list(row_of))
    found = sorted(tuple(row) for row in connection.execute(query.where(where)))
    for contact, whole, another, other_whole in found:
        if whole == other_whole and another not in rows:
            rows[another] = same[another] = row_of[contact]
    for contact, _, another, _ in found:
        if another not in same:
            closes.append((row_of[contact], rows.setdefault(another, len(rows) - len(same))))
    return Kin(rows, same, tuple(closes))


def closed_by(batch: ContactBatch, closes: Sequence[tuple[int, int]]) -> ContactBatch:
    """The batch with rows closed by others: by their refusals, suppressions, stop events and objections."""
    if not closes:
        return batch
    rows, others = np.array(closes, dtype=np.int64).T
    consent, suppressed, extra = batch.consent.copy(), batch.suppressed.copy(), dict(batch.extra)
    stops = stopped(batch)
    objection = extra["profiling_objection"].copy()
    given_at = extra["consent_at"].copy()
    for row, other in zip(rows.tolist(), others.tolist(), strict=True):
        refused = batch.consent[other] == NO
        consent[row][refused] = NO
        given_at[row][refused] = batch.extra["consent_at"][other][refused]
        suppressed[row][batch.suppressed[other] == YES] = YES
        if stops is not None:
            suppressed[row][stops[other]] = YES
        objection[row] = YES if batch.extra["profiling_objection"][other] == YES else objection[row]
    extra |= {"consent_at": given_at, "profiling_objection": objection}
    return replace(batch, consent=consent, suppressed=suppressed, extra=extra)


def speaks_against(fact: Fact) -> bool:
    """Whether a fact is a stop: a refusal, a suppression or an event that closes its channel."""
    if isinstance(fact, Consent):
        return fact.status != GRANTED
    if isinstance(fact, Suppression):
        return not fact.lifted
    return isinstance(fact, Event) and fact.kind in STOP_KINDS


def strangers(engine: sa.Engine, contact_ids: Sequence[str]) -> dict[str, str | None]:
    """Those of the pseudonyms of whom the store knows nothing but stops -> a known one that is spelt alike, or None.

    Raises:
        StorageError: the store cannot be read.
    """
    with reading(engine, "look for unknown contacts") as connection:
        unknown = sorted(set(contact_ids) - _known(connection, list(contact_ids)))
        kin = kin_of(connection, {name: row for row, name in enumerate(unknown)})
        known = _known(connection, [name for name in kin.row_of if name not in set(unknown)])
    names = {row: name for name, row in kin.row_of.items() if name not in kin.same}
    near: dict[str, str | None] = dict.fromkeys(unknown)
    for row, other in kin.closes:
        if names[other] in known:
            near[unknown[row]] = names[other]
    return {name: other for name, other in near.items() if not _same_known(name, kin, unknown, known)}


def _same_known(name: str, kin: Kin, unknown: Sequence[str], known: set[str]) -> bool:
    """Whether the contact is known under another form of the same id."""
    return any(unknown[row] == name and other in known for other, row in kin.same.items())


def _known(connection: sa.Connection, contact_ids: Sequence[str]) -> set[str]:
    tables: tuple[tuple[sa.Table, Any], ...] = (
        (CONTACT, sa.true()),
        (CONSENT, CONSENT.c.status == GRANTED),
        (SEND, sa.true()),
        (EVENT, EVENT.c.kind.not_in(STOP_KINDS)),
    )
    found: set[str] = set()
    for table, where in tables:
        query = sa.select(table.c.contact_id).distinct()
        found |= set(
            connection.execute(query.where(among(connection, table.c.contact_id, contact_ids), where)).scalars()
        )
    return found
