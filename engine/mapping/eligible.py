"""The eligible set of each row of a foreign log, packed."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import pack
from engine.errors import ConfigError, DataError
from engine.files.documents import decode_json
from engine.mapping.cells import numbers, text_of
from engine.mapping.sources import TextBatch
from engine.mapping.spec import Mapping
from engine.types import HOLD, BoolArray, ByteArray, FloatArray, ObjectArray

# Cells of one dense (rows, k) piece.
_DENSE_CELLS: Final = 4_000_000
_AXES: Final = ("channel", "send_hour", "arm")


def always_eligible(mapping: Mapping, catalog: Catalog) -> BoolArray:
    """(k,) bool: every action, hold only where the log can hold."""
    row = np.ones(catalog.k, dtype=np.bool_)
    row[HOLD] = mapping.hold is not None
    return row


def eligible_bits(
    mapping: Mapping, catalog: Catalog, batch: TextBatch, tests: dict[str, FloatArray], available: BoolArray
) -> ByteArray:
    """(n, ceil(k / 8)) packed eligible sets; hold alone where nothing was available.

    Args:
        tests: value of the axis -> (n,) outcome of its expression, for a mapping that gives expressions.
        available: (n,) bool.
    """
    only_hold = np.zeros(catalog.k, dtype=np.bool_)
    only_hold[HOLD] = True
    base = always_eligible(mapping, catalog)
    out = np.where(available[:, None], pack(base[None]), pack(only_hold[None]))
    if mapping.eligible is None:
        return out
    step = max(1, _DENSE_CELLS // catalog.k)
    for start in range(0, batch.n, step):
        part = slice(start, min(start + step, batch.n))
        dense = _dense(mapping, catalog, batch, tests, part, base)
        dense[~available[part]] = only_hold
        out[part] = pack(dense)
    return out


def _dense(
    mapping: Mapping, catalog: Catalog, batch: TextBatch, tests: dict[str, FloatArray], part: slice, base: BoolArray
) -> BoolArray:
    spec = mapping.eligible
    dense = np.broadcast_to(base, (part.stop - part.start, catalog.k)).copy()
    if spec is None:
        return dense
    if spec.list_column is not None:
        return _listed(catalog, batch.cells[spec.list_column][part], spec.separator, base)
    for name, column in spec.columns.items():
        values, _ = numbers(batch.cells[column][part])
        dense[:, catalog.resolve(name)] &= values == 1
    if spec.expressions:
        position = catalog.split(np.arange(catalog.k))[_AXES.index(spec.axis)]
        names = _axis_values(catalog, spec.axis)
        for value, outcome in tests.items():
            dense[:, position == names.index(value)] &= (outcome[part] == 1)[:, None]
    return dense


def _listed(catalog: Catalog, cells: ObjectArray, separator: str, base: BoolArray) -> BoolArray:
    """Cells repeat, so each distinct list is read once."""
    rows: dict[str, BoolArray] = {}
    for cell in set(cells.tolist()):
        row = np.zeros(catalog.k, dtype=np.bool_)
        row[HOLD] = base[HOLD]
        try:
            row[[catalog.resolve(name) for name in _names_in(cell, separator) if name]] = True
        except DataError:
            # An unreadable set allows nothing, so that the row's own action rejects it.
            row[:] = False
        rows[cell] = row
    return np.array([rows[cell] for cell in cells], dtype=np.bool_).reshape(-1, catalog.k)


def _names_in(cell: str, separator: str) -> list[str]:
    if cell.startswith("["):
        try:
            return [text_of(item) for item in decode_json(cell)]
        except ValueError:
            return [cell]
    return [name.strip() for name in cell.split(separator)]


def check_eligible_names(mapping: Mapping, catalog: Catalog) -> None:
    """Refuse an eligible block that names actions or axis values which the catalog does not have.

    Raises:
        ConfigError: names the unknown one.
    """
    spec = mapping.eligible
    if spec is None:
        return
    for name in spec.columns:
        try:
            catalog.resolve(name)
        except DataError as error:
            raise ConfigError(f"`eligible.columns` names an {error.message}", hint=error.hint) from error
    unknown = [value for value in spec.expressions if value not in _axis_values(catalog, spec.axis)]
    if unknown:
        raise ConfigError(
            f"`eligible.expressions` must name values of the axis {spec.axis}, got {unknown}",
            hint=f"it has: {', '.join(_axis_values(catalog, spec.axis)[:20])}",
        )


def _axis_values(catalog: Catalog, axis: str) -> tuple[str, ...]:
    return {"channel": catalog.channels, "send_hour": tuple(map(str, catalog.hours)), "arm": catalog.arm_ids}[axis]
