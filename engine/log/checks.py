"""What every decision must fulfil before it is logged; one vectorised pass over a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.content.eligibility import is_modular, packed_width, unpacked
from engine.errors import DataError
from engine.log.parquet import conform
from engine.records import schema as records
from engine.records.schema import LogMeta
from engine.types import BoolArray


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, what: str) -> pa.Table:
    """Rows as plain dicts -> a table of the schema; keys that are absent are null.

    Raises:
        DataError: an unknown key, a naive datetime, a value of the wrong type, or no value where one must be.
    """
    known = set(schema.names)
    for position, row in enumerate(rows):
        unknown = sorted(set(row) - known)
        if unknown:
            raise DataError(f"{what} {position} has unknown fields {unknown[:5]}", hint="see docs/schema.md")
        for name, value in row.items():
            if isinstance(value, datetime) and value.tzinfo is None:
                raise DataError(
                    f"`{name}` of {what} {position} must have a time zone, got {value.isoformat()}",
                    hint="give an aware datetime, in UTC for instance",
                )
    try:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(f"{what}s do not fit the schema: {error}", hint="see docs/schema.md") from error
    return conform_table(table, schema, what=what)


def conform_table(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """A table with exactly the columns, order and types of a schema.

    Raises:
        DataError: columns missing or unknown, types that do not convert, or nulls where none may be.
    """
    missing = sorted(set(schema.names) - set(table.schema.names))
    unknown = sorted(set(table.schema.names) - set(schema.names))
    if missing or unknown:
        raise DataError(
            f"{what}s lack the columns {missing} and have unknown ones {unknown}", hint="see docs/schema.md"
        )
    columns = []
    for field in schema:
        try:
            columns.append(conform(table.column(field.name).combine_chunks(), field))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(f"`{field.name}` of {what}s cannot be used: {error}", hint="see docs/schema.md") from error
    return pa.Table.from_arrays(columns, schema=schema)


def check_decisions(table: pa.Table, meta: LogMeta) -> None:
    """Refuse decisions that no log of ours may hold.

    Args:
        table: rows in the schema `records.log_schema(meta)`.
        meta: footer of the log.

    Raises:
        DataError: the first broken rule, its first row and how many rows break it.
    """
    k = meta.catalog.k
    action = table.column("action").to_numpy()
    propensity = table.column("propensity").to_numpy()
    available = np.asarray(table.column("available").to_numpy()).astype(bool)
    width = packed_width(meta.catalog)
    lengths = pc.binary_length(table.column("eligible")).to_numpy()
    _require(table, "decision_id", pc.not_equal(table.column("decision_id"), ""), "a non-empty string")
    _require(table, "action", (action >= 0) & (action < k), f"in [0, {k})")
    known = np.isnan(propensity) & (~available | (meta.propensity == "absent"))
    _require(table, "propensity", known | ((propensity > 0) & (propensity <= 1)), "in (0, 1]")
    _require(table, "eligible", lengths == width, f"{width} bytes long")
    bits = np.frombuffer(b"".join(table.column("eligible").to_pylist()), dtype=np.uint8).reshape(len(action), width)
    if is_modular(meta.catalog):
        chosen = unpacked(bits, meta.catalog).contains(action)
    else:
        chosen = bits[np.arange(len(action)), action // 8] >> (action % 8).astype(np.uint8) & 1 == 1
    _require(table, "action", chosen | ~available, "in the row's eligible set")
    _require_labels(table, "state", records.STATES)
    _require_labels(table, "group", records.GROUPS)
    _require_labels(table, "catalog_version", (meta.catalog.version,))
    _require_labels(table, "schema_version", (meta.features.version,))
    for spec in meta.features.features:
        present = table.column(records.STATE + spec.name).to_numpy() == 0
        values = table.column(records.CONTEXT + spec.name)
        ok = np.asarray(values.is_valid().to_numpy()).astype(bool)
        if spec.type == "numeric":
            ok &= np.isfinite(values.to_numpy())
        _require(table, records.CONTEXT + spec.name, ok | ~present, "finite where its state is present")


def _require_labels(table: pa.Table, name: str, allowed: Sequence[str]) -> None:
    held = table.column(name).cast(pa.string())
    _require(table, name, pc.is_in(held, value_set=pa.array(allowed, pa.string())), f"one of {list(allowed)}")


def _require(table: pa.Table, name: str, ok: BoolArray | pa.ChunkedArray, allowed: str) -> None:
    broken = np.flatnonzero(~np.asarray(ok).astype(bool))
    if len(broken):
        row = int(broken[0])
        raise DataError(
            f"`{name}` of a decision must be {allowed}, got {table.column(name)[row].as_py()!r} in row {row} "
            f"({len(broken)} such rows)"
        )
