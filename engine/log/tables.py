"""The tables of the hot log, made from the records, and their rows to and from Arrow: the same words, typed for SQL.

Instants are integers (microseconds since 1970 UTC), clusters 16 hex digits (SQL has no unsigned integers), labels text;
the context is one JSON column, because feature schemas change while the store stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import sqlalchemy as sa

from engine.features import MISSING
from engine.records import schema as records
from engine.records.schema import LogMeta

METADATA: Final = sa.MetaData()
DIGEST_LENGTH: Final = 64
TABLE_NAMES: Final = ("log_meta", "decision", "transition", "outcome")


def sql_type(kind: pa.DataType) -> sa.types.TypeEngine[Any]:
    """The SQL type that holds an Arrow type of the records."""
    if pa.types.is_timestamp(kind) or pa.types.is_int64(kind):
        return sa.BigInteger()
    if pa.types.is_uint64(kind):
        return sa.String(16)
    if pa.types.is_integer(kind):
        return sa.Integer()
    if pa.types.is_floating(kind):
        return sa.Double()
    if pa.types.is_boolean(kind):
        return sa.Boolean()
    if pa.types.is_binary(kind):
        return sa.LargeBinary()
    return sa.Text()


def _columns(declared: tuple[tuple[str, pa.DataType, bool, str], ...], key: str) -> list[sa.Column[Any]]:
    return [
        sa.Column(name, sql_type(kind), primary_key=name == key, nullable=nullable, comment=meaning)
        for name, kind, nullable, meaning in declared
    ]


LOG_META: Final = sa.Table(
    "log_meta",
    METADATA,
    sa.Column("meta_id", sa.String(DIGEST_LENGTH), primary_key=True, comment="SHA-256 of the footer"),
    sa.Column("footer", sa.Text(), nullable=False, comment="LogMeta as JSON"),
)
DECISION: Final = sa.Table(
    "decision",
    METADATA,
    *_columns(records.DECISION_COLUMNS, "decision_id"),
    sa.Column("context", sa.Text(), nullable=False, comment="JSON: feature name -> [state, value]"),
    sa.Column("meta_id", sa.ForeignKey("log_meta.meta_id"), nullable=False, comment="the meta it was taken under"),
    sa.Column("digest", sa.String(DIGEST_LENGTH), nullable=False, comment="SHA-256 of the whole row"),
    sa.Index("decision_by_time", "decided_at", "decision_id"),
)
TRANSITION: Final = sa.Table(
    "transition",
    METADATA,
    sa.Column("decision_id", sa.ForeignKey("decision.decision_id"), primary_key=True),
    sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False, comment="1 for the first change"),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("at", sa.BigInteger(), nullable=False),
)
OUTCOME: Final = sa.Table(
    "outcome",
    METADATA,
    sa.Column("digest", sa.String(DIGEST_LENGTH), primary_key=True, comment="SHA-256 of the row: its natural key"),
    *_columns(records.OUTCOME_COLUMNS, ""),
    sa.Index("outcome_by_decision", "decision_id"),
)


def create(connection: sa.Connection) -> None:
    """Create what is missing, with triggers that refuse to change or delete a row."""
    METADATA.create_all(connection)
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        connection.execute(sa.text(statement))


_SQLITE: Final = tuple(
    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
    for table in TABLE_NAMES
    for verb in ("UPDATE", "DELETE")
)
_POSTGRESQL: Final = (
    """CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$""",
    *(
        f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in TABLE_NAMES
    ),
)


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
