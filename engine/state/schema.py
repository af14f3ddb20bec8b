"""Opening the tables of contact state: new stores, stores of earlier versions, and stores that are too new."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from engine.errors import StorageError
from engine.state.tables import EVENT, METADATA, SCHEMA_VERSION, SEND, STORE
from engine.storage.database import is_postgresql

_NEWER: Final = "upgrade Tactful; nothing was changed"


def prepare(connection: sa.Connection) -> None:
    """Create the tables that are missing, and bring those of an earlier version up to date; only columns are added.

    Raises:
        StorageError: a store of a newer version, or tables of these names that are not ours; nothing was changed.
    """
    present = set(sa.inspect(connection).get_table_names())
    if STORE.name in present:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the state store has schema version {version}, this Tactful reads up to {SCHEMA_VERSION}", hint=_NEWER
            )
        if version == SCHEMA_VERSION:
            return
    elif SEND.name in present:
        _add_columns(connection, EVENT, ("source", "event_id"))
    METADATA.create_all(connection)
    _require_columns(connection)
    if STORE.name not in present:
        first = {"one": 1, "version": SCHEMA_VERSION, "store_id": uuid4().hex, "sequence": 0}
        connection.execute(sa.insert(STORE), [first])


def _version(connection: sa.Connection) -> int:
    found: Any = connection.execute(sa.select(STORE.c.version)).scalar_one_or_none()
    if not isinstance(found, int) or found < 1:
        raise StorageError(
            f"the table `store` of the state store does not say its version, got {found!r}",
            hint="the store is damaged, or the table is another program's; restore a copy, or name another database",
        )
    return found


def _add_columns(connection: sa.Connection, table: sa.Table, names: tuple[str, ...]) -> None:
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for name in names:
        if name not in there:
            column = sa.schema.CreateColumn(table.c[name]).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column}")


def _require_columns(connection: sa.Connection) -> None:
    found = sa.inspect(connection)
    for table in METADATA.sorted_tables:
        missing = {column.name for column in table.columns} - {
            column["name"] for column in found.get_columns(table.name)
        }
        if missing:
            raise StorageError(
                f"the table {table.name!r} of the state store lacks the columns {sorted(missing)}",
                hint="it is another program's table, or of a version that cannot be brought up to date; "
                f"name another {'schema' if is_postgresql(connection) else 'file'}",
            )
