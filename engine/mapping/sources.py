"""Foreign files as blocks of text columns: CSV, Parquet and JSON lines, plain or gzipped, in flat memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.files.documents import decode_json
from engine.files.parquet import open_parquet, parquet_batches
from engine.files.stream import LONGEST_FIELD, open_text, readable, require_content
from engine.files.tables import heading_of, kind_of, trimmed_names, unique
from engine.mapping.spec import CsvOptions
from engine.types import IntArray, ObjectArray

# Cells of one block: bounds memory whatever the width of the log.
_BLOCK_CELLS: Final = 400_000
_MOST_ROWS: Final = 32_768

MALFORMED: Final = "row cannot be read"
Fault = tuple[int, str, str]


@dataclass(frozen=True)
class Block:
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


class Source(Protocol):
    """A foreign file: its column names, and its rows block by block."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def floats(self) -> frozenset[str]:
        """Columns that the file holds as floats."""
        ...

    def blocks(self) -> Iterator[Block]: ...


def open_source(path: Path, kind: str = "auto", options: CsvOptions = CsvOptions()) -> Source:  # noqa: B008 (frozen)
    """Open a foreign file.

    Args:
        path: ends in .csv, .tsv, .txt, .parquet, .pq, .jsonl, .ndjson, each but Parquet also with .gz; whether it is
            gzip, and in UTF-8 or UTF-16, its first bytes say.
        kind: csv, parquet or jsonl; auto goes by the name.
        options: of a CSV.

    Raises:
        DataError: missing or empty file, unknown kind, damaged header.
    """
    require_content(path)
    kind = kind_of(path) if kind == "auto" else kind
    if kind == "parquet":
        return ParquetSource(path)
    return JsonLines(path, options.encoding) if kind == "jsonl" else CsvSource(path, options)


class CsvSource:
    """A CSV, read by Python's csv module, which sees each row before anything is guessed about its cells.

    Blank lines are no rows. An unnamed column (a written index) is called `unnamed_POSITION`.

    Raises:
        DataError: unreadable text, no header, or a column name twice.
    """

    def __init__(self, path: Path, options: CsvOptions) -> None:
        self._path, self._options = path, options
        heading = heading_of(path, encoding=options.encoding, delimiter=options.delimiter, quote=options.quote)
        self.columns, self._delimiter = heading.names, heading.delimiter

    floats: frozenset[str] = frozenset()

    def _reader(self, file: IO[str]) -> Any:
        # The limit is the module's: an HTML body is one field, a file without a closing quote is not.
        csv.field_size_limit(LONGEST_FIELD)
        return csv.reader(file, delimiter=self._delimiter, quotechar=self._options.quote, strict=True)

    def blocks(self) -> Iterator[Block]:
        """Blocks in file order.

        Raises:
            DataError: the text ends in the middle of a quoted field, or is damaged.
        """
        with readable(self._path, self._options.encoding), open_text(self._path, self._options.encoding) as file:
            lines = enumerate(self._lines(self._reader(file)))
            next(lines)
            while part := list(islice(lines, _block_rows(len(self.columns)))):
                yield self._block(part)

    def _lines(self, reader: Any) -> Iterator[list[str] | str]:
        """Rows; or, for a row with broken quotes, what is wrong with it."""
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error):
                    raise DataError(
                        f"{self._path} ends inside a quoted field (line {reader.line_num})",
                        hint="the file is truncated, or a quote is missing",
                    ) from error
                if "field larger" in str(error):
                    raise DataError(
                        f"{self._path} has a field of more than {LONGEST_FIELD} characters (line {reader.line_num})",
                        hint="a quote is missing, or the delimiter is another one",
                    ) from error
                row = f"line {reader.line_num}: {error}"
            if row:
                yield row

    def _block(self, part: list[tuple[int, list[str] | str]]) -> Block:
        width = len(self.columns)
        good = [(number, row) for number, row in part if isinstance(row, list) and len(row) == width]
        faults = []
        if len(good) < len(part):
            for number, row in part:
                if isinstance(row, str):
                    faults.append((number, MALFORMED, row))
                elif len(row) != width:
                    faults.append((number, MALFORMED, f"{len(row)} fields, the header has {width}"))
        return _from_rows([n for n, _ in good], [row for _, row in good], self.columns, tuple(faults))


