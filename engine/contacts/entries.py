"""Columns that hold a list of records per contact (`sends`, `events`), flattened to checked cells.

Parquet and JSON-lines hold lists of structs, CSV holds JSON text. Null is unknown, an empty list is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contacts.columns import ColumnBatch, coded, instants, is_text, known, text
from engine.errors import DataError, reason_of
from engine.files.documents import decode_json
from engine.names import did_you_mean
from engine.time.instants import SPAN, value_hint
from engine.types import NOT_AN_INSTANT, BoolArray, CodeArray, IntArray


@dataclass(frozen=True)
class Layout:
    """The fields of a list column.

    Attributes:
        name: the column's name.
        record: msgspec struct of one entry, for JSON text; its fields are all that an entry may have.
        required: fields that every entry must have.
        hint: what errors advise.
    """

    name: str
    record: type[msgspec.Struct]
    required: tuple[str, ...]
    hint: str

    @property
    def fields(self) -> tuple[str, ...]:
        return self.record.__struct_fields__

    @property
    def kind(self) -> pa.DataType:
        return pa.list_(pa.struct([(name, pa.string()) for name in self.fields]))


@dataclass(frozen=True)
class Entries:
    """All entries of a batch, one after the other.

    Attributes:
        layout: what they are.
        batch: the contacts.
        offsets: (n + 1,) as in `ContactBatch.sent_offsets`.
        known: (n,) bool; false where the list is null or the column is absent.
        cells: the m entries as columns.
    """

    layout: Layout
    batch: ColumnBatch
    offsets: IntArray
    known: BoolArray
    cells: ColumnBatch

    @property
    def m(self) -> int:
        return self.cells.n

    def codes(self, name: str) -> tuple[CodeArray, tuple[str, ...]]:
        """(m,) codes into distinct values, and these; -1 where missing."""
        column = self.cells.column(name)
        if column is None:
            return np.full(self.m, -1, dtype=np.int32), ()
        return coded(column)

    def instants(self) -> IntArray:
        """(m,) the field `at`.

        Raises:
            DataError: an entry without an instant, or with one without offset.
        """
        column = self.cells.column("at")
        at = np.full(self.m, NOT_AN_INSTANT, dtype=np.int64)
        if column is not None:
            try:
                at = instants(self.cells, "at", column)
            except DataError as error:
                self._raise_bad_instant(column, error)
        self.fail(at == NOT_AN_INSTANT, "one without `at`")
        return at

    def fail(self, bad: BoolArray, what: str) -> None:
        """Raise for the contact of the first bad entry, if there is one.

        Raises:
            DataError: some entry is bad.
        """
        if bad.any():
            row = self._row(int(np.argmax(bad)))
            raise DataError(
                f"{self.batch.source}: column {self.layout.name!r} holds {what} in row {row}", hint=self.layout.hint
            )

    def _row(self, entry: int) -> int:
        return self.batch.first_row + int(np.searchsorted(self.offsets, entry, side="right")) - 1

    def _raise_bad_instant(self, column: pa.Array, error: DataError) -> None:
        for position in range(len(column)):  # only after a failure: find the contact's row
            try:
                instants(self.cells, "at", column.slice(position, 1))
            except DataError:
                raise DataError(
                    f"{self.batch.source}: column {self.layout.name!r} holds {column[position].as_py()!r} in row "
                    f"{self._row(position)}, which is no instant with a UTC offset {SPAN}",
                    hint=f"{value_hint(column[position].as_py())}; {self.layout.hint}",
                ) from error
        raise error


def entries_of(batch: ColumnBatch, layout: Layout) -> Entries:
    """The entries of a list column; of an absent column, none, and unknown for every contact.

    Raises:
        DataError: text that is no JSON, a column that is no list of structs, or other fields than the layout has.
    """
    column = batch.column(layout.name)
    if column is None:
        column = pa.nulls(batch.n, layout.kind)
    elif is_text(column) or pa.types.is_dictionary(column.type):
        column = _from_text(batch, layout, text(column))
    lists, is_known = _checked(batch, layout, column), known(column)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.where(is_known, lengths, 0))]).astype(np.int64)
    flat = lists.flatten()
    present = {field.name for field in flat.type}
    columns = {name: pc.struct_field(flat, name) for name in layout.fields if name in present}
    cells = ColumnBatch(columns, 1, len(flat), f"{batch.source}, {layout.name}")
    return Entries(layout, batch, offsets, is_known, cells)


def _from_text(batch: ColumnBatch, layout: Layout, column: pa.Array) -> pa.Array:
    """JSON text per row, as a CSV has it."""
    decode = msgspec.json.Decoder(list[layout.record]).decode  # type: ignore[name-defined]
    rows: list[Any] = []
    for row, cell in enumerate(column.to_pylist()):
        try:
            decoded = None if cell is None else decode(cell)
            if cell is not None:
                # The typed decoder keeps the last of two values under one key.
                decode_json(cell)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise DataError(
                f"{batch.source}: column {layout.name!r} cannot be read in row {batch.first_row + row}: "
                f"{reason_of(error)}",
                hint=layout.hint,
            ) from error
        rows.append(None if decoded is None else [_plain(layout, one) for one in decoded])
    return pa.array(rows, type=layout.kind)


def _plain(layout: Layout, one: msgspec.Struct) -> dict[str, str | None]:
    return {name: _as_text(getattr(one, name)) for name in layout.fields}


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{value:.6f}"


def _checked(batch: ColumnBatch, layout: Layout, column: pa.Array) -> pa.Array:
    kind = column.type
    problem = f"must be a list of structs, is {kind}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_null(kind.value_type):  # nothing but empty lists
            return column.cast(layout.kind)
        if pa.types.is_struct(kind.value_type):
            present = {field.name for field in kind.value_type}
            absent, foreign = set(layout.required) - present, present - set(layout.fields)
            if not absent and not foreign:
                return column
            near = "".join(did_you_mean(name, layout.fields) for name in sorted(foreign)[:1])
            if foreign:
                raise DataError(
                    f"{batch.source}: column {layout.name!r} has entries with {sorted(foreign)}, which nothing reads",
                    hint=f"{near}{layout.hint}",
                )
            problem = f"must be a list of structs of {', '.join(layout.fields)}, is {kind}"
    raise DataError(f"{batch.source}: column {layout.name!r} {problem}", hint=layout.hint)
