"""Tables that somebody gave, as Arrow columns block by block: Parquet, CSV and JSON lines by one set of rules.

Names of columns are trimmed and unique; the delimiter of a CSV is the one that its heading is written with; CSV gives
texts, Parquet and JSON lines typed values. Memory does not grow with the rows.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.csv as pa_csv

from engine.errors import DataError
from engine.files.documents import decode_json
from engine.files.parquet import open_parquet, parquet_batches
from engine.files.stream import LONGEST_FIELD, open_text, open_utf8, readable, require_content

KINDS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
"""Ending of a name -> kind of file; each but Parquet may be followed by .gz."""
ENDINGS: Final = (*KINDS, *(f"{ending}.gz" for ending, kind in KINDS.items() if kind != "parquet"))
"""Endings by which a table is found in a folder."""
AUTO: Final = "auto"
_DELIMITERS: Final = (",", ";", "\t", "|")
_PROBED_ROWS: Final = 5
_PROBED_CHARACTERS: Final = 8 << 20
_CSV_BUFFER_BYTES: Final = 2 << 20
_SHOWN_NAMES: Final = 10
_BLANK_LINES: Final = re.compile(r"[\r\n]*")

Columns = tuple[dict[str, pa.Array], int]


@dataclass(frozen=True)
class Heading:
    """The first row of a CSV.

    Attributes:
        names: of the columns, trimmed and unique.
        delimiter: one character.
        alone: whether no row follows.
        before: blank lines before it.
    """

    names: tuple[str, ...]
    delimiter: str
    alone: bool
    before: int


def kind_of(path: Path) -> str:
    """csv, parquet or jsonl, by the ending of the name.

    Raises:
        DataError: another ending.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    if last not in KINDS:
        raise DataError(f"{path} has no known ending, got {last!r}", hint=f"known: {', '.join(KINDS)}")
    return KINDS[last]


def column_blocks(path: Path, rows: int) -> Iterator[Columns]:
    """Blocks of at most `rows` rows, as columns by name and the number of rows; one of 0 rows where a table has none.

    Raises:
        DataError: no such file, another kind of file, a damaged one, a column name twice, or values of several kinds
            in one column.
    """
    require_content(path)
    kind = kind_of(path)
    if kind == "parquet":
        yield from _parquet(path, rows)
        return
    with readable(path):
        yield from _csv(path, rows) if kind == "csv" else _json_lines(path, rows)


def heading_of(path: Path, *, encoding: str = "utf-8", delimiter: str = AUTO, quote: str = '"') -> Heading:
    """Read the first row of a CSV.

    Args:
        path: plain or gzip.
        encoding: where no byte-order mark says otherwise.
        delimiter: one character, or "auto": a tab for .tsv, else the one of `, ; tab |` that the first rows agree on.
        quote: the quoting character.

    Raises:
        DataError: no text, no heading, or a column name twice.
    """
    with readable(path, encoding), open_text(path, encoding) as file:
        head = file.read(_PROBED_CHARACTERS)
    if delimiter == AUTO:
        delimiter = "\t" if ".tsv" in [suffix.lower() for suffix in path.suffixes] else _sniffed(head, quote)
    rows = _first_rows(head, delimiter, quote)
    if not rows:
        raise DataError(f"{path} is empty", hint="the first line names the columns: export it again")
    alone = len(rows) == 1 and len(head) < _PROBED_CHARACTERS
    before = len(_BLANK_LINES.match(head)[0].splitlines())  # type: ignore[index]  # matches the empty text too
    return Heading(unique(trimmed_names(rows[0]), path), delimiter, alone, before)


def trimmed_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without white space around them; an unnamed column (a written index) is called `unnamed_POSITION`."""
    return tuple(name.strip(" \t\r\n\ufeff\u200b\u00a0") or f"unnamed_{place}" for place, name in enumerate(names))


def unique(names: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names, if there is none twice.

    Raises:
        DataError: lists the first of those that are.
    """
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)[:_SHOWN_NAMES]
        raise DataError(f"{path} has columns of the same name: {twice}", hint="rename one of each pair")
    return tuple(names)


