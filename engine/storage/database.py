"""SQLite (WAL, every commit synced) or PostgreSQL by URL: the same transactions and one kind of error for both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engine.errors import ConfigError, DataError, ParameterError, StorageError, TactfulError

READ_ONLY: Final = "tactful_reads_only"
# SQLite's own check reads the whole file, about 1 s per GB that is in the page cache: once per process, up to so much.
CHECKED_BYTES: Final = 256 << 20
_SOUND: Final[set[tuple[str, int]]] = set()
_KINDS: Final = "sqlite:///FILE or postgresql://USER@HOST/NAME"
_CREATE_LOCK: Final = 7_263_002
_PORTS: Final = 65_536


def open_database(
    url: str,
    create: Callable[[sa.Connection], None],
    *,
    owner: str,
    busy_timeout_s: float = 30.0,
    connections: int = 5,
) -> sa.Engine:
    """Open a store and create the tables that are missing.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        create: makes the tables that are missing, for instance `metadata.create_all`.
        owner: named in errors.
        busy_timeout_s: how long a transaction waits for a connection, and for another writer (SQLite); positive.
        connections: kept open by this process, at most; positive.

    Raises:
        ParameterError: another kind of URL, a store in memory, or a number out of range.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened, or is damaged.
    """
    if not busy_timeout_s > 0:
        raise ParameterError("busy_timeout_s", owner, allowed="positive", got=busy_timeout_s)
    if connections < 1:
        raise ParameterError("connections", owner, allowed="1 or more", got=connections)
    engine = _engine(_parsed(url, owner), busy_timeout_s, connections)
    try:
        _require_sound(engine)
        with writing(engine, f"open the store {_place(engine.url)}") as connection:
            if is_postgresql(connection):
                # Two processes that open an empty database at once would both create the tables.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
            create(connection)
    except StorageError:
        engine.dispose()
        raise
    return engine


def file_of(url: str, *, owner: str) -> Path | None:
    """The file of an SQLite store; None of a store on a server.

    Raises:
        ParameterError: another kind of URL, or a store in memory.
    """
    parsed = _parsed(url, owner)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def require_store(url: str, table: str, *, owner: str, hint: str) -> None:
    """Refuse a URL under which no store stands yet: opening it would make an empty one, and all would be unknown.

    Args:
        url: what `open_database` takes.
        table: that every such store has.
        owner: named in errors.
        hint: how to make a new store.

    Raises:
        ParameterError: another kind of URL, or a store in memory.
        ConfigError: the driver is not installed.
        DataError: no such store.
        StorageError: the server cannot be asked.
    """
    parsed, path = _parsed(url, owner), file_of(url, owner=owner)
    if path is not None:
        if path.is_dir():
            raise StorageError(f"{path} is a folder, no store of contact state", hint="name the SQLite file")
        there = path.exists() and _file_has(path, table)
    else:
        engine = _engine(parsed, 30.0, 1)
        try:
            with reading(engine, f"open the store {_place(parsed)}") as connection:
                there = sa.inspect(connection).has_table(table)
        finally:
            engine.dispose()
    if not there:
        raise DataError(f"there is no store of contact state at {_place(parsed)}", hint=f"check the URL; {hint}")


def _file_has(path: Path, table: str) -> bool:
    """Whether a file of SQLite has a table; true as well where it cannot be read, so that opening it says why."""
    # Read-only, since the usual way to open would already turn an empty or foreign file into one in WAL mode.
    address = f"file:{urllib.parse.quote(str(path))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
            return bool(connection.execute(query, (table,)).fetchone()[0])
    except sqlite3.Error:
        return True


def _require_sound(engine: sa.Engine) -> None:
    """Refuse an SQLite file with damaged pages; a process checks each file once, and no large one.

    Raises:
        StorageError: damaged pages, or no SQLite file.
    """
    if engine.url.get_backend_name() != "sqlite":
        return
    try:
        found = Path(str(engine.url.database)).stat()
    except OSError:
        return
    file = (os.path.realpath(str(engine.url.database)), found.st_ino)
    if file in _SOUND or not 0 < found.st_size <= CHECKED_BYTES:
        return
    with reading(engine, f"open the store {_place(engine.url)}") as connection:
        said = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    if said != ["ok"]:
        raise StorageError(
            f"{engine.url.database} is damaged: {'; '.join(map(str, said))}",
            hint="restore a copy; `tactful state rebuild` puts back what logs and outcomes know since",
        )
    _SOUND.add(file)


def _place(url: sa.URL) -> str:
    """A store as people name it: its file, or its URL without the password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string()


