"""Files of facts: Parquet, CSV or JSON-lines, one fact a row, in flat memory, and no silent repair.

The column `fact` says what a row is; the other columns are the fields of that fact. Empty is absent, wrong is an error
with its row. Contacts are named as in contact files and stored under their pseudonyms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.contact_columns import Block, flags, instants, known, numbers, text
from engine.contact_source import row_blocks
from engine.errors import DataError, ParameterError
from engine.identity import pseudonyms
from engine.state.facts import EXPRESS, GRANTED, Consent, Event, Fact, PastSend, Profile, Suppression
from engine.types import NOT_AN_INSTANT

Row = Mapping[str, Any]

_INSTANTS: Final = ("at", "expires_at", "until_at", "history_from_at", "due_at")
_NUMBERS: Final = ("value_usd", "discount", "motive_price")
_FLAGS: Final = ("lifted",)


def _refusal(status: str) -> Callable[[Row], Fact]:
    def made(row: Row) -> Fact:
        return Consent(
            row["contact_id"],
            row.get("channel"),
            row.get("purpose"),
            status,
            row.get("at"),
            source=row.get("source", ""),
            basis=row.get("basis", ""),
        )

    return made


def _consent(row: Row) -> Fact:
    return Consent(
        row["contact_id"],
        row.get("channel"),
        row.get("purpose"),
        GRANTED,
        row.get("at"),
        source=row.get("source", ""),
        kind=row.get("kind", EXPRESS),
        basis=row.get("basis", ""),
        expires_at=row.get("expires_at"),
    )


def _suppression(row: Row) -> Fact:
    names = ("source", "until_at", "lifted")
    more = {name: row[name] for name in names if name in row}
    return Suppression(row["contact_id"], row.get("channel"), row.get("reason", ""), row.get("at", 0), **more)


def _event(row: Row) -> Fact:
    names = ("event_id", "decision_id", "channel", "category", "value_usd", "source")
    more = {name: row[name] for name in names if name in row}
    return Event(row["contact_id"], row.get("kind", ""), row["at"], **more)


def _profile(row: Row) -> Fact:
    names = (
        *("zone", "zone_source", "region", "area_code", "locale", "history_from_at"),
        *("country", "line_type", "lists", "motive_price", "due_at"),
    )
    return Profile(row["contact_id"], row["at"], **{name: row[name] for name in names if name in row})


def _send(row: Row) -> Fact:
    more = {name: row[name] for name in ("topic", "template", "category", "discount") if name in row}
    fixed = (row.get("decision_id", ""), row["contact_id"], row.get("channel", ""), row.get("purpose", ""))
    return PastSend(*fixed, row["at"], **more)


MAKERS: Final[Mapping[str, Callable[[Row], Fact]]] = {
    "consent": _consent,
    "withdrawal": _refusal("withdrawn"),
    "denial": _refusal("denied"),
    "suppression": _suppression,
    "event": _event,
    "profile": _profile,
    "send": _send,
}
# A fact without an instant cannot be placed; a consent or a refusal without one is kept as the store keeps it.
_DATED: Final = ("suppression", "event", "profile", "send")


def fact_blocks(path: str | Path, contact_key: str, rows: int) -> Iterator[tuple[list[str], list[Fact]]]:
    """Read a file of facts block by block.

    Args:
        path: .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz.
        contact_key: key of the contacts' pseudonyms, as at the decision.
        rows: at most so many facts per block.

    Yields:
        What each row is, and the facts.

    Raises:
        DataError: a wrong value (with its row), or a file that cannot be read.
    """
    for block in row_blocks(Path(path), rows):
        yield _facts(block, contact_key)


def _facts(block: Block, contact_key: str) -> tuple[list[str], list[Fact]]:
    kinds, contacts = _required(block, "fact"), _required(block, "contact_id")
    who = pseudonyms(np.array(contacts, dtype=object), f"contact/{contact_key}")
    columns = {name: _values(block, name) for name in block.columns if name not in ("fact", "contact_id")}
    facts = [_fact(block, row, kinds[row], {"contact_id": str(who[row])}, columns) for row in range(block.n)]
    return kinds, facts


def _fact(block: Block, row: int, kind: str, start: dict[str, Any], columns: Mapping[str, list[Any]]) -> Fact:
    where = f"{block.source}: row {block.first_row + row}"
    maker = MAKERS.get(kind)
    if maker is None:
        raise DataError(f"{where}: fact {kind!r} is none of {', '.join(MAKERS)}", hint="see docs/state.md")
    values = start | {name: column[row] for name, column in columns.items() if column[row] is not None}
    if kind in _DATED and "at" not in values:
        raise DataError(f"{where}: a {kind} needs `at`", hint="ISO 8601 with an offset, or epoch seconds")
    try:
        return maker(values)
    except (ParameterError, DataError) as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error


def _required(block: Block, name: str) -> list[str]:
    column = block.column(name)
    if column is None:
        raise DataError(f"{block.source} has no column {name!r}", hint=f"its columns are {', '.join(block.columns)}")
    column = text(column)
    block.fail(name, ~known(column), column, "must not be empty")
    values: list[str] = column.to_pylist()
    return values


def _values(block: Block, name: str) -> list[Any]:
    column = block.column(name)
    if column is None:
        return [None] * block.n
    if name in _INSTANTS:
        return [None if at == NOT_AN_INSTANT else at for at in instants(block, name, column).tolist()]
    if name in _NUMBERS:
        values, present = numbers(block, name, column)
        return [value if there else None for value, there in zip(values.tolist(), present.tolist(), strict=True)]
    if name in _FLAGS:
        return [None if level < 0 else bool(level) for level in flags(block, name, column).tolist()]
    if pa.types.is_nested(column.type):
        raise DataError(f"{block.source}: column {name!r} must hold single values, holds {column.type}")
    listed: list[Any] = text(column).to_pylist()
    return listed
