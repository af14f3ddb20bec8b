"""Which columns of a foreign log a mapping reads, and what for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.files.ids import DAMAGED, refuse_floats, trimmed
from engine.mapping.cells import is_one_of, joined, text_of
from engine.mapping.dialect import expressions
from engine.mapping.number_format import Doubts, number_columns
from engine.mapping.sources import Source, TextBatch
from engine.mapping.spec import Axis, Key, Mapping
from engine.names import did_you_mean
from engine.types import BoolArray, ObjectArray

# More distinct values than this on one axis is an id, not an action.
_MOST_VALUES = 20_000
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_EXACT_INTEGER = 2.0**53


def _keys(mapping: Mapping) -> dict[str, Key]:
    named = {"contact": mapping.contact, "cluster": mapping.cluster, "decision_id": mapping.decision_id}
    return {name: key for name, key in named.items() if isinstance(key, Key)}


def direct_columns(mapping: Mapping) -> dict[str, str]:
    """Column -> the key that takes it as it is; such a column is not carried along as a raw one."""
    found: dict[str, str] = {}
    for name, axis in mapping.catalog.items():
        found |= dict.fromkeys(axis.names, f"catalog.{name}")
    for name, key in _keys(mapping).items():
        found |= dict.fromkeys(key.names, name)
    if mapping.propensity.column is not None:
        found[mapping.propensity.column] = "propensity"
    if mapping.decided_at is not None:
        found[mapping.decided_at.column] = "decided_at"
    found |= {feature.cells: f"feature {feature.name}" for feature in mapping.features}
    found |= {reward.column: f"reward {name}" for name, reward in mapping.rewards.items() if reward.column}
    return found


def needed_columns(mapping: Mapping) -> dict[str, str]:
    """Column -> the first key that reads it, expressions included."""
    found = direct_columns(mapping)
    if mapping.decision_id is not None and mapping.decision_id.optional:
        found = {column: use for column, use in found.items() if use != "decision_id"}
    if mapping.hold is not None and mapping.hold.column is not None:
        found.setdefault(mapping.hold.column, "hold")
    if mapping.availability is not None and mapping.availability.column is not None:
        found.setdefault(mapping.availability.column, "availability")
    if mapping.eligible is not None:
        for column in [*mapping.eligible.columns.values(), mapping.eligible.list_column]:
            if column is not None:
                found.setdefault(column, "eligible")
    for key, expression in expressions(mapping).items():
        for column in sorted(expression.columns):
            found.setdefault(column, key)
    if isinstance(mapping.keep, list):
        for column in mapping.keep:
            found.setdefault(column, "keep")
    return found


def check_columns(mapping: Mapping, source: Source, path: Path) -> None:
    """Refuse a log that lacks columns.

    Raises:
        DataError: lists every missing column, what reads it, and the nearest name that is there.
    """
    missing = [(name, use) for name, use in needed_columns(mapping).items() if name not in source.columns]
    if missing:
        listed = ", ".join(f"{name!r} (for {use})" for name, use in missing)
        near = "".join(did_you_mean(name, source.columns) for name, _ in missing[:3])
        shown = ", ".join(source.columns[:20]) + (", ..." if len(source.columns) > 20 else "")
        raise DataError(f"{path} lacks the columns {listed}", hint=f"{near}the file has: {shown}")


def raw_columns(mapping: Mapping, source: Source) -> tuple[str, ...]:
    """The columns to carry along untouched."""
    if mapping.keep == "none":
        return ()
    if isinstance(mapping.keep, list):
        return tuple(dict.fromkeys(mapping.keep))
    taken = direct_columns(mapping)
    return tuple(name for name in source.columns if name not in taken)


def axis_cells(axis: Axis, batch: TextBatch) -> ObjectArray:
    """(n,) value of each row on an axis that is read from columns."""
    return joined([batch.cells[name] for name in axis.names])


def held_rows(mapping: Mapping, batch: TextBatch) -> BoolArray:
    """(n,) bool: the row says hold."""
    hold = mapping.hold
    if hold is None:
        return np.zeros(batch.n, dtype=np.bool_)
    values = [text_of(value) for value in hold.values]
    if hold.column is not None:
        return is_one_of(batch.cells[hold.column], values)
    axis = dict(mapping.catalog.items())[hold.axis or "arm"]
    cells = axis_cells(axis, batch) if axis.names else np.full(batch.n, text_of(axis.constant or ""), dtype=object)
    return is_one_of(cells, values)


@dataclass
class Scan:
    """What a first pass over the log finds.

    Attributes:
        rows: data rows, readable or not.
        observed: axis -> values of the rows that did not hold.
        text: raw columns that must stay text.
        hints: sentences about numbers that are not read as such.
    """

    rows: int = 0
    observed: dict[str, set[str]] = field(default_factory=dict)
    text: set[str] = field(default_factory=set)
    hints: tuple[str, ...] = ()


def scan(mapping: Mapping, source: Source, raw: Sequence[str]) -> Scan:
    """Count rows, collect the observed values of every axis, and type the raw columns.

    Raises:
        DataError: the file is damaged, ids are damaged, or an axis holds so many values that it must be an id.
    """
    found = Scan(observed={name: set() for name, axis in mapping.catalog.items() if axis.names})
    columns, doubts = number_columns(mapping), Doubts()
    keys = {column: name for name, key in _keys(mapping).items() for column in key.names}
    for batch in source.batches():
        _refuse_damaged_ids(keys, batch, source)
        found.rows += batch.n + len(batch.faults)
        sent = ~held_rows(mapping, batch)
        for name, axis in mapping.catalog.items():
            if axis.names:
                found.observed[name].update(axis_cells(axis, batch)[sent])
                if len(found.observed[name]) > _MOST_VALUES:
                    raise DataError(
                        f"catalog.{name} takes more than {_MOST_VALUES} values from {', '.join(axis.names)}",
                        hint="such a column is an id, not an action; map another one",
                    )
        found.text |= {name for name in raw if name not in found.text and not _all_numbers(batch.cells[name])}
        for name in columns.keys() | set(raw) - found.text:
            doubts.add(name, batch.cells[name], batch.typed)
    _settle(mapping, columns, doubts, found, raw)
    return found


def _settle(mapping: Mapping, columns: dict[str, float], doubts: Doubts, found: Scan, raw: Sequence[str]) -> None:
    """Raw columns whose numbers are in doubt stay text; the others are refused where no format is stated."""
    stated = mapping.numbers
    for name in raw:
        point = any(doubts.seen[name, kind] for kind in ("point", "doubtful"))
        if (stated is None and doubts.doubtful(name)) or (stated is not None and stated.decimal != "." and point):
            found.text.add(name)
    if stated is None:
        doubts.refuse(columns)
        found.hints = doubts.hints(columns)


def _refuse_damaged_ids(keys: dict[str, str], batch: TextBatch, source: Source) -> None:
    """Refuse ids that are floats; the conversion rejects single rows with characters that no eye sees."""
    for column, key in keys.items():
        if column in batch.cells:
            what = f"column {column!r}, the {key},"
            if column in source.floats:
                raise DataError(f"{what} holds floats, which are no ids", hint=DAMAGED)
            refuse_floats(trimmed(pa.array(batch.cells[column], pa.string())), what, batch.rows)


def _all_numbers(cells: ObjectArray) -> bool:
    """Whether a column can be stored as floats without losing what it says ("007" and long ids can not)."""
    for cell in set(cells.tolist()):
        if cell == "":
            continue
        try:
            number = float(cell)
        except ValueError:
            return False
        if "_" in cell or _LEADING_ZERO.match(cell) or abs(number) >= _EXACT_INTEGER:
            return False
    return True