def _sniffed(head: str, quote: str) -> str:
    """The delimiter that splits the heading into most columns, among those with which the rows below agree."""
    best, width = _DELIMITERS[0], 1
    for agree in (True, False):
        for delimiter in _DELIMITERS:
            rows = _first_rows(head, delimiter, quote)
            found = len(rows[0]) if rows else 0
            if found > width and (not agree or all(len(row) == found for row in rows)):
                best, width = delimiter, found
        if width > 1:
            break
    return best


def _first_rows(head: str, delimiter: str, quote: str) -> list[list[str]]:
    csv.field_size_limit(LONGEST_FIELD)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quotechar=quote):
            if row:
                rows.append(row)
            if len(rows) == _PROBED_ROWS:
                break
    except csv.Error:
        pass  # what can be read so far tells the heading; reading the file says what is wrong
    cut = len(head) == _PROBED_CHARACTERS and len(rows) < _PROBED_ROWS
    return rows[:-1] if cut and len(rows) > 1 else rows


def _parquet(path: Path, rows: int) -> Iterator[Columns]:
    with open_parquet(path) as file:
        schema, empty = file.schema_arrow, file.metadata.num_rows == 0
    names = unique(trimmed_names(schema.names), path)
    if empty:
        yield dict(zip(names, schema.empty_table().columns, strict=True)), 0
    for batch in parquet_batches(path, rows):
        yield dict(zip(names, batch.columns, strict=True)), batch.num_rows


def _csv(path: Path, rows: int) -> Iterator[Columns]:
    """Everything as strings: who reads the columns knows better than a guess from the first rows."""
    heading = heading_of(path)
    names = list(heading.names)
    if heading.alone:
        yield {name: pa.array([], pa.string()) for name in names}, 0
        return
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    parse = pa_csv.ParseOptions(delimiter=heading.delimiter, newlines_in_values=True)
    # The names are ours, so the row that holds them is skipped; blank lines before it are none to Arrow either.
    read = pa_csv.ReadOptions(
        block_size=_CSV_BUFFER_BYTES,
        use_threads=False,
        column_names=names,
        skip_rows=heading.before,
        skip_rows_after_names=1,
    )
    with open_utf8(path) as file, _long_rows_named(path):
        quotes = _Quotes(file)
        with pa_csv.open_csv(pa.PythonFile(quotes, mode="r"), read, parse, convert) as reader:
            for batch in reader:
                for start in range(0, batch.num_rows, rows):
                    part = batch.slice(start, rows)
                    yield dict(zip(names, part.columns, strict=True)), part.num_rows
    if quotes.count % 2:
        # Arrow takes everything up to the end of the file for one field, the rows in it too.
        raise DataError(
            f"{path} ends inside a quoted field",
            hint='the file is truncated, or a quote is missing; write a quote inside a field as ""',
        )


class _Quotes:
    """A file that counts its quotes as they are read."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.count += part.count(b'"')
        return part

    def close(self) -> None:
        """Whoever opened the file closes it."""


@contextmanager
def _long_rows_named(path: Path) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        raise DataError(
            f"{path} has a row of more than {_CSV_BUFFER_BYTES} bytes", hint="a quote is missing, or a field is no cell"
        ) from error


def _json_lines(path: Path, rows: int) -> Iterator[Columns]:
    row = 0
    with open_utf8(path) as file:
        lines = (line for line in file if line.strip())
        while chunk := list(islice(lines, rows)):
            objects = []
            for line in chunk:
                row += 1
                objects.append(_object(path, row, line))
            names = list(dict.fromkeys(name for one in objects for name in one))
            trimmed = unique(trimmed_names(names), path)
            columns = {
                name: _typed(path, name, [one.get(written) for one in objects])
                for name, written in zip(trimmed, names, strict=True)
            }
            yield columns, len(objects)


def _object(path: Path, row: int, line: bytes) -> dict[str, Any]:
    try:
        found = decode_json(line)
    except ValueError as error:
        raise DataError(f"{path.name}: row {row} is no JSON object: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path.name}: row {row} is no JSON object, got {type(found).__name__}")
    return found


def _typed(path: Path, name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise DataError(f"{path.name}: column {name!r} mixes kinds of values: {error}") from error
