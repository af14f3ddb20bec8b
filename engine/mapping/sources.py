"""Foreign files as blocks of text columns: CSV, Parquet and JSON lines, plain or gzipped, in flat memory."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.mapping.spec import CsvOptions
from engine.plain_data import DuplicateKeyError, unique_object
from engine.types import IntArray, ObjectArray

# Cells of one block: bounds memory whatever the width of the log.
_BLOCK_CELLS: Final = 400_000
_MOST_ROWS: Final = 32_768
_LONGEST_FIELD: Final = 2**31 - 1

MALFORMED: Final = "row cannot be read"
Fault = tuple[int, str, str]


@dataclass(frozen=True)
class Block:
    """n readable rows of a foreign file.

    Attributes:
        rows: (n,) numbers of the rows, counted from 1 over all data rows, readable or not.
        cells: column -> (n,) strings; "" where empty or null.
        faults: (row, reason, value) of the rows that could not be read.
    """

    rows: IntArray
    cells: dict[str, ObjectArray]
    faults: tuple[Fault, ...] = ()

    @property
    def n(self) -> int:
        return len(self.rows)


class Source(Protocol):
    """A foreign file: its column names, and its rows block by block."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def blocks(self) -> Iterator[Block]: ...


def open_source(path: Path, kind: str = "auto", options: CsvOptions = CsvOptions()) -> Source:  # noqa: B008 (frozen)
    """Open a foreign file.

    Args:
        path: ends in .csv, .tsv, .txt, .parquet, .pq, .jsonl, .ndjson, each but Parquet also with .gz.
        kind: csv, parquet or jsonl; auto goes by the name.
        options: of a CSV.

    Raises:
        DataError: missing or empty file, unknown kind, damaged header.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file", hint="check the path of the input")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", hint="an empty file is no log: export it again")
    kind = _kind_of(path) if kind == "auto" else kind
    if kind == "parquet":
        return ParquetSource(path)
    return JsonLines(path, options.encoding) if kind == "jsonl" else CsvSource(path, options)


def _kind_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    kinds = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}
    kinds |= {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
    if last not in kinds:
        raise DataError(
            f"{path} has no known ending, got {last!r}",
            hint=f"known: {', '.join(kinds)}, or set format: csv | parquet | jsonl in the mapping",
        )
    return kinds[last]


@contextmanager
def _readable(path: Path, encoding: str = "") -> Iterator[None]:
    """Turn every way in which a file can be unreadable into a DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no {encoding} text: byte {error.object[error.start]:#04x} at {error.start}",
            hint="set csv.encoding in the mapping, for example latin-1 or cp1252",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged gzip file: {error}", hint="it is truncated: copy it again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="it is truncated or damaged: copy it again") from error


def _open_text(path: Path, encoding: str) -> IO[str]:
    # newline="" hands line ends inside quoted fields to the csv module untouched.
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


class CsvSource:
    """A CSV, read by Python's csv module, which sees each row before anything is guessed about its cells.

    Blank lines are no rows. An unnamed column (a written index) is called `unnamed_POSITION`.

    Raises:
        DataError: unreadable text, no header, or a column name twice.
    """

    def __init__(self, path: Path, options: CsvOptions) -> None:
        self._path, self._options = path, options
        with _readable(path, options.encoding), _open_text(path, options.encoding) as file:
            header = next((row for row in self._reader(file) if row), None)
        if header is None:
            raise DataError(f"{path} is empty", hint="an empty file is no log: export it again")
        names = tuple(name.strip() or f"unnamed_{position}" for position, name in enumerate(header))
        self.columns = _unique(names, path)

    def _reader(self, file: IO[str]) -> Any:
        # The limit is the module's; only raised, so that an HTML body of any length is one field.
        csv.field_size_limit(_LONGEST_FIELD)
        delimiter = "\t" if ".tsv" in self._path.suffixes else self._options.delimiter
        return csv.reader(file, delimiter=delimiter, quotechar=self._options.quote, strict=True)

    def blocks(self) -> Iterator[Block]:
        """Blocks in file order.

        Raises:
            DataError: the text ends in the middle of a quoted field, or is damaged.
        """
        with _readable(self._path, self._options.encoding), _open_text(self._path, self._options.encoding) as file:
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
        self.columns = tuple(names)

    def _records(self) -> Iterator[tuple[int, Any]]:
        with _readable(self._path, self._encoding), _open_text(self._path, self._encoding) as file:
            number = 0
            for line in file:
                if not line.strip():
                    continue
                number += 1
                try:
                    record = json.loads(
                        line,
                        parse_float=str,
                        parse_int=str,
                        parse_constant=str,
                        object_pairs_hook=unique_object,
                    )
                    # An escaped half of a surrogate pair is JSON, but no text that a file can hold.
                    json.dumps(record, ensure_ascii=False).encode()
                except (json.JSONDecodeError, RecursionError, UnicodeEncodeError, DuplicateKeyError) as error:
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
            rows = [[_json_cell(record.get(name)) for name in self.columns] for _, record in good]
            yield _from_rows([number for number, _ in good], rows, self.columns, faults)


class ParquetSource:
    """A Parquet file; every value as the text that a CSV would hold.

    Raises:
        DataError: no Parquet file, a truncated one, or one without rows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _readable(path):
            schema = pq.ParquetFile(path).schema_arrow
        self.columns = _unique(tuple(schema.names), path)

    def blocks(self) -> Iterator[Block]:
        """Blocks in file order.

        Raises:
            DataError: the file is damaged.
        """
        start = 1
        with _readable(self._path):
            for batch in pq.ParquetFile(self._path).iter_batches(batch_size=_block_rows(len(self.columns))):
                rows = np.arange(start, start + batch.num_rows, dtype=np.int64)
                start += batch.num_rows
                yield Block(rows, {n: _text(c) for n, c in zip(self.columns, batch.columns, strict=True)})


def _unique(names: tuple[str, ...], path: Path) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has columns of the same name: {twice}", hint="rename one of each pair")
    return names


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
