"""The tables of the hot log, made from the records: the same words, typed for SQL.

Instants are integers (microseconds since 1970 UTC), clusters 16 hex digits (SQL has no unsigned integers), labels text;
the context is one JSON column, because feature schemas change while the store stays.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa

from engine.records import schema as records

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