class SqlStore:
    """A store over one engine: a context manager that gives its connections back."""

    _engine: sa.Engine

    @property
    def url(self) -> sa.URL:
        """Which database it is."""
        return self._engine.url

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def writing(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """One transaction, durable when the block ends; an error inside leaves nothing of it.

    Raises:
        StorageError: the store refused (full, read-only, locked, gone).
    """
    with _storage_errors(what), engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def reading(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """One snapshot, the same for every query inside; it holds no writer up.

    Raises:
        StorageError: the store cannot be read.
    """
    with _storage_errors(what), engine.connect() as raw:
        options: dict[str, Any] = {READ_ONLY: True}
        if is_postgresql(raw):
            options["isolation_level"] = "REPEATABLE READ"
        with raw.execution_options(**options) as connection:
            yield connection


@contextlib.contextmanager
def stored_values(what: str) -> Iterator[None]:
    """Values of a store that are none (text where a number belongs, an unknown kind) as an error of ours.

    Raises:
        DataError: such a value was met.
    """
    try:
        yield
    except TactfulError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise DataError(
            f"cannot {what}: the store holds a value that cannot be: {error}",
            hint="something else has written to it, or it is damaged; restore it from a copy",
        ) from error


def is_postgresql(connection: sa.Connection) -> bool:
    return connection.dialect.name == "postgresql"


def among(connection: sa.Connection, column: sa.Column[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """`column` is one of the values, as one bound parameter however many they are."""
    if is_postgresql(connection):
        bound = sa.bindparam(None, list(values), type_=postgresql.ARRAY(sa.Text()))
        return column == sa.func.any(bound)
    listed = sa.func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def not_among(connection: sa.Connection, column: sa.Column[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """`column` is none of the values; not `sa.not_(among(...))`, which some versions turn into `<> ANY`."""
    if is_postgresql(connection):
        bound = sa.bindparam(None, list(values), type_=postgresql.ARRAY(sa.Text()))
        return column != sa.func.all(bound)
    return sa.not_(among(connection, column, values))


def in_byte_order(connection: sa.Connection, column: sa.Column[str]) -> sa.ColumnElement[str]:
    """To sort as Python sorts strings, whatever the database's locale; SQLite does so anyway."""
    return sa.collate(column, "C") if is_postgresql(connection) else column


def insert_missing(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that leaves rows alone whose key is there already."""
    return insert(connection, table).on_conflict_do_nothing()


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """The dialect's insert, which knows `on_conflict_do_update`."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


@contextlib.contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, OverflowError) as error:
        raise StorageError(f"cannot {what}: {error}", hint="a value of the store is damaged; restore a copy") from error
    except sa.exc.SQLAlchemyError as error:
        # Drivers write over several lines.
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise StorageError(
            f"cannot {what}: {reason}", hint="nothing of it was written; free the store and try again"
        ) from error


def _parsed(url: str, owner: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        # A ValueError is a port that is no number. The text may hold a password, so only its kind is repeated.
        shown = re.sub(r"(?<=://)[^/]*@", "***@", url)
        hint = "a port must be a number" if isinstance(error, ValueError) else ""
        raise ParameterError("url", owner, allowed=_KINDS, got=shown, hint=hint) from error
    kind, shown = parsed.get_backend_name(), parsed.render_as_string()
    if kind == "postgresql":
        if parsed.port is not None and not 0 < parsed.port < _PORTS:
            raise ParameterError("url", owner, allowed=_KINDS, got=shown, hint=f"a port is in 1 to {_PORTS - 1}")
        return parsed.set(drivername="postgresql+psycopg")
    database = parsed.database or ""
    if kind != "sqlite" or database in ("", ":memory:") or database.startswith("file:"):
        raise ParameterError("url", owner, allowed=_KINDS, got=shown, hint="a store in memory is not durable")
    if parsed.host or parsed.port or "\0" in database:
        raise ParameterError(
            "url", owner, allowed=_KINDS, got=shown, hint="three slashes before the file, four where it begins with one"
        )
    # A driver that the URL names would be looked up, and imported, by that name.
    return parsed.set(drivername="sqlite")


def _engine(url: sa.URL, busy_timeout_s: float, connections: int) -> sa.Engine:
    pool: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_timeout": busy_timeout_s}
    if url.get_backend_name() == "postgresql":
        try:
            # A lock that is waited for must be followed by a fresh look: a snapshot from before the wait (REPEATABLE
            # READ as the server's default) would not see what the other holder of the lock has reserved.
            engine = sa.create_engine(url, isolation_level="READ COMMITTED", pool_pre_ping=True, **pool)
        except ImportError as error:
            raise ConfigError(
                "PostgreSQL needs the package psycopg", hint='install it: pip install "tactful[postgres]"'
            ) from error
        sa.event.listen(engine, "connect", _make_durable)
        return engine
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout_s}, **pool)

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        # The driver's own transactions begin at the first write; ours begin where we say.
        connection.isolation_level = None
        _enter_wal(connection, busy_timeout_s)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock at once: a transaction that reads first could not be upgraded and would fail.
        reads = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _enter_wal(connection: Any, busy_timeout_s: float) -> None:
    # The change to WAL does not wait like other writes do: it fails at once while another process opens the file.
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _make_durable(connection: Any, _: object) -> None:
    """A server that is set to acknowledge before it writes would lose reservations that were granted."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] == "off":
            cursor.execute("SET synchronous_commit TO on")
    connection.commit()
