"""Outcome files: Parquet, CSV or JSON lines, read into one checked table; nothing is dropped in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from engine import records
from engine.errors import DataError
from engine.instants import SPAN, impossible, value_hint
from engine.types import BoolArray, IntArray

SHOWN_ROWS: Final = 20
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


def read_outcomes(path: Path | str) -> tuple[pa.Table, OutcomeReport]:
    """Read an outcome file.

    Args:
        path: ends in .parquet, .csv, .jsonl or .ndjson; columns decision_id, event, at and, optionally, value_usd.

    Returns:
        A table of `records.outcome_schema()` in file order, and the counts.

    Raises:
        DataError: missing, empty or unreadable file, missing or unknown columns, an instant without a zone, a value
            that is not finite, an empty id or event. The row is named, counted from 0 without the header.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path} is no outcome file", hint=f"known endings: {sorted(_READERS)}")
    try:
        table = read(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", hint="give the path of an outcome file") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", hint="it is empty, truncated or of another format"
        ) from error
    return check_outcomes(table, source=str(path))


def check_outcomes(table: pa.Table, *, source: str) -> tuple[pa.Table, OutcomeReport]:
    """Check a table of outcomes and drop its exact duplicates; as `read_outcomes`, without the file.

    Raises:
        DataError: as `read_outcomes`.
    """
    missing = sorted(set(_COLUMNS) - {"value_usd"} - set(table.schema.names))
    unknown = sorted(set(table.schema.names) - set(_COLUMNS))
    if missing or unknown:
        raise DataError(
            f"{source} lacks the columns {missing} and has unknown ones {unknown}",
            hint=f"an outcome has the columns {list(_COLUMNS)}",
        )
    if "value_usd" not in table.schema.names:
        table = table.append_column("value_usd", pa.nulls(table.num_rows, pa.float64()))
    checked = pa.Table.from_arrays(
        [
            _texts(table.column("decision_id"), "decision_id", source),
            _texts(table.column("event"), "event", source).dictionary_encode(),
            _instants(table.column("at"), source),
            _values(table.column("value_usd"), source),
        ],
        schema=records.outcome_schema(),
    )
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


def _texts(column: pa.ChunkedArray, name: str, source: str) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"`{name}` of {source} must be text, got {kind}", hint="convert the column to strings")
    texts = column.cast(pa.string()).combine_chunks()
    empty = np.asarray(pc.fill_null(pc.equal(texts, ""), fill_value=True)).astype(bool)
    _refuse(empty, f"`{name}` of {source} must be a non-empty string", texts, "")
    return texts


def _instants(column: pa.ChunkedArray, source: str) -> pa.Array:
    what = f"`at` of {source} must be an instant with a time zone"
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            raise DataError(f"{what}, got timestamps without one", hint=_OFFSET_HINT)
        stamps = column.combine_chunks()
        _refuse(np.asarray(stamps.is_null()).astype(bool), what, stamps, _OFFSET_HINT)
        # Finer instants than microseconds are cut, which keeps their order.
        return _possible(stamps.cast(records.INSTANT, safe=False), stamps, what)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        first = next((one for one in column.to_pylist() if one is not None), None)
        raise DataError(f"{what}, got {column.type}", hint=value_hint(first))
    texts = column.combine_chunks()
    strings = texts.to_pylist()
    naive = np.array([text is None or not _OFFSET.search(text.strip()) for text in strings], dtype=bool)
    _refuse(naive, what, texts, value_hint(strings[int(np.argmax(naive))]) if naive.any() else "")
    parsed = pd.to_datetime(pd.Series(strings, dtype=object), format="ISO8601", utc=True, errors="coerce")
    _refuse(parsed.isna().to_numpy(), what, texts, _OFFSET_HINT)
    micros: IntArray = parsed.to_numpy(dtype="datetime64[us]").astype(np.int64)
    return _possible(pa.array(micros).cast(records.INSTANT), texts, what)


def _possible(instants: pa.Array, given: pa.Array, what: str) -> pa.Array:
    wrong = impossible(instants.cast(pa.int64()).to_numpy(zero_copy_only=False))
    _refuse(wrong, f"{what}, {SPAN}", given, "a wrong year is often a number read as another unit")
    return instants


def _values(column: pa.ChunkedArray, source: str) -> pa.Array:
    what = f"`value_usd` of {source} must be a finite number or null"
    given = column.combine_chunks()
    if pa.types.is_string(given.type) or pa.types.is_large_string(given.type):
        texts = pc.utf8_trim_whitespace(given)
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
        numbers = pd.to_numeric(pd.Series(texts.to_pylist(), dtype=object), errors="coerce").to_numpy(np.float64)
        absent = np.asarray(texts.is_null()).astype(bool)
    elif pa.types.is_null(given.type) or pa.types.is_floating(given.type) or pa.types.is_integer(given.type):
        absent = np.asarray(given.is_null()).astype(bool)
        numbers = np.asarray(given.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    elif pa.types.is_decimal(given.type):
        return _values(pa.chunked_array([given.cast(pa.float64())]), source)
    else:
        raise DataError(f"{what}, got {given.type}", hint="give US dollars as a number")
    _refuse(~absent & ~np.isfinite(numbers), what, given, "leave the value out where there is none")
    return pa.array(numbers, mask=absent, type=pa.float64())


def _refuse(bad: BoolArray, what: str, shown: pa.Array, hint: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        got = shown[int(rows[0])].as_py()
        raise DataError(f"{what}, got {got!r} in row {int(rows[0])} ({len(rows)} such rows)", hint=hint)


def _read_csv(path: Path) -> pa.Table:
    # Everything as text: type inference would turn the id 007 into 7 and take a naive instant for UTC.
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string()), strings_can_be_null=False)
    return pa.csv.read_csv(path, convert_options=convert)


def _read_jsonl(path: Path) -> pa.Table:
    kinds = {name: pa.float64() if name == "value_usd" else pa.string() for name in _COLUMNS}
    parse = pa.json.ParseOptions(explicit_schema=pa.schema(list(kinds.items())))
    table = pa.json.read_json(path, parse_options=parse)
    # The explicit schema adds the columns that no line has.
    absent = [name for name in _COLUMNS if table.num_rows and table.column(name).null_count == table.num_rows]
    return table.drop_columns(absent)


_READERS: Final[Mapping[str, Callable[[Path], Any]]] = {
    ".parquet": pq.read_table,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}
