"""Single columns of a contact file, from Arrow to checked arrays; every error names the column and the row.

Rows are counted from 1, header not included. CSV delivers strings, Parquet and JSON-lines typed values: each parser
takes either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.files.tables import kind_of, numbers_of, table_batches
from engine.names import name_key
from engine.time.instants import ISO_HINT, SPAN, impossible, iso_instants, number_hint, value_hint
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, CodeArray, FloatArray, IntArray

TRUE: Final = ("true", "1", "yes", "t", "y")
FALSE: Final = ("false", "0", "no", "f", "n")
_OFFSET = r"(Z|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True)
class ColumnBatch:
    """Rows of a contact file.

    Attributes:
        columns: name -> (n,) Arrow array.
        first_row: number of the first row in the file, from 1.
        n: rows.
        source: the file, for errors.
        headed: whether the file names its columns once, so that an empty cell is one; in JSON lines each row has its
            own, and what is empty is as good as absent.
    """

    columns: dict[str, pa.Array]
    first_row: int
    n: int
    source: str
    headed: bool = False

    def column(self, name: str) -> pa.Array | None:
        """A column; one that the file lacks, or that holds nothing but null, is None."""
        found = self.columns.get(name)
        return None if found is None or pa.types.is_null(found.type) else found

    def tells(self, name: str) -> BoolArray:
        """(n,) which rows have a cell of a column, be it empty."""
        if name in self.columns and self.headed:
            return np.ones(self.n, dtype=np.bool_)
        found = self.column(name)
        return np.zeros(self.n, dtype=np.bool_) if found is None else known(found)

    def renamed(self, meant: Callable[[str], tuple[str, ...]]) -> ColumnBatch:
        """The batch under the names that its headers mean.

        Args:
            meant: from a header to the names by which its column is read, itself where nobody reads it.

        Raises:
            DataError: two headers that are one name (`engine.names.name_key`), or that mean the same.
        """
        columns: dict[str, pa.Array] = {}
        written: dict[str, str] = {}
        for header, column in self.columns.items():
            names = meant(header)
            for name in (*names, name_key(header)):
                other = written.setdefault(name, header)
                if other != header:
                    raise DataError(
                        f"{self.source}: the columns {other!r} and {header!r} have the same name: case, blanks, "
                        "hyphens, underscores and other words for a channel make no difference",
                        hint="rename or drop one of them",
                    )
            columns |= dict.fromkeys(names, column)
        return replace(self, columns=columns)

    def instants(self, name: str) -> IntArray:
        """(n,) microseconds since 1970 UTC of a column (`instants`); `NOT_AN_INSTANT` where the file lacks it."""
        found = self.column(name)
        return np.full(self.n, NOT_AN_INSTANT, dtype=np.int64) if found is None else instants(self, name, found)

    def fail(self, name: str, bad: BoolArray, got: Any, problem: str, hint: str = "") -> None:
        """Raise for the first bad row, if there is one.

        Raises:
            DataError: some row is bad.
        """
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            shown = got[row].as_py() if isinstance(got, pa.Array) else got[row]
            raise DataError(
                f"{self.source}: column {name!r} {problem}, got {shown!r} in row {self.first_row + row} "
                f"({int(bad.sum())} such rows from row {self.first_row} to {self.first_row + len(bad) - 1})",
                hint=hint,
            )


def is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def text(column: pa.Array) -> pa.Array:
    """The column as strings without blanks around them; empty is null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _mask(column: pa.Array) -> BoolArray:
    mask: BoolArray = column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask


def matches(column: pa.Array, pattern: str) -> BoolArray:
    """(n,) which texts a regular expression (RE2) finds something in; false for null."""
    return _mask(pc.match_substring_regex(column, pattern))


def known(column: pa.Array) -> BoolArray:
    """(n,) which rows are not null."""
    return _mask(pc.is_valid(column))


def coded(column: pa.Array) -> tuple[CodeArray, tuple[str, ...]]:
    """(n,) int32 codes (-1 for null) and the distinct strings, in order of appearance."""
    encoded = text(column).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, tuple(encoded.dictionary.to_pylist())


