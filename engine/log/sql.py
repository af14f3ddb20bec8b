"""The hot log: single decisions and outcomes in SQL, durable before `append` returns, never changed afterwards.

A decision's row is written once. What happens to it later is another row: `advance` appends a transition, and the state
of a decision is that of its last one. Triggers in the database refuse every update and delete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engine.errors import DataError, ParameterError
from engine.log import checks, tables
from engine.log.tables import DECISION, LOG_META, OUTCOME, TRANSITION, Row
from engine.log.whole_file import ParquetFile
from engine.records import schema as records
from engine.records.rounds import CHUNK_ROWS
from engine.records.schema import LEGAL, LogMeta
from engine.storage.database import SqlStore, open_database, reading, writing
from engine.types import MICROSECONDS_PER_S

Records: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]

_IDS_PER_QUERY: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqlLog(SqlStore):
    """The log of decisions and outcomes in one SQL database; several processes may share it.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        busy_timeout_s: how long a write waits for another process (SQLite), seconds.

    Raises:
        ParameterError: a URL of another kind.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        self._engine = open_database(url, tables.create, owner="SqlLog", busy_timeout_s=busy_timeout_s)

    def append(self, decisions: Records, meta: LogMeta | None = None) -> int:
        """Write decisions in one transaction; they are on the disk when this returns.

        The same decision again (same id, same content) is no error and writes nothing.

        Args:
            decisions: a table of `records.log_schema(meta)`, or dicts with its columns (absent keys are null).
            meta: of these decisions; taken from the table's footer where not given.

        Returns:
            How many of them were new.

        Raises:
            DataError: a row that breaks the schema, or a known id with other content; nothing is written.
            StorageError: the store refused the write; nothing is written.
        """
        meta, table = _table_of(decisions, meta)
        checks.check_decisions(table, meta)
        fresh = {records.DECIDED, records.DISPATCHED}
        started = set(table.column("state").cast(pa.string()).to_pylist())
        if started - fresh:
            raise DataError(f"a decision enters the log as one of {sorted(fresh)}, got {sorted(started - fresh)}")
        footer = msgspec.json.encode(meta).decode()
        meta_id = hashlib.sha256(footer.encode()).hexdigest()
        new = 0
        with writing(self._engine, "append decisions") as connection:
            connection.execute(_insert(connection, LOG_META), [{"meta_id": meta_id, "footer": footer}])
            for start in range(0, table.num_rows, CHUNK_ROWS):
                part = tables.decision_rows(table.slice(start, CHUNK_ROWS), meta)
                new += _insert_new(connection, [{**row, "meta_id": meta_id} for row in part])
        return new

    def append_outcomes(self, outcomes: Records) -> int:
        """Write outcomes in one transaction; exact repeats write nothing.

        Args:
            outcomes: a table of `records.outcome_schema()`, or dicts with its columns.

        Returns:
            How many of them were new.

        Raises:
            DataError: a row that breaks the schema; nothing is written.
            StorageError: the store refused the write; nothing is written.
        """
        schema = records.outcome_schema()
        if isinstance(outcomes, pa.Table):
            table = checks.conform_table(outcomes, schema, what="outcome")
        else:
            table = checks.table_of(outcomes, schema, what="outcome")
        unique = {row["digest"]: row for row in tables.outcome_rows(table)}
        with writing(self._engine, "append outcomes") as connection:
            known: set[str] = set()
            for keys in _parts(list(unique)):
                found = connection.execute(sa.select(OUTCOME.c.digest).where(OUTCOME.c.digest.in_(keys)))
                known.update(found.scalars())
            new = [row for key, row in unique.items() if key not in known]
            if new:
                connection.execute(_insert(connection, OUTCOME), new)
        return len(new)

    def advance(self, states: Mapping[str, str], at: datetime) -> int:
        """Append the next state of decisions: decided -> dispatched -> delivered, or failed or suppressed from either.

        Args:
            states: decision id -> its next state; the state that it has already is no error.
            at: aware instant of the change.

        Returns:
            How many states changed.

        Raises:
            DataError: an unknown decision, or a change that is not legal; nothing is written.
            StorageError: the store refused the write; nothing is written.
        """
        at_us = micros(at, owner="advance")
        changed: list[Row] = []
        with writing(self._engine, "append states") as connection:
            for ids in _parts(sorted(states)):
                current = _current(connection, ids, lock=True)
                for decision_id in ids:
                    row = _next_state(decision_id, current.get(decision_id), states[decision_id])
                    if row is not None:
                        changed.append({**row, "at": at_us})
            if changed:
                connection.execute(sa.insert(TRANSITION), changed)
        return len(changed)

    def states(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """Current state of each decision that the log knows.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self._engine, "read states") as connection:
            return {
                decision_id: state
                for ids in _parts(list(decision_ids))
                for decision_id, (_, state) in _current(connection, ids, lock=False).items()
            }

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        """One decision with its current state, by column name, or None where the log has none of this id.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self._engine, "read a decision") as connection:
            query = _decisions().where(DECISION.c.decision_id == decision_id)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            footer = sa.select(LOG_META.c.footer).where(LOG_META.c.meta_id == row["meta_id"])
            meta = msgspec.json.decode(connection.execute(footer).scalar_one(), type=LogMeta)
        found: dict[str, Any] = tables.decision_table([dict(row)], meta).to_pylist()[0]
        return found

    def metas(self) -> tuple[LogMeta, ...]:
        """Every meta under which decisions were appended, in a fixed order.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self._engine, "read the metas") as connection:
            footers = connection.execute(sa.select(LOG_META.c.footer).order_by(LOG_META.c.meta_id)).scalars().all()
        return tuple(msgspec.json.decode(footer, type=LogMeta) for footer in footers)

    def outcomes(self) -> Iterator[pa.Table]:
        """Tables of at most `CHUNK_ROWS` outcomes, in order of instant and key.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self._engine, "read outcomes") as connection:
            query = sa.select(OUTCOME).order_by(OUTCOME.c.at, OUTCOME.c.digest)
            found = connection.execution_options(yield_per=CHUNK_ROWS).execute(query).mappings()
            for part in found.partitions(CHUNK_ROWS):
                yield tables.outcome_table([dict(row) for row in part])

    def export(self, path: Path, meta: LogMeta, *, start: datetime | None = None, end: datetime | None = None) -> int:
        """Write the decisions that were taken under a meta to one whole Parquet file, ordered by instant and id.

        Args:
            path: final name; appears complete or not at all.
            meta: rows of other metas are left out.
            start / end: aware; half-open [start, end) of `decided_at`, None means unbounded.

        Returns:
            Number of rows; with none no file is written.

        Raises:
            StorageError: the store cannot be read or the file not be written.
        """
        meta_id = hashlib.sha256(msgspec.json.encode(meta)).hexdigest()
        query = _decisions().where(DECISION.c.meta_id == meta_id)
        if start is not None:
            query = query.where(DECISION.c.decided_at >= micros(start, owner="export"))
        if end is not None:
            query = query.where(DECISION.c.decided_at < micros(end, owner="export"))
        query = query.order_by(DECISION.c.decided_at, DECISION.c.decision_id)
        with reading(self._engine, "export decisions") as connection:
            found = connection.execution_options(yield_per=CHUNK_ROWS).execute(query).mappings()
            parts = found.partitions(CHUNK_ROWS)
            first = next(parts, None)
            if first is None:
                return 0
            with ParquetFile(path, records.log_schema(meta)) as file:
                file.append(tables.decision_table([dict(row) for row in first], meta))
                for part in parts:
                    file.append(tables.decision_table([dict(row) for row in part], meta))
                return file.rows

    def close_day(self, day: date, folder: Path, *, now: datetime) -> tuple[Path, ...]:
        """Export a UTC day that is over: one file per meta that was in force, `YYYY-MM-DD-META.parquet`.

        Closing a day again writes the same files anew, with the states that have come since.

        Args:
            day: the day, UTC.
            folder: existing folder.
            now: aware; must lie after the day.

        Raises:
            ParameterError: the day is not over.
            StorageError: the store cannot be read or a file not be written.
        """
        start = datetime.combine(day, time(), tzinfo=UTC)
        end = start + timedelta(days=1)
        if micros(now, owner="close_day") < micros(end, owner="close_day"):
            raise ParameterError("day", "close_day", allowed=f"over by now = {now.isoformat()}", got=day.isoformat())
        written = []
        for meta in self.metas():
            name = f"{day.isoformat()}-{hashlib.sha256(msgspec.json.encode(meta)).hexdigest()[:16]}.parquet"
            if self.export(Path(folder) / name, meta, start=start, end=end):
                written.append(Path(folder) / name)
        return tuple(written)


