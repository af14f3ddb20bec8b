"""Outcome files: Parquet, CSV or JSON lines, read into one checked table; nothing is dropped in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.files.ids import refuse_damaged, trimmed
from engine.files.tables import ENDINGS, numbers_of, table_batches
from engine.names import did_you_mean, found
from engine.records import schema as records
from engine.storage.given import Given, files_of
from engine.time.instants import SPAN, impossible, iso_instants, value_hint
from engine.types import NOT_AN_INSTANT, BoolArray

SHOWN_ROWS: Final = 20
_BLOCK_ROWS: Final = 65_536
_COLUMNS: Final = tuple(name for name, *_ in records.OUTCOME_COLUMNS)
_OFFSET: Final = re.compile(r"(?:[Zz]|[+-]\d{2}:?\d{2})$")
_OFFSET_HINT: Final = "write the offset of every instant: 2026-01-31T10:00:00+00:00"


@dataclass(frozen=True)
class OutcomeReport:
    """What happened to the rows of an outcome file.

    Attributes:
        rows_read: rows in the file.
        rows_kept: rows in the table.
        duplicates: exact repeats of an earlier row (same decision, event, instant and value), dropped.
        duplicate_rows: the first `SHOWN_ROWS` of them, counted from 0.
    """

    rows_read: int
    rows_kept: int
    duplicates: int
    duplicate_rows: tuple[int, ...]


def read_outcomes(given: Given) -> tuple[pa.Table, OutcomeReport]:
    """Read outcome files, as one.

    Args:
        given: CSV, JSON lines (both also gzip) or Parquet with columns decision_id, event, at and, optionally,
            value_usd; a folder of such files, a glob, or several of these.

    Returns:
        A table of `records.outcome_schema()` in the order of the files, each row once, and the counts of all files.
        Events that name a state of the dispatch have our spelling of it, whatever theirs is.

    Raises:
        DataError: missing, empty or unreadable file, missing or unknown columns, an instant without a zone, a value
            that is not finite, an empty id or event. The row is named, counted from 0 without the header.
    """
    tables = []
    rows = 0
    for path in files_of(given, what="outcome", endings=ENDINGS):
        table, report = _read_one(path)
        tables.append(table)
        rows += report.rows_read
    if len(tables) == 1:
        return table, report
    # A row that two exports hold counts once, as within one file.
    kept, whole = check_outcomes(pa.concat_tables(tables), source="the outcomes")
    return kept, OutcomeReport(rows, whole.rows_kept, rows - whole.rows_kept, whole.duplicate_rows)


def _read_one(path: Path) -> tuple[pa.Table, OutcomeReport]:
    parts: list[pa.Table] = []
    first = 0
    for columns, rows in table_batches(path, _BLOCK_ROWS):
        parts.append(_conformed(pa.table(columns), str(path), first))
        first += rows
    if not parts:
        raise DataError(f"{path} is empty", hint="an empty file is more often a failed export: export it again")
    return _without_repeats(pa.concat_tables(parts).unify_dictionaries())


def check_outcomes(table: pa.Table, *, source: str) -> tuple[pa.Table, OutcomeReport]:
    """Check a table of outcomes and drop its exact duplicates; as `read_outcomes`, without the file.

    Raises:
        DataError: as `read_outcomes`.
    """
    return _without_repeats(_conformed(table, source, 0))


def _conformed(table: pa.Table, source: str, first: int) -> pa.Table:
    """The rows of a table in our schema; `first` is the number of its first row in the file."""
    missing = sorted(set(_COLUMNS) - {"value_usd"} - set(table.schema.names))
    unknown = sorted(set(table.schema.names) - set(_COLUMNS))[:SHOWN_ROWS]
    if missing or unknown:
        near = "".join(did_you_mean(name, _COLUMNS) for name in unknown[:1])
        raise DataError(
            f"{source} lacks the columns {missing} and has unknown ones {unknown}",
            hint=f"{near}an outcome has the columns {list(_COLUMNS)}",
        )
    if "value_usd" not in table.schema.names:
        table = table.append_column("value_usd", pa.nulls(table.num_rows, pa.float64()))
    ids = trimmed(_texts(table.column("decision_id"), "decision_id", source, first))
    _refuse(
        np.asarray(ids.is_null()).astype(bool), f"`decision_id` of {source} must be a non-empty string", ids, "", first
    )
    refuse_damaged(ids, "decision_id", source=source, first_row=first)
    return pa.Table.from_arrays(
        [
            ids,
            _events(_texts(table.column("event"), "event", source, first)),
            _instants(table.column("at"), source, first),
            _values(table.column("value_usd"), source, first),
        ],
        schema=records.outcome_schema(),
    )


def _without_repeats(checked: pa.Table) -> tuple[pa.Table, OutcomeReport]:
    again = duplicate_rows(checked)
    kept = checked.filter(pa.array(~again))
    shown = tuple(int(row) for row in np.flatnonzero(again)[:SHOWN_ROWS])
    return kept, OutcomeReport(checked.num_rows, kept.num_rows, int(again.sum()), shown)


def duplicate_rows(outcomes: pa.Table) -> BoolArray:
    """(n,) true where an earlier row is equal in decision, event, instant and value."""
    again: BoolArray = outcome_frame(outcomes).duplicated(keep="first").to_numpy()
    return again


def outcome_frame(outcomes: pa.Table) -> pd.DataFrame:
    """The outcomes as a frame: decision_id and event as objects, at in microseconds, value_usd with NaN for null."""
    return pd.DataFrame(
        {
            "decision_id": outcomes.column("decision_id").to_numpy().astype(object),
            "event": outcomes.column("event").cast(pa.string()).to_numpy().astype(object),
            "at": outcomes.column("at").cast(pa.int64()).to_numpy(),
            "value_usd": outcomes.column("value_usd").to_numpy().astype(np.float64),
        }
    )


def _texts(column: pa.ChunkedArray, name: str, source: str, first: int) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"`{name}` of {source} must be text, got {kind}", hint="convert the column to strings")
    texts = column.cast(pa.string()).combine_chunks()
    empty = np.asarray(pc.fill_null(pc.equal(texts, ""), fill_value=True)).astype(bool)
    _refuse(empty, f"`{name}` of {source} must be a non-empty string", texts, "", first)
    return texts


def as_state(event: str) -> str:
    """The state of a dispatch that an event names in any spelling (`Failed` is `failed`), or else the event itself."""
    return found(event, records.STATES) or event


def _events(texts: pa.Array) -> pa.Array:
    """The events as labels; those that name a state have its one spelling, so that no failed send is lost."""
    labels = texts.dictionary_encode()
    given = labels.dictionary.to_pylist()
    meant = [as_state(event) for event in given]
    return labels if meant == given else pa.array(meant, pa.string()).take(labels.indices).dictionary_encode()


def _instants(column: pa.ChunkedArray, source: str, first: int) -> pa.Array:
    what = f"`at` of {source} must be an instant with a time zone"
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            raise DataError(f"{what}, got timestamps without one", hint=_OFFSET_HINT)
        stamps = column.combine_chunks()
        _refuse(np.asarray(stamps.is_null()).astype(bool), what, stamps, _OFFSET_HINT, first)
        # Finer instants than microseconds are cut, which keeps their order.
        return _possible(stamps.cast(records.INSTANT, safe=False), stamps, what, first)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        shown = next((one for one in column.to_pylist() if one is not None), None)
        raise DataError(f"{what}, got {column.type}", hint=value_hint(shown))
    texts = column.combine_chunks()
    strings = texts.to_pylist()
    naive = np.array([text is None or not _OFFSET.search(text.strip()) for text in strings], dtype=bool)
    _refuse(naive, what, texts, value_hint(strings[int(np.argmax(naive))]) if naive.any() else "", first)
    micros = iso_instants(strings)
    _refuse(micros == NOT_AN_INSTANT, what, texts, _OFFSET_HINT, first)
    return _possible(pa.array(micros).cast(records.INSTANT), texts, what, first)


def _possible(instants: pa.Array, given: pa.Array, what: str, first: int) -> pa.Array:
    wrong = impossible(instants.cast(pa.int64()).to_numpy(zero_copy_only=False))
    _refuse(wrong, f"{what}, {SPAN}", given, "a wrong year is often a number read as another unit", first)
    return instants


def _values(column: pa.ChunkedArray, source: str, first: int) -> pa.Array:
    what = f"`value_usd` of {source} must be a finite number or null"
    given = column.combine_chunks()
    if pa.types.is_string(given.type) or pa.types.is_large_string(given.type):
        texts = pc.utf8_trim_whitespace(given)
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
        numbers = numbers_of(texts)
        absent = np.asarray(texts.is_null()).astype(bool)
    elif pa.types.is_null(given.type) or pa.types.is_floating(given.type) or pa.types.is_integer(given.type):
        absent = np.asarray(given.is_null()).astype(bool)
        numbers = np.asarray(given.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    elif pa.types.is_decimal(given.type):
        return _values(pa.chunked_array([given.cast(pa.float64())]), source, first)
    else:
        raise DataError(f"{what}, got {given.type}", hint="give US dollars as a number")
    _refuse(~absent & ~np.isfinite(numbers), what, given, "leave the value out where there is none", first)
    return pa.array(numbers, mask=absent, type=pa.float64())


def _refuse(bad: BoolArray, what: str, shown: pa.Array, hint: str, first: int) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        got = shown[int(rows[0])].as_py()
        raise DataError(f"{what}, got {got!r} in row {first + int(rows[0])} ({len(rows)} such rows)", hint=hint)