def numbers(batch: ColumnBatch, name: str, column: pa.Array) -> tuple[FloatArray, BoolArray]:
    """(n,) floats (NaN where null) and which are known.

    Raises:
        DataError: text that is no number, or a number that is not finite.
    """
    if is_text(column) or pa.types.is_dictionary(column.type):
        column = text(column)
        values = numbers_of(pc.utf8_trim_whitespace(column))
        nonsense = known(column) & np.isnan(values)
        batch.fail(name, nonsense, column, "must be a finite number", "leave it empty where the value is missing")
    else:
        try:
            values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        except pa.ArrowException as error:
            raise DataError(f"{batch.source}: column {name!r} must hold numbers, holds {column.type}") from error
    present = known(column)
    bad = present & ~np.isfinite(values)
    batch.fail(name, bad, column, "must be a finite number", "leave it empty where the value is missing, never NaN")
    return np.where(present, values, np.nan), present


def flags(batch: ColumnBatch, name: str, column: pa.Array) -> np.ndarray[Any, np.dtype[np.int8]]:
    """(n,) int8: 1 true, 0 false, -1 missing.

    Raises:
        DataError: anything else.
    """
    lowered = pc.utf8_lower(text(column))
    yes, no = (_mask(pc.is_in(lowered, value_set=pa.array(words))) for words in (TRUE, FALSE))
    batch.fail(name, known(lowered) & ~yes & ~no, column, "must be true, false or empty")
    return np.where(yes, 1, np.where(no, 0, -1)).astype(np.int8)


def instants(batch: ColumnBatch, name: str, column: pa.Array) -> IntArray:
    """(n,) microseconds since 1970 UTC; `NOT_AN_INSTANT` where null.

    Takes timestamps with a zone, ISO 8601 text with an offset, and epoch seconds.

    Raises:
        DataError: an instant without an offset, unreadable text, numbers that are no seconds, or another year than
            1990 to 2199.
    """
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            raise DataError(
                f"{batch.source}: column {name!r} holds timestamps without a time zone",
                hint="write them with a zone (timestamp[us, tz=UTC])",
            )
        as_us = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
        whole: IntArray = as_us.fill_null(NOT_AN_INSTANT).to_numpy(zero_copy_only=False).astype(np.int64)
        return _in_range(batch, name, column, whole)
    if not is_text(column) and not pa.types.is_dictionary(column.type):
        return _epoch(batch, name, column)
    column = text(column)
    plain = matches(column, r"^-?\d+(\.\d+)?$")
    if plain.any() and (plain == known(column)).all():
        return _epoch(batch, name, column)
    return _iso(batch, name, column)


def _epoch(batch: ColumnBatch, name: str, column: pa.Array) -> IntArray:
    seconds, present = numbers(batch, name, column)
    # What is too large for microseconds lies at the end, which is out of range as well.
    bounded = np.clip(np.where(present, seconds, 0.0), -1e12, 1e12)
    scaled = np.rint(bounded * MICROSECONDS_PER_S).astype(np.int64)
    wrong = np.flatnonzero(impossible(scaled) & present)
    if len(wrong):
        row = int(wrong[0])
        flag = pa.types.is_boolean(column.type)
        hint = value_hint(bool(seconds[row])) if flag else number_hint(float(seconds[row]))
        batch.fail(name, impossible(scaled) & present, column, f"must be epoch seconds {SPAN}", hint)
    return np.where(present, scaled, NOT_AN_INSTANT)


def _iso(batch: ColumnBatch, name: str, column: pa.Array) -> IntArray:
    present = known(column)
    naive = present & ~matches(column, _OFFSET)
    batch.fail(name, naive, column, "must have a UTC offset", ISO_HINT)
    instants = iso_instants(column.to_pylist())
    batch.fail(name, present & (instants == NOT_AN_INSTANT), column, "must be an instant", ISO_HINT)
    return _in_range(batch, name, column, instants)


def _in_range(batch: ColumnBatch, name: str, column: pa.Array, instants: IntArray) -> IntArray:
    hint = "leave it empty where it is not known or has no end; a wrong year is often a number read as another unit"
    batch.fail(name, impossible(instants), column, f"must be {SPAN}", hint)
    return instants


def file_batches(path: Path, rows: int) -> Iterator[ColumnBatch]:
    """Batches of at most `rows` rows, in file order.

    Raises:
        DataError: no such file, another kind of file, a damaged one, or one without rows.
    """
    first, headed = 1, kind_of(path) != "jsonl"
    for columns, n in table_batches(path, rows):
        if n:
            yield ColumnBatch(columns, first, n, path.name, headed)
        first += n
    if first == 1:
        raise DataError(f"{path} holds no contacts", hint="an empty file is more often a failed export than nobody")
