"""Attributes of a contact in columns of their own: consent by channel and purpose, kind of phone line, lists, others.

A record of consent counts with source and timestamp, and from its timestamp on; a refusal counts always.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.columns import ColumnBatch, coded, flags, instants, known, numbers, text
from engine.contacts.contacts import CONSENT_BASES, OBJECTIONS, UNKNOWN, YES, LevelArray
from engine.contacts.places import NONE
from engine.types import NOT_AN_INSTANT, PURPOSES, CodeArray, IntArray

LINE_TYPES: Final = ("mobile", "landline", "voip", "")
CONSENT_DETAILS: Final = ("consent_at", "consent_basis", "consent_expires_at")
# Where a file has a column of consent or suppression: beside a store an empty cell closes, a lacking column does not.
CONSENT_TOLD, SUPPRESSED_TOLD = "consent_told", "suppressed_told"
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


def consent_of(batch: ColumnBatch, catalog: Catalog, now_at: int) -> tuple[LevelArray, dict[str, NDArray[Any]]]:
    """(n, C, P) levels, and the details that `ContactBatch.extra` carries.

    Raises:
        DataError: a level that is neither true nor false, an unknown basis, or a wrong instant.
    """
    shape = (batch.n, len(catalog.channels), len(PURPOSES))
    levels = np.full(shape, UNKNOWN, dtype=np.int8)
    told = np.zeros(shape, dtype=np.bool_)
    given_at, expires_at = (np.full(shape, NOT_AN_INSTANT, dtype=np.int64) for _ in range(2))
    basis = np.full(shape, UNKNOWN, dtype=np.int8)
    found = False
    for position, channel in enumerate(catalog.channels):
        for purpose_position, purpose in enumerate(PURPOSES):
            name = f"consent_{channel}_{purpose}"
            where = (slice(None), position, purpose_position)
            told[where] = batch.tells(name)
            if batch.column(name) is None:
                continue
            found = True
            given_at[where] = batch.instants(f"{name}_at")
            expires_at[where] = batch.instants(f"{name}_expires_at")
            basis[where] = _consent_bases(batch, f"{name}_basis")
            levels[where] = _consent_levels(batch, name, given_at[where], now_at)
    columns: tuple[NDArray[Any], ...] = (given_at, basis, expires_at)
    details = dict(zip(CONSENT_DETAILS, columns, strict=True)) if found else {}
    return levels, details | ({CONSENT_TOLD: told} if told.any() else {})


def _consent_levels(batch: ColumnBatch, name: str, given_at: IntArray, now_at: int) -> LevelArray:
    level = flags(batch, name, batch.columns[name])
    source = batch.column(f"{name}_source")
    proven = (given_at != NOT_AN_INSTANT) & (given_at <= now_at)
    proven &= False if source is None else known(text(source))
    counted: LevelArray = np.where(proven | (level != YES), level, UNKNOWN).astype(np.int8)
    return counted


def _consent_bases(batch: ColumnBatch, name: str) -> LevelArray:
    column = batch.column(name)
    if column is None:
        return np.full(batch.n, UNKNOWN, dtype=np.int8)
    codes, names = coded(column)
    positions = np.array([*(CONSENT_BASES.index(one) if one in CONSENT_BASES else -2 for one in names), UNKNOWN])
    basis: LevelArray = positions[codes].astype(np.int8)
    batch.fail(name, basis < UNKNOWN, column, f"must be one of {', '.join(CONSENT_BASES)}")
    return basis
