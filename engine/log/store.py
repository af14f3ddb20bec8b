"""Connections of the hot log: SQLite (WAL, every commit synced) or PostgreSQL, with one kind of error for both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from engine.errors import ConfigError, ParameterError, StorageError
from engine.log import tables

READ_ONLY: Final = "tactful_read_only"


def open_store(url: str, *, busy_timeout_s: float) -> sa.Engine:
    """Open a store and create the tables that are missing.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`; nothing else.
        busy_timeout_s: how long a write of SQLite waits for another one, seconds, positive.

    Raises:
        ParameterError: no such kind of store, a store in memory, or a timeout that is not positive.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened.
    """
    if not busy_timeout_s > 0:
        raise ParameterError("busy_timeout_s", "SqlLog", allowed="positive", got=busy_timeout_s)
    engine = _engine(_parsed(url), busy_timeout_s)
    try:
        with writing(engine, "open the log") as connection:
            tables.create(connection)
    except StorageError:
        engine.dispose()
        raise
    return engine


@contextlib.contextmanager
def writing(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """One transaction, durable when the block ends; an error inside leaves nothing of it.

    Raises:
        StorageError: the store refused (full, read-only, locked, gone).
    """
    with storage_errors(what), engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def reading(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """A connection that reads and holds no writer up.

    Raises:
        StorageError: the store cannot be read.
    """
    with storage_errors(what), engine.connect() as connection:
        yield connection.execution_options(**{READ_ONLY: True})


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn what the store raises into `StorageError`."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StorageError(
            f"cannot {what}: {reason}", hint="nothing of it was written; free the store and try again"
        ) from error


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ParameterError("url", "SqlLog", allowed="sqlite:///FILE or postgresql://...", got=url) from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ParameterError(
            "url",
            "SqlLog",
            allowed="sqlite:///FILE or postgresql://...",
            got=parsed.render_as_string(),
            hint="a store in memory is not durable",
        )
    return parsed


def _engine(url: sa.URL, busy_timeout_s: float) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        try:
            return sa.create_engine(url, pool_pre_ping=True)
        except ImportError as error:
            raise ConfigError(
                "PostgreSQL needs the package psycopg", hint='install it: pip install "tactful[postgres]"'
            ) from error
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout_s})

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        # The driver's own transactions begin at the first write; ours begin where we say.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock at once: a transaction that reads first could not be upgraded and would fail.
        reads = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
