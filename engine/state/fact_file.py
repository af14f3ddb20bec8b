"""Files of facts: Parquet, CSV or JSON-lines, one fact a row, in flat memory, and no silent repair.

The column `fact` says what a row is; the other columns are the fields of that fact. Empty is absent, wrong is an error
with its row. Contacts are named as in contact files and stored under their pseudonyms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.contacts.columns import ColumnBatch, file_batches, flags, instants, known, numbers, text
from engine.errors import DataError, ParameterError
from engine.files.ids import ids_of
from engine.files.tables import ENDINGS
from engine.identity import contact_pseudonyms
from engine.names import did_you_mean, found
from engine.state.facts import GRANTED, UNKNOWN_KIND, Consent, Event, Fact, PastSend, Profile, Suppression
from engine.state.replies import Answer, code_of, reply_of
from engine.storage.given import Given, files_of
from engine.types import NOT_AN_INSTANT, ObjectArray

Row = Mapping[str, Any]

_INSTANTS: Final = ("at", "expires_at", "until_at", "history_from_at", "due_at")
_NUMBERS: Final = ("value_usd", "discount", "motive_price")
_FLAGS: Final = ("lifted",)
_IDS: Final = ("event_id", "decision_id")


def _consent(status: str) -> Callable[[Row], Fact]:
    def made(row: Row) -> Fact:
        more: dict[str, Any] = {"kind": UNKNOWN_KIND} if status == GRANTED else {}
        more |= _given(row, "source", "kind", "basis", "expires_at")
        return Consent(row["contact_id"], row.get("channel"), row.get("purpose"), status, row.get("at"), **more)

    return made


def _suppression(row: Row) -> Fact:
    more = _given(row, "source", "until_at", "lifted")
    return Suppression(row["contact_id"], row.get("channel"), row.get("reason", ""), row.get("at", 0), **more)


def _event(row: Row) -> Fact:
    more = _given(row, "event_id", "decision_id", "channel", "category", "value_usd", "source")
    return Event(row["contact_id"], row.get("kind", ""), row["at"], **more)


def _profile(row: Row) -> Fact:
    return Profile(row["contact_id"], row["at"], **_given(row, *_OF_PROFILES))


def _send(row: Row) -> Fact:
    fixed = (row.get("decision_id", ""), row["contact_id"], row.get("channel", ""), row.get("purpose", ""))
    return PastSend(*fixed, row["at"], **_given(row, "topic", "template", "category", "discount"))


def _given(row: Row, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}


MAKERS: Final[Mapping[str, Callable[[Row], Fact | Answer]]] = {
    "consent": _consent(GRANTED),
    "withdrawal": _consent("withdrawn"),
    "denial": _consent("denied"),
    "suppression": _suppression,
    "event": _event,
    "profile": _profile,
    "send": _send,
    "reply": reply_of,
    "provider_code": code_of,
}
_OF_PROFILES: Final = (
    *("zone", "zone_source", "region", "area_code", "locale", "history_from_at"),
    *("country", "line_type", "lists", "motive_price", "due_at"),
)
_OF_EVERY: Final = ("fact", "contact_id", "at")
# The further columns of each kind of fact. A value anywhere else would be dropped, so it is an error.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "consent": ("channel", "purpose", "source", "kind", "basis", "expires_at"),
    "withdrawal": ("channel", "purpose", "source", "basis"),
    "denial": ("channel", "purpose", "source", "basis"),
    "suppression": ("channel", "reason", "source", "until_at", "lifted"),
    "event": ("kind", "event_id", "decision_id", "channel", "category", "value_usd", "source"),
    "profile": _OF_PROFILES,
    "send": ("decision_id", "channel", "purpose", "topic", "template", "category", "discount"),
    "reply": ("channel", "text", "decision_id"),
    "provider_code": ("channel", "code", "provider", "event_id", "decision_id"),
}
# A fact without an instant cannot be placed; a consent or a refusal without one is kept as the store keeps it.
_DATED: Final = ("suppression", "event", "profile", "send", "reply", "provider_code")


def fact_batches(
    path: Given, contact_key: str, rows: int, met: Callable[[ObjectArray, ObjectArray], None] | None = None
) -> Iterator[tuple[list[str], list[Fact]]]:
    """Read files of facts batch by batch.

    Names of columns and facts are understood as `engine.names` does; what is none of them is refused.

    Args:
        path: Parquet, CSV or JSON lines, text also in gzip (`engine.files.tables.KINDS`); a folder of such files, a
            glob, or several of these.
        contact_key: key of the contacts' pseudonyms, as at the decision.
        rows: the most facts that a batch may hold.
        met: told the contact ids of each batch and their pseudonyms, before its facts are given.

    Yields:
        What each row is (of a reply and a provider's code also what it was read as, as in `reply/stop`), and the facts.

    Raises:
        DataError: a wrong value (with its row), an unknown column, a value in a column that the row's fact does not
            use, or a file that cannot be read.
    """
    for file in files_of(path, what="fact", endings=ENDINGS):
        for batch in file_batches(file, rows):
            yield _facts(batch, contact_key, met)


def _facts(
    batch: ColumnBatch, contact_key: str, met: Callable[[ObjectArray, ObjectArray], None] | None
) -> tuple[list[str], list[Fact]]:
    batch = _named(batch)
    written = _required(batch, "fact", text)
    contacts = _required(batch, "contact_id", partial(_ids, batch, "contact_id"))
    meant = {name: found(name, MAKERS) for name in set(written)}
    kinds = [meant[name] or name for name in written]
    ids: ObjectArray = np.array(contacts, dtype=object)
    who = contact_pseudonyms(ids, contact_key)
    columns = {name: _values(batch, name) for name in batch.columns if name not in ("fact", "contact_id")}
    facts: list[Fact] = []
    for row in range(batch.n):
        made = _fact(batch, row, kinds[row], {"contact_id": str(who[row])}, columns)
        if isinstance(made, Answer):
            kinds[row] = f"{kinds[row]}/{made.read}"
        facts += made.facts if isinstance(made, Answer) else (made,)
    if met is not None:
        met(ids, who)
    return kinds, facts


def _named(batch: ColumnBatch) -> ColumnBatch:
    """The batch under the names of its columns that we know.

    Raises:
        DataError: a column that no fact has, or two that mean the same.
    """
    known = tuple(dict.fromkeys((*_OF_EVERY, *(name for names in COLUMNS.values() for name in names))))

    def meant(header: str) -> tuple[str, ...]:
        name = found(header, known)
        if name is None:
            raise DataError(
                f"{batch.source}: no fact has a column {header!r}",
                hint=f"{did_you_mean(header, known)}docs/state.md lists the columns of each fact; take others out",
            )
        return (name,)

    return batch.renamed(meant)


def _fact(
    batch: ColumnBatch, row: int, kind: str, start: dict[str, Any], columns: Mapping[str, list[Any]]
) -> Fact | Answer:
    where = f"{batch.source}: row {batch.first_row + row}"
    maker = MAKERS.get(kind)
    if maker is None:
        raise DataError(
            f"{where}: fact {kind!r} is none of {', '.join(MAKERS)}",
            hint=f"{did_you_mean(kind, MAKERS)}see docs/state.md",
        )
    given = {name: column[row] for name, column in columns.items() if column[row] is not None}
    _check_used(where, kind, given)
    values = start | given
    if kind in _DATED and "at" not in values:
        raise DataError(f"{where}: a {kind} needs `at`", hint="ISO 8601 with an offset, or epoch seconds")
    try:
        return maker(values)
    except (ParameterError, DataError) as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error


def _check_used(where: str, kind: str, given: Mapping[str, Any]) -> None:
    """Refuse a value that the fact would not keep: `until_at` of a consent is meant to end it, and would not."""
    used = (*_OF_EVERY, *COLUMNS[kind])
    for name, value in given.items():
        if name not in used:
            raise DataError(
                f"{where}: a {kind} has no {name!r}, got {value!r}",
                hint=f"{did_you_mean(name, used)}a {kind} has {', '.join(COLUMNS[kind])}",
            )


def _ids(batch: ColumnBatch, name: str, column: pa.Array) -> pa.Array:
    return ids_of(column, name, source=batch.source, first_row=batch.first_row)


def _required(batch: ColumnBatch, name: str, read: Callable[[pa.Array], pa.Array]) -> list[str]:
    column = batch.column(name)
    if column is None:
        raise DataError(f"{batch.source} has no column {name!r}", hint=f"its columns are {', '.join(batch.columns)}")
    column = read(column)
    batch.fail(name, ~known(column), column, "must not be empty")
    values: list[str] = column.to_pylist()
    return values


def _values(batch: ColumnBatch, name: str) -> list[Any]:
    column = batch.column(name)
    if column is None:
        return [None] * batch.n
    if name in _INSTANTS:
        return [None if at == NOT_AN_INSTANT else at for at in instants(batch, name, column).tolist()]
    if name in _NUMBERS:
        values, present = numbers(batch, name, column)
        return [value if there else None for value, there in zip(values.tolist(), present.tolist(), strict=True)]
    if name in _FLAGS:
        return [None if level < 0 else bool(level) for level in flags(batch, name, column).tolist()]
    if pa.types.is_nested(column.type):
        raise DataError(f"{batch.source}: column {name!r} must hold single values, holds {column.type}")
    listed: list[Any] = (_ids(batch, name, column) if name in _IDS else text(column)).to_pylist()
    return listed
