"""Foreign files as batches of text columns: CSV, Parquet and JSON lines, plain or gzipped, in flat memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.files.parquet import open_parquet, parquet_batches
from engine.files.stream import readable, require_content
from engine.files.tables import CsvRows, csv_rows, heading_of, json_records, kind_of, trimmed_names, unique
from engine.mapping.spec import CsvOptions
from engine.types import IntArray, ObjectArray

# Cells of one batch: bounds memory whatever the width of the log.
_BATCH_CELLS: Final = 400_000
_MOST_ROWS: Final = 32_768

MALFORMED: Final = "row cannot be read"
Fault = tuple[int, str, str]


@dataclass(frozen=True)
class TextBatch:
    """n readable rows of a foreign file.

    Attributes:
        rows: (n,) numbers of the rows, counted from 1 over all data rows, readable or not.
        cells: column -> (n,) strings; "" where empty or null.
        faults: (row, reason, value) of the rows that could not be read.
        typed: columns that the file holds as numbers, not as texts (those of JSON lines are told cell by cell:
            `engine.files.documents.Number`).
    """

    rows: IntArray
    cells: dict[str, ObjectArray]
    faults: tuple[Fault, ...] = ()
    typed: frozenset[str] = frozenset()

    @property
    def n(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Source:
    """A foreign file.

    Attributes:
        columns: their names.
        batches: gives the rows batch by batch, in file order; raises `DataError` where the file is damaged.
        floats: columns that the file holds as floats.
    """

    columns: tuple[str, ...]
    batches: Callable[[], Iterator[TextBatch]]
    floats: frozenset[str] = frozenset()


def open_source(path: Path, kind: str = "auto", options: CsvOptions = CsvOptions()) -> Source:  # noqa: B008 (frozen)
    """Open a foreign file.

    Args:
        path: ends in .csv, .tsv, .txt, .parquet, .pq, .jsonl, .ndjson, each but Parquet also with .gz; whether it is
            gzip, and in UTF-8 or UTF-16, its first bytes say.
        kind: csv, parquet or jsonl; auto goes by the name.
        options: how a CSV is written.

    Raises:
        DataError: missing or empty file, unknown kind, damaged header.
    """
    require_content(path)
    kind = kind_of(path) if kind == "auto" else kind
    if kind == "parquet":
        return _parquet_source(path)
    return _json_source(path, options.encoding) if kind == "jsonl" else _csv_source(path, options)


def _csv_source(path: Path, options: CsvOptions) -> Source:
    heading = heading_of(path, encoding=options.encoding, delimiter=options.delimiter, quote=options.quote)
    rows = _batch_rows(len(heading.names))

    def batches() -> Iterator[TextBatch]:
        held: list[CsvRows] = []
        last = rows
        for part in csv_rows(path, heading, options.encoding, options.quote, strict=True):
            held.append(part)
            # Blocks are cut by number, so that a log does not depend on the buffers that its file was read with.
            while part.last >= last:
                yield _csv_batch(one.between(last - rows, last) for one in held)
                held = [part]
                last += rows
        if held and held[-1].last > last - rows:
            yield _csv_batch(one.between(last - rows, last) for one in held)

    return Source(heading.names, batches)


def _csv_batch(parts: Iterable[CsvRows]) -> TextBatch:
    taken = list(parts)
    cells = {
        name: _objects(pa.concat_arrays([part.columns[name] for part in taken]).fill_null(""))
        for name in taken[0].columns
    }
    faults = tuple((number, MALFORMED, problem) for part in taken for number, problem in part.faults)
    return TextBatch(np.concatenate([part.numbers for part in taken]), cells, faults)


def _json_source(path: Path, encoding: str) -> Source:
    """Numbers keep their own digits, true and false become 1 and 0, nested values JSON."""
    names: dict[str, None] = {}
    for _, record in json_records(path, encoding, digits=True):
        if isinstance(record, dict):
            names.update(dict.fromkeys(record))
    if not names:
        raise DataError(f"{path} holds no JSON object", hint="JSON lines: one object per line")
    columns = dict(zip(unique(trimmed_names(tuple(names)), path), names, strict=True))

    def batches() -> Iterator[TextBatch]:
        records = json_records(path, encoding, digits=True)
        while part := list(islice(records, _batch_rows(len(columns)))):
            good = [(number, record) for number, record in part if isinstance(record, dict)]
            faults = tuple((n, MALFORMED, str(record)[:200]) for n, record in part if not isinstance(record, dict))
            cells = {
                name: _objects([_json_cell(record.get(written)) for _, record in good])
                for name, written in columns.items()
            }
            yield TextBatch(np.array([number for number, _ in good], dtype=np.int64), cells, faults)

    return Source(tuple(columns), batches)


def _parquet_source(path: Path) -> Source:
    """Every value is the text that a CSV would hold."""
    with open_parquet(path) as file:
        schema = file.schema_arrow
    columns = unique(trimmed_names(schema.names), path)
    kinds = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in schema]
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    typed = frozenset(n for n, kind in zip(columns, kinds, strict=True) if not any(is_one(kind) for is_one in texts))
    floats = frozenset(n for n, kind in zip(columns, kinds, strict=True) if pa.types.is_floating(kind))

    def batches() -> Iterator[TextBatch]:
        start = 1
        for batch in parquet_batches(path, _batch_rows(len(columns))):
            rows = np.arange(start, start + batch.num_rows, dtype=np.int64)
            start += batch.num_rows
            with readable(path):
                cells = {n: _text(c) for n, c in zip(columns, batch.columns, strict=True)}
            yield TextBatch(rows, cells, typed=typed)

    return Source(columns, batches, floats)


def _batch_rows(width: int) -> int:
    return max(256, min(_MOST_ROWS, _BATCH_CELLS // max(1, width)))


def _json_cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return ("1" if value else "0") if isinstance(value, bool) else json.dumps(value)


def _text(array: pa.Array) -> ObjectArray:
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    elif pa.types.is_float32(kind) or pa.types.is_float16(kind):
        array = array.cast(pa.float64())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        listed: list[Any] = [_json_cell(_plain(value)) for value in array.to_pylist()]
    else:
        listed = array.cast(pa.string()).fill_null("").to_pylist()
    return _objects(listed)


def _objects(cells: pa.Array | list[Any]) -> ObjectArray:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells.to_pylist() if isinstance(cells, pa.Array) else cells
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else json.loads(json.dumps(value, default=str))


def rows_of(path: Path, wanted: Callable[[Sequence[str]], Sequence[str]]) -> list[dict[str, str]]:
    """All rows of a small companion CSV, as dicts of the wanted columns.

    Args:
        path: the companion.
        wanted: given the columns that are there, the columns to return.

    Raises:
        DataError: unreadable, or with a row that cannot be read.
    """
    source = open_source(path)
    names = wanted(source.columns)
    rows: list[dict[str, str]] = []
    for batch in source.batches():
        if batch.faults:
            number, reason, value = batch.faults[0]
            raise DataError(f"{path}: {reason} (row {number}: {value})", hint="repair the companion file")
        rows += [{name: batch.cells[name][i] for name in names} for i in range(batch.n)]
    return rows
