"""Erasing persons from one SQL database: contact state, the hot log, or both.

The rows of a person go in one transaction. The log's triggers refuse every delete, from whomever it comes; so the same
transaction drops them and makes them again. No other connection ever sees the tables without them, and a transaction
that is cut short leaves them as they were. Afterwards the freed pages are overwritten: what a delete leaves in a file
is still the person.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from engine.erasure.persons import Persons
from engine.erasure.traces import names_in
from engine.errors import StorageError
from engine.log.tables import DECISION
from engine.log.tables import METADATA as LOG
from engine.state.erased import ERASED, ERASURE, STORE_IDENTITY, bound_key, mark_erased
from engine.state.sends.decisions import decided_for, erase_decided, recorded_texts
from engine.state.tables import CONTACT, DECIDED_BATCH
from engine.state.tables import METADATA as STATE
from engine.storage.database import SqlStore, among, is_postgresql, open_database, reading, require_store, writing

_OURS: Final = (STORE_IDENTITY, ERASED, ERASURE)
_BUSY_S: Final = 30.0
_TEXTS: Final = 10_000
_CONTACT: Final = "contact_id"
_DECISION: Final = "decision_id"


class ErasableStore(SqlStore):
    """A database from which persons are erased.

    Args:
        url: address of a store that exists.
        log: whether it is given as a hot log; else as a store of contact state.

    Raises:
        ParameterError, ConfigError, StorageError: raised by `open_database`.
        DataError: no such store there.
    """

    def __init__(self, url: str, *, log: bool = False) -> None:
        owner, table = ("SqlLog", DECISION.name) if log else ("SqlState", CONTACT.name)
        require_store(url, table, owner=owner, hint="name a store that exists")

        def create(connection: sa.Connection) -> None:
            STATE.create_all(connection, tables=list(_OURS))

        self._engine = open_database(url, create, owner=owner, busy_timeout_s=_BUSY_S, connections=1)

    def key_fingerprint(self) -> str | None:
        """See `engine.state.erased.bound_key`."""
        return bound_key(self._engine)

    def begin(self, persons: Persons, at: int, record: dict[str, Any]) -> str:
        """Close every channel of the persons and write down that the erasure has begun, before anything is removed.

        Args:
            persons: who.
            at: microseconds; the instant of the request.
            record: of the act, without anything of the persons.

        Returns:
            The id of the act.
        """
        act_id = secrets.token_hex(8)
        with writing(self._engine, "begin an erasure") as connection:
            if sa.inspect(connection).has_table(CONTACT.name):
                mark_erased(connection, sorted(persons.stored), at)
            row = {"act_id": act_id, "at": at, "record": json.dumps(record, sort_keys=True), "clean": False}
            connection.execute(sa.insert(ERASURE), [row])
        return act_id

    def decisions(self, persons: Persons) -> set[str]:
        """Ids of the persons' decisions and sends."""
        with reading(self._engine, "look for decisions") as connection:
            recorded = decided_for(connection, sorted(persons.contacts)) if _has_records(connection) else set()
            return recorded | {
                str(name)
                for table in _tables(connection)
                # Only where the id is the row's own: another column may point to somebody else's decision.
                if _CONTACT in table.c and _DECISION in table.primary_key.columns
                for name in connection.execute(
                    sa.select(table.c[_DECISION]).where(among(connection, table.c[_CONTACT], sorted(persons.contacts)))
                ).scalars()
            }

    def erase(self, persons: Persons) -> dict[str, int]:
        """Remove every row of the persons, in one transaction.

        Returns:
            Table -> rows that were removed; only tables that had some.

        Raises:
            StorageError: the store refused; nothing was removed.
        """
        rows: dict[str, int] = {}
        with writing(self._engine, "erase persons") as connection:
            if not is_postgresql(connection):
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            tables = _tables(connection)
            with _without_triggers(connection, [table.name for table in tables]):
                # Rows that point to others go first.
                if _has_records(connection) and (recorded := erase_decided(connection, sorted(persons.contacts))):
                    rows[DECIDED_BATCH.name] = recorded
                for table in reversed(tables):
                    removed = connection.execute(sa.delete(table).where(_of(connection, table, persons))).rowcount
                    if removed:
                        rows[table.name] = removed
        return rows

    def left(self, persons: Persons) -> list[str]:
        """Columns (`table.column`) in which rows of others still name a person: a reason, the id of an event.

        They are not changed: a suppression is lifted by its reason, and an event is known by its id.
        """
        with reading(self._engine, "look for names") as connection:
            there = set(sa.inspect(connection).get_table_names())
            tables = [table for table in (*STATE.sorted_tables, *LOG.sorted_tables) if table.name in there]
            named = {
                f"{table.name}.{column.name}"
                for table in tables
                for column in table.c
                if isinstance(column.type, sa.String) and _column_names(connection, column, persons)
            }
            if _has_records(connection) and any(names_in(text, persons) for text in recorded_texts(connection)):
                named.add(f"{DECIDED_BATCH.name}.record")
            return sorted(named)

    def finish(self, act_id: str, record: dict[str, Any], *, scrub: bool, clean: bool = True) -> None:
        """Overwrite what deletes have left in the files, and close this act and those that were cut short before it.

        Args:
            act_id: id of the act, from `begin`.
            record: of the act, with its counts.
            scrub: false where nothing was removed, and no earlier act was cut short.
            clean: false leaves the acts open, because a person is still named somewhere.

        Raises:
            StorageError: others hold the store, or the disk is full; the same erasure again goes on here.
        """
        if scrub and self._engine.dialect.name == "postgresql":
            self._vacuum_tables()
        elif scrub:
            self._vacuum_file()
        with writing(self._engine, "finish an erasure") as connection:
            statement = sa.update(ERASURE).where(ERASURE.c.act_id == act_id)
            connection.execute(statement.values(record=json.dumps(record, sort_keys=True)))
            if clean:
                connection.execute(sa.update(ERASURE).where(ERASURE.c.clean.is_(False)).values(clean=True))

    def interrupted(self, act_id: str) -> bool:
        """Whether an earlier erasure did not come to its end: its pages may still hold what it removed."""
        with reading(self._engine, "look for earlier erasures") as connection:
            query = sa.select(sa.func.count()).where(ERASURE.c.clean.is_(False), ERASURE.c.act_id != act_id)
            return bool(connection.execute(query).scalar_one())

    def acts(self) -> list[dict[str, Any]]:
        """The records of all erasures, oldest first."""
        with reading(self._engine, "read the erasures") as connection:
            rows = connection.execute(sa.select(ERASURE).order_by(ERASURE.c.at, ERASURE.c.act_id)).mappings()
            return [{**json.loads(row["record"]), "act_id": row["act_id"], "clean": row["clean"]} for row in rows]

    def _vacuum_file(self) -> None:
        raw = self._engine.raw_connection()
        try:
            connection: sqlite3.Connection = raw.driver_connection  # type: ignore[assignment]
            # Old versions of rows lie in freed space of pages, and all of it once more in the write-ahead log.
            connection.execute("VACUUM").close()
            with contextlib.closing(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")) as cursor:
                busy = cursor.fetchone()[0]
        except sqlite3.Error as error:
            raise StorageError(
                f"the pages of the store cannot be overwritten: {error}",
                hint="the persons are removed; stop what holds the store, free space, and run the same erasure again",
            ) from error
        finally:
            raw.close()
        if busy:
            raise StorageError(
                "another process reads the store, so its write-ahead log still holds what was removed",
                hint="stop it and run the same erasure again",
            )

    def _vacuum_tables(self) -> None:
        with reading(self._engine, "look for tables") as connection:
            names = [table.name for table in _tables(connection)]
            names += [DECIDED_BATCH.name] if _has_records(connection) else []
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"SET lock_timeout = '{int(_BUSY_S)}s'")
                for name in names:
                    connection.exec_driver_sql(f'VACUUM (FULL) "{name}"')
        except sa.exc.SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise StorageError(
                f"the tables cannot be written anew: {reason}",
                hint="the persons are removed; run the same erasure again when nobody holds the tables",
            ) from error


