"""Tables that somebody gave, read by one set of rules: Parquet, CSV and JSON lines, text also in gzip.

Names of columns are trimmed and unique; the delimiter of a CSV is the one that its heading is written with, unless it
is given; CSV gives texts, Parquet and JSON lines typed values. Memory does not grow with the rows. Rows are numbered
from 1 over all rows of the file, readable or not; blank lines are no rows.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from engine.errors import DataError, shown
from engine.files.documents import decode_json
from engine.files.parquet import open_parquet, parquet_batches
from engine.files.stream import LONGEST_FIELD, LONGEST_LINE, open_text, readable, require_content
from engine.types import FloatArray, IntArray

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
_CSV_PART: Final = 1 << 20
_BROKEN: Final = "\0\0broken"
_AFTER_QUOTE: Final = "text after a closing quote"
# So many fields are searched for at once; the memory of a search grows with them.
_FIELDS_AT_ONCE: Final = 4096
_DECIMAL: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_LINE_END: Final = re.compile(rb"[\r\n]")
_SHOWN_NAMES: Final = 10

Columns = tuple[dict[str, pa.Array], int]
Fault = tuple[int, str]


@dataclass(frozen=True)
class Heading:
    """The first row of a CSV.

    Attributes:
        names: the columns' names, trimmed and unique.
        delimiter: one character.
        length: characters up to its end, blank lines before it included.
    """

    names: tuple[str, ...]
    delimiter: str
    length: int


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


def table_batches(path: Path, rows: int) -> Iterator[Columns]:
    """Batches of at most `rows` rows, as columns by name and the number of rows; one of 0 rows where a table has none.

    Raises:
        DataError: no such file, another kind of file, a damaged one, a column name twice, or values of several kinds
            in one column.
    """
    require_content(path)
    yield from {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}[kind_of(path)](path, rows)


def heading_of(path: Path, *, encoding: str = "utf-8", delimiter: str = AUTO, quote: str = '"') -> Heading:
    """Read the first row of a CSV.

    Args:
        path: plain or gzip.
        encoding: what the text is in where no byte-order mark says otherwise.
        delimiter: one character, or "auto": a tab for .tsv, else the one of `, ; tab |` that the first rows agree on.
        quote: the quoting character.

    Raises:
        DataError: no text, no heading, or a column name twice.
    """
    with readable(path, encoding), open_text(path, encoding) as file:
        head = file.read(_PROBED_CHARACTERS)
    if delimiter == AUTO:
        delimiter = "\t" if ".tsv" in [suffix.lower() for suffix in path.suffixes] else _sniffed(head, quote)
    text = io.StringIO(head, newline="")
    first = next(_heads(text, delimiter, quote), None)
    if first is None:
        raise DataError(f"{path} is empty", hint="the first line names the columns: export it again")
    return Heading(unique(trimmed_names(first), path), delimiter, text.tell())


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


def _heads(text: IO[str], delimiter: str, quote: str) -> Iterator[list[str]]:
    """The rows of a probe that can be read; reading the file says what is wrong with the others."""
    csv.field_size_limit(LONGEST_FIELD)
    with contextlib.suppress(csv.Error):
        yield from filter(None, csv.reader(text, delimiter=delimiter, quotechar=quote))


def _first_rows(head: str, delimiter: str, quote: str) -> list[list[str]]:
    rows = list(islice(_heads(io.StringIO(head, newline=""), delimiter, quote), _PROBED_ROWS))
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
    empty = True
    for part in csv_rows(path, heading, "utf-8", '"', strict=False):
        for number, problem in part.faults:
            raise DataError(
                f"{path} cannot be read: row {number} has {problem}",
                hint="put a cell in quotes where it holds the delimiter or the end of a line",
            )
        for start in range(0, len(part.numbers), rows):
            empty = False
            columns = {name: column.slice(start, rows) for name, column in part.columns.items()}
            yield columns, min(rows, len(part.numbers) - start)
    if empty:
        yield {name: pa.array([], pa.string()) for name in heading.names}, 0


@dataclass(frozen=True)
class CsvRows:
    """Rows of a CSV that follow each other.

    Attributes:
        numbers: (n,) of the readable rows, in the file from 1.
        columns: name -> (n,) strings, null where empty.
        faults: (number, problem) of the rows between them that cannot be read.
    """

    numbers: IntArray
    columns: dict[str, pa.Array]
    faults: tuple[Fault, ...]

    @property
    def last(self) -> int:
        """Number of the last row, readable or not."""
        return max(0, *(int(number) for number in self.numbers[-1:]), *(number for number, _ in self.faults[-1:]))

    def between(self, after: int, last: int) -> CsvRows:
        """The rows whose numbers are more than `after` and at most `last`."""
        start, stop = (int(place) for place in np.searchsorted(self.numbers, [after, last], side="right"))
        columns = {name: column.slice(start, stop - start) for name, column in self.columns.items()}
        faults = tuple(fault for fault in self.faults if after < fault[0] <= last)
        return CsvRows(self.numbers[start:stop], columns, faults)


def csv_rows(path: Path, heading: Heading, encoding: str, quote: str, *, strict: bool) -> Iterator[CsvRows]:
    """The rows of a CSV, by Arrow's reader.

    Args:
        path: plain or gzip.
        heading: what `heading_of` found with the same encoding and quote.
        encoding: what the text is in where no byte-order mark says otherwise.
        quote: the quoting character.
        strict: text after a closing quote makes a row that cannot be read, and a row may be as long as a line
            (`LONGEST_LINE`); else such text belongs to the cell, and a row has at most 2 MB.

    Raises:
        DataError: no text, text that ends inside a quoted field, or a row or field beyond the limits.
    """
    done = 0
    with readable(path, encoding):
        for size in (_CSV_BUFFER_BYTES, LONGEST_LINE) if strict else (_CSV_BUFFER_BYTES,):
            try:
                for part in _arrow_rows(path, heading, encoding, quote, size, strict=strict):
                    # What an attempt with smaller buffers has given is not given again.
                    yield part.between(done, part.last)
                    done = max(done, part.last)
            except pa.ArrowInvalid as error:
                if "straddl" not in str(error):
                    raise
            else:
                return
    raise DataError(f"{path} has a row of more than {size} bytes", hint="a quote is missing, or a field is no cell")


def _arrow_rows(
    path: Path, heading: Heading, encoding: str, quote: str, buffer_bytes: int, *, strict: bool
) -> Iterator[CsvRows]:
    names, marks, faults = heading.names, _Marks.of(heading.delimiter, quote), deque[Fault]()

    def skip(row: pa_csv.InvalidRow) -> str:
        broken = row.text.rstrip(marks.delimiter).endswith(_BROKEN)
        problem = _AFTER_QUOTE if broken else f"{row.actual_columns} fields, the header has {row.expected_columns}"
        faults.append((row.number, problem))
        return "skip"

    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    parse = pa_csv.ParseOptions(
        delimiter=marks.delimiter, quote_char=marks.quote, newlines_in_values=True, invalid_row_handler=skip
    )
    # Rows have numbers only where one thread reads them.
    read = pa_csv.ReadOptions(block_size=buffer_bytes, use_threads=False, column_names=names)
    with open_text(path, encoding) as text:
        text.read(heading.length)
        fields = _WholeFields(text, path, marks, len(names), strict=strict)
        if fields.empty:
            return
        first = 1
        with pa_csv.open_csv(pa.PythonFile(fields, mode="r"), read, parse, convert) as reader:
            for batch in reader:
                end = first + batch.num_rows
                own = []
                while faults and faults[0][0] <= end:
                    own.append(faults.popleft())
                    end += 1
                numbers = np.setdiff1d(np.arange(first, end), [number for number, _ in own], assume_unique=True)
                first = end
                columns = (marks.as_written(column) for column in batch.columns)
                yield CsvRows(numbers, dict(zip(names, columns, strict=True)), tuple(own))
        if faults:
            yield CsvRows(np.array([], np.int64), {name: pa.array([], pa.string()) for name in names}, tuple(faults))


@dataclass(frozen=True)
class _Marks:
    """Delimiter and quote as Arrow takes them, of one byte; a wider one changes places with a control character."""

    delimiter: str
    quote: str
    swapped: dict[int, str]

    @classmethod
    def of(cls, delimiter: str, quote: str) -> _Marks:
        wide = {mark: narrow for mark, narrow in ((delimiter, "\x1f"), (quote, "\x1e")) if not mark.isascii()}
        swapped = {ord(one): other for pair in wide.items() for one, other in (pair, pair[::-1])}
        return cls(wide.get(delimiter, delimiter), wide.get(quote, quote), swapped)

    def as_written(self, column: pa.Array) -> pa.Array:
        if not self.swapped:
            return column
        return pa.array([text and text.translate(self.swapped) for text in column.to_pylist()], pa.string())


class _WholeFields:
    """The bytes of a CSV for Arrow, checked for what Arrow does not see: quotes that close too early or never.

    A row that is broken is cut at the end of its line and given more fields than the heading has.
    """

    closed = False

    def __init__(self, text: IO[str], path: Path, marks: _Marks, width: int, *, strict: bool) -> None:
        self._text, self._path, self._marks, self._strict = text, path, marks, strict
        delimiter, self._quote = marks.delimiter.encode(), marks.quote.encode()
        self._ends = (delimiter, b"\r", b"\n")
        self._broken_row = _BROKEN.encode() + delimiter * width + b"\n"
        q, end = re.escape(self._quote), re.escape(delimiter) + rb"\r\n"
        # Nothing here matches in two ways, so that a search never goes back. Possessive quantifiers would say the same,
        # but the first versions of Python 3.11 match them wrongly.
        quoted = rb"%b[^%b]*(?:%b%b[^%b]*)*%b(?!%b)" % (q, q, q, q, q, q, q)
        plain = rb"[^%b%b][^%b]*" % (q, end, end)
        more = b"" if strict else rb"[^%b]*" % end
        self._fields = re.compile(rb"(?:(?:%b%b|%b)?[%b]){0,%d}" % (quoted, more, plain, end, _FIELDS_AT_ONCE))
        self._closed_early = re.compile(rb"%b[^%b%b]" % (quoted, q, end))
        self._held, self._ready, self._ended = b"", bytearray(), False
        self._advance()

    @property
    def empty(self) -> bool:
        return self._ended and not self._ready.strip(b"\r\n")

    def read(self, size: int = -1) -> bytes:
        """Give so many bytes, and fewer only at the end: Arrow takes what it gets for a whole buffer."""
        while len(self._ready) < size and not self._ended:
            self._advance()
        part = bytes(self._ready[:size])
        del self._ready[:size]
        return part

    def close(self) -> None:
        """Whoever opened the text closes it."""

    def _advance(self) -> None:
        part = self._text.read(_CSV_PART)
        self._ended = not part
        if self._marks.swapped:
            part = part.translate(self._marks.swapped)
        self._held += part.encode() if part else b"\n" * bool(self._held)
        at = self._take_whole()
        self._held = self._held[at:]
        if self._ended and self._held:
            raise DataError(
                f"{self._path} ends inside a quoted field",
                hint=f"the file is truncated, or a quote is missing; inside a field it is {self._quote.decode() * 2}",
            )
        if len(self._held) > LONGEST_FIELD and len(self._held.decode()) > LONGEST_FIELD:
            raise DataError(
                f"{self._path} has a field of more than {LONGEST_FIELD} characters",
                hint="a quote is missing, or the delimiter is another one",
            )

    def _end_of_fields(self, at: int) -> int:
        """Where the whole fields from `at` on end."""
        while True:
            end = self._fields.match(self._held, at).end()  # type: ignore[union-attr]  # matches the empty text too
            if end == at:
                return end
            at = end

    def _take_whole(self) -> int:
        """Hand over what ends with a whole field; up to where that is."""
        if self._quote not in self._held:
            at = 1 + max(self._held.rfind(end) for end in self._ends)
            self._ready += self._held[:at]
            return at
        at = 0
        while True:
            end = self._end_of_fields(at)
            self._ready += self._held[at:end]
            early = self._closed_early.match(self._held, end) if self._strict else None
            line_end = early and _LINE_END.search(self._held, early.end())
            if not line_end:
                return end
            self._ready += self._broken_row
            at = line_end.end()


def json_records(path: Path, encoding: str = "utf-8", *, digits: bool = False) -> Iterator[tuple[int, Any]]:
    """Row number and value of each line of JSON; of a line that is no JSON the error.

    Args:
        path: plain or gzip.
        encoding: what the text is in where no byte-order mark says otherwise.
        digits: whether numbers stay as they are written (`decode_json`).

    Raises:
        DataError: no text, or beyond the limits.
    """
    with readable(path, encoding), open_text(path, encoding) as text:
        for number, line in enumerate(filter(str.strip, text), start=1):
            try:
                found = decode_json(line, digits=digits)
            except ValueError as error:
                found = error
            yield number, found


def _json_lines(path: Path, rows: int) -> Iterator[Columns]:
    records = json_records(path)
    while chunk := list(islice(records, rows)):
        objects = [_object(path, row, record) for row, record in chunk]
        names = list(dict.fromkeys(name for one in objects for name in one))
        trimmed = unique(trimmed_names(names), path)
        columns = {
            name: _typed(path, name, [one.get(written) for one in objects])
            for name, written in zip(trimmed, names, strict=True)
        }
        yield columns, len(objects)


def _object(path: Path, row: int, record: Any) -> dict[str, Any]:
    if isinstance(record, ValueError):
        raise DataError(f"{path}: row {row} is no JSON object: {record}") from record
    if not isinstance(record, dict):
        raise DataError(f"{path}: row {row} is no JSON object, got {shown(record)}")
    return record


def _typed(path: Path, name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise DataError(f"{path}: column {name!r} mixes kinds of values: {error}") from error


def numbers_of(texts: pa.Array) -> FloatArray:
    """(n,) float64 of texts in decimal notation, rounded to the nearest; NaN where null or no such number.

    The same text gives the same float as a Python literal does. The quick parser of pandas before 3 is off in the last
    digit, so that one amount in a table and in a Parquet file would be two.
    """
    decimal = pc.match_substring_regex(texts, _DECIMAL).fill_null(fill_value=False)
    plain = pc.utf8_ltrim(pc.if_else(decimal, texts, pa.scalar(None, texts.type)), "+")
    values: FloatArray = plain.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return values