class JsonLines:
    """One JSON object per line; numbers keep their own digits, true and false become 1 and 0, nested values JSON.

    Raises:
        DataError: unreadable text, or no object at all.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self._path, self._encoding = path, encoding
        names: dict[str, None] = {}
        for _, record in self._records():
            if isinstance(record, dict):
                names.update(dict.fromkeys(record))
        if not names:
            raise DataError(f"{path} holds no JSON object", hint="JSON lines: one object per line")
        self._names = tuple(names)
        self.columns = unique(trimmed_names(self._names), path)

    floats: frozenset[str] = frozenset()

    def _records(self) -> Iterator[tuple[int, Any]]:
        with readable(self._path, self._encoding), open_text(self._path, self._encoding) as file:
            number = 0
            for line in file:
                if not line.strip():
                    continue
                number += 1
                try:
                    record = decode_json(line, digits=True)
                except ValueError as error:
                    record = str(error)
                yield number, record

    def blocks(self) -> Iterator[Block]:
        """Blocks in file order.

        Raises:
            DataError: the file is damaged.
        """
        records = self._records()
        while part := list(islice(records, _block_rows(len(self.columns)))):
            good = [(number, record) for number, record in part if isinstance(record, dict)]
            faults = tuple((n, MALFORMED, str(record)[:200]) for n, record in part if not isinstance(record, dict))
            rows = [[_json_cell(record.get(name)) for name in self._names] for _, record in good]
            yield _from_rows([number for number, _ in good], rows, self.columns, faults)


class ParquetSource:
    """A Parquet file; every value as the text that a CSV would hold.

    Raises:
        DataError: no Parquet file, a truncated one, or one without rows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_parquet(path) as file:
            schema = file.schema_arrow
        self.columns = unique(trimmed_names(schema.names), path)
        kinds = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in schema]
        self._typed = frozenset(
            name
            for name, kind in zip(self.columns, kinds, strict=True)
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
        )
        self.floats = frozenset(
            name for name, kind in zip(self.columns, kinds, strict=True) if pa.types.is_floating(kind)
        )

    def blocks(self) -> Iterator[Block]:
        """Blocks in file order.

        Raises:
            DataError: the file is damaged.
        """
        start = 1
        for batch in parquet_batches(self._path, _block_rows(len(self.columns))):
            rows = np.arange(start, start + batch.num_rows, dtype=np.int64)
            start += batch.num_rows
            with readable(self._path):
                cells = {n: _text(c) for n, c in zip(self.columns, batch.columns, strict=True)}
            yield Block(rows, cells, typed=self._typed)


def _block_rows(width: int) -> int:
    return max(256, min(_MOST_ROWS, _BLOCK_CELLS // max(1, width)))


def _from_rows(
    numbers: Sequence[int], rows: Sequence[Sequence[str]], columns: Sequence[str], faults: tuple[Fault, ...]
) -> Block:
    cells: dict[str, ObjectArray] = {}
    for position, name in enumerate(columns):
        column = np.empty(len(rows), dtype=object)
        column[:] = [row[position] for row in rows]
        cells[name] = column
    return Block(np.array(numbers, dtype=np.int64), cells, faults)


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
    out = np.empty(len(listed), dtype=object)
    out[:] = listed
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
    for block in source.blocks():
        if block.faults:
            number, reason, value = block.faults[0]
            raise DataError(f"{path}: {reason} (row {number}: {value})", hint="repair the companion file")
        rows += [{name: block.cells[name][i] for name in names} for i in range(block.n)]
    return rows