def micros(instant: datetime, *, owner: str) -> int:
    """Microseconds since 1970 UTC of an aware datetime.

    Raises:
        ParameterError: the datetime is naive.
    """
    if instant.tzinfo is None:
        raise ParameterError("instant", owner, allowed="an aware datetime", got=instant.isoformat())
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS_PER_S + since.microseconds


def _table_of(decisions: Records, meta: LogMeta | None) -> tuple[LogMeta, pa.Table]:
    if meta is None:
        if not isinstance(decisions, pa.Table):
            raise ParameterError("meta", "SqlLog.append", allowed="given with decisions that are no table", got=None)
        meta = records.meta_of(decisions.schema, source="the table of decisions")
    if meta.rewards or meta.raw_columns:
        raise DataError(
            "the hot log holds decisions without rewards and raw columns",
            hint="append outcomes, and join them after the export",
        )
    schema = records.log_schema(meta)
    if isinstance(decisions, pa.Table):
        return meta, checks.conform_table(decisions, schema, what="decision")
    return meta, checks.table_of(decisions, schema, what="decision")


def _decisions() -> sa.Select[Any]:
    latest = (
        sa.select(TRANSITION.c.state)
        .where(TRANSITION.c.decision_id == DECISION.c.decision_id)
        .order_by(TRANSITION.c.step.desc())
        .limit(1)
        .scalar_subquery()
    )
    others = [column for column in DECISION.c if column.name != "state"]
    return sa.select(*others, sa.func.coalesce(latest, DECISION.c.state).label("state"))