def _has_records(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(DECIDED_BATCH.name)


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """The tables of ours here that name a contact or a decision, each before those that point to it."""
    there = set(sa.inspect(connection).get_table_names())
    every = (*STATE.sorted_tables, *LOG.sorted_tables)
    return [table for table in every if table.name in there and {_CONTACT, _DECISION} & set(table.c.keys())]


def _column_names(connection: sa.Connection, column: sa.Column[Any], persons: Persons) -> bool:
    """Whether a column of texts names a person; each text is looked at once."""
    rows = connection.execute(sa.select(column).where(column.is_not(None)).distinct())
    return any(names_in("\n".join(map(str, part)), persons) for part in rows.scalars().partitions(_TEXTS))


def _of(connection: sa.Connection, table: sa.Table, persons: Persons) -> sa.ColumnElement[bool]:
    if _CONTACT in table.c:
        return among(connection, table.c[_CONTACT], sorted(persons.contacts))
    return among(connection, table.c[_DECISION], sorted(persons.decisions))


@contextlib.contextmanager
def _without_triggers(connection: sa.Connection, names: Sequence[str]) -> Iterator[None]:
    if is_postgresql(connection):
        # Needs the owner of the table, and locks it against every other writer until the end of the transaction.
        for name in names:
            connection.exec_driver_sql(f'ALTER TABLE "{name}" DISABLE TRIGGER USER')
        yield
        for name in names:
            connection.exec_driver_sql(f'ALTER TABLE "{name}" ENABLE TRIGGER USER')
        return
    query = sa.text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    found = [row for row in connection.execute(query).all() if row.tbl_name in names]
    for row in found:
        connection.exec_driver_sql(f'DROP TRIGGER "{row.name}"')
    yield
    for row in found:
        connection.exec_driver_sql(row.sql)
