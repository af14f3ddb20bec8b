"""Between Arrow tables of records and rows of SQL; every value survives the way there and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from engine.features import MISSING
from engine.records import schema as records
from engine.records.schema import LogMeta

Row = dict[str, Any]


def decision_rows(table: pa.Table, meta: LogMeta) -> list[Row]:
    """Rows of SQL of a conforming table of decisions, with `context` and `digest`."""
    columns = {name: _to_sql(table.column(name), kind) for name, kind, _, _ in records.DECISION_COLUMNS}
    names = meta.features.names
    values = [table.column(records.CONTEXT + name).to_pylist() for name in names]
    states = [table.column(records.STATE + name).to_pylist() for name in names]
    rows = []
    for position in range(table.num_rows):
        row = {name: column[position] for name, column in columns.items()}
        context = {name: (states[f][position], values[f][position]) for f, name in enumerate(names)}
        row["context"] = msgspec.json.encode(context, order="sorted").decode()
        row["digest"] = digest(row)
        rows.append(row)
    return rows


def outcome_rows(table: pa.Table) -> list[Row]:
    """Rows of SQL of a conforming table of outcomes, with `digest` as their natural key."""
    columns = {name: _to_sql(table.column(name), kind) for name, kind, _, _ in records.OUTCOME_COLUMNS}
    rows = [{name: column[position] for name, column in columns.items()} for position in range(table.num_rows)]
    return [{"digest": digest(row), **row} for row in rows]


def digest(row: Row) -> str:
    """64 hex digits of the SHA-256 of a row's canonical JSON (bytes as base64)."""
    return hashlib.sha256(msgspec.json.encode(row, order="sorted")).hexdigest()


def decision_table(rows: Sequence[Row], meta: LogMeta) -> pa.Table:
    """The table of rows that SQL gave back; the inverse of `decision_rows`."""
    schema = records.log_schema(meta)
    arrays = [_from_sql([row[name] for row in rows], kind) for name, kind, _, _ in records.DECISION_COLUMNS]
    contexts = [msgspec.json.decode(row["context"]) for row in rows]
    for spec in meta.features.features:
        pairs = [context.get(spec.name, (MISSING, None)) for context in contexts]
        kind = schema.field(records.CONTEXT + spec.name).type
        arrays.append(_from_sql([value for _, value in pairs], kind))
        arrays.append(pa.array([state for state, _ in pairs], pa.uint8()))
    return pa.Table.from_arrays(arrays, schema=schema)


def outcome_table(rows: Sequence[Row]) -> pa.Table:
    """The table of rows that SQL gave back; the inverse of `outcome_rows`."""
    arrays = [_from_sql([row[name] for row in rows], kind) for name, kind, _, _ in records.OUTCOME_COLUMNS]
    return pa.Table.from_arrays(arrays, schema=records.outcome_schema())


def _to_sql(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    values: list[Any] = column.to_pylist()
    if pa.types.is_uint64(kind):
        return [None if value is None else f"{value:016x}" for value in values]
    return values


def _from_sql(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_uint64(kind):
        return pa.array([None if value is None else int(value, 16) for value in values], kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)