def _insert(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def _insert_new(connection: sa.Connection, part: list[Row]) -> int:
    unique: dict[str, Row] = {}
    for row in part:
        if unique.setdefault(row["decision_id"], row)["digest"] != row["digest"]:
            raise _conflict(row["decision_id"])
    known = _digests(connection, list(unique))
    new = [row for key, row in unique.items() if key not in known]
    if new:
        connection.execute(_insert(connection, DECISION), new)
    # Read again: on PostgreSQL another process may have inserted the same id since.
    for key, stored in {**known, **_digests(connection, [row["decision_id"] for row in new])}.items():
        if stored != unique[key]["digest"]:
            raise _conflict(key)
    return len(new)


def _conflict(decision_id: str) -> DataError:
    return DataError(
        f"decision {decision_id!r} is given twice with different content",
        hint="a decision id is an idempotency key; read the logged decision instead of deciding again",
    )


def _digests(connection: sa.Connection, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in _parts(ids):
        query = sa.select(DECISION.c.decision_id, DECISION.c.digest).where(DECISION.c.decision_id.in_(part))
        found.update((key, digest) for key, digest in connection.execute(query))
    return found


def _current(connection: sa.Connection, ids: Sequence[str], *, lock: bool) -> dict[str, tuple[int, str]]:
    """Decision id -> (number of changes, state); with `lock` nobody else changes them in the meantime."""
    query = sa.select(DECISION.c.decision_id, DECISION.c.state).where(DECISION.c.decision_id.in_(ids))
    query = query.order_by(DECISION.c.decision_id)
    if lock:
        query = query.with_for_update()
    current = {key: (0, state) for key, state in connection.execute(query)}
    changes = sa.select(TRANSITION.c.decision_id, TRANSITION.c.step, TRANSITION.c.state)
    changes = changes.where(TRANSITION.c.decision_id.in_(ids)).order_by(TRANSITION.c.step)
    current.update((key, (step, state)) for key, step, state in connection.execute(changes))
    return current


def _next_state(decision_id: str, current: tuple[int, str] | None, wanted: str) -> Row | None:
    if current is None:
        raise DataError(f"no decision {decision_id!r} in the log", hint="append the decision before its states")
    step, state = current
    if wanted == state:
        return None
    if wanted not in LEGAL[state]:
        raise DataError(
            f"decision {decision_id!r} is {state} and cannot become {wanted!r}",
            hint=f"legal from {state}: {list(LEGAL[state])}",
        )
    return {"decision_id": decision_id, "step": step + 1, "state": wanted}


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _IDS_PER_QUERY):
        yield keys[start : start + _IDS_PER_QUERY]
