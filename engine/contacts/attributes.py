"""Single attributes of a contact: kind of phone line, lists, objection to profiling, price motive, due date."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.contacts.columns import ColumnBatch, coded, flags, instants, known, numbers
from engine.contacts.contacts import OBJECTIONS, UNKNOWN
from engine.contacts.places import NONE
from engine.types import CodeArray

LINE_TYPES: Final = ("mobile", "landline", "voip", "")
COLUMNS: Final = ("line_type", "lists", "profiling_objection", "motive_price", "due_at")
_NAME = re.compile(r"[a-z0-9][a-z0-9_ .-]*")


class AttributeReader:
    """What outlives a batch: the sets of lists met so far."""

    def __init__(self) -> None:
        self._lists: dict[str, int] = {}

    def read(self, batch: ColumnBatch) -> dict[str, NDArray[Any]]:
        """Columns of `ContactBatch.extra`; those that the file lacks are absent.

        Raises:
            DataError: an unknown kind of line, a list's name that cannot be one, a flag that is none, or a probability
                outside [0, 1], or a wrong instant.
        """
        readers: dict[str, Callable[[ColumnBatch, pa.Array], NDArray[Any]]] = {
            "line_type": _line_types,
            "lists": self._listed,
            "profiling_objection": _objections,
            "motive_price": _motives,
            "due_at": lambda batch, column: instants(batch, "due_at", column),
        }
        return {
            name: read(batch, batch.columns[name]) for name, read in readers.items() if batch.column(name) is not None
        }

    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels by column, as `ContactBatch.levels` has them."""
        return {"line_type": LINE_TYPES, "lists": tuple(self._lists), "profiling_objection": OBJECTIONS}

    def _listed(self, batch: ColumnBatch, column: pa.Array) -> CodeArray:
        """Codes of sets of lists: sorted names, joined by commas."""
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            cells = column.to_pylist()
            parsed = [None if cell is None else _names(cell) for cell in cells]
            bad = np.array([cell is not None and names is None for cell, names in zip(cells, parsed, strict=True)])
            batch.fail("lists", bad & known(column), column, _LISTS)
            return np.array([UNKNOWN if one is None else self._code(one) for one in parsed], dtype=np.int32)
        codes, texts = coded(column)
        sets = [list_cell(one) for one in texts]
        wrong = np.array([*(one is None for one in sets), False], dtype=np.bool_)
        batch.fail("lists", wrong[codes], column, _LISTS)
        return np.array([*(self._code(one or "") for one in sets), UNKNOWN], dtype=np.int32)[codes]

    def _code(self, names: str) -> int:
        return self._lists.setdefault(names, len(self._lists))


_LISTS = 'must be names of lists, like "minor;employee" or ["minor"], and [] where the contact is on none'


def list_cell(cell: str) -> str | None:
    """Sorted names of lists, joined by commas; "" where the contact is on none, None for what is no such cell."""
    if not cell.startswith("["):
        return "" if cell.lower() == NONE else _names(cell.split(";"))
    try:
        return _names(msgspec.json.decode(cell, type=list[str]))
    except msgspec.MsgspecError:
        return None


def _names(cells: list[Any]) -> str | None:
    if not all(isinstance(cell, str) for cell in cells):
        return None
    names = sorted({cell.strip().lower() for cell in cells})
    return ",".join(names) if all(_NAME.fullmatch(name) for name in names) else None


def _line_types(batch: ColumnBatch, column: pa.Array) -> CodeArray:
    codes, names = coded(column)
    levels = ["" if name.lower() == NONE else name.lower() for name in names]
    positions = np.array([*(LINE_TYPES.index(one) if one in LINE_TYPES else -2 for one in levels), UNKNOWN])
    batch.fail("line_type", positions[codes] < UNKNOWN, column, "must be mobile, landline, voip or none")
    found: CodeArray = positions[codes].astype(np.int32)
    return found


def _objections(batch: ColumnBatch, column: pa.Array) -> CodeArray:
    return flags(batch, "profiling_objection", column).astype(np.int32)


def _motives(batch: ColumnBatch, column: pa.Array) -> NDArray[np.float64]:
    values, _ = numbers(batch, "motive_price", column)
    batch.fail("motive_price", (values < 0) | (values > 1), column, "must be a probability in [0, 1]")
    return values
