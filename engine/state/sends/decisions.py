"""Decisions that were taken: a day that has been decided is read, not decided again.

The record of a block, holds included, is written in the very transaction that promises its sends and settles its quota.
So whenever a run dies, either nothing of a block is there, or all: its sends hold their places, its quota is used, and
whoever runs the same decisions again reads the record, whatever has become known since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from engine.errors import DataError, StorageError, TactfulError
from engine.state.protocols import Refused, Reserved
from engine.state.sends.caps import SendRequest, SendRule
from engine.state.sends.reservations import lock_contacts, require_distinct, reserve_in
from engine.state.sequence import changing
from engine.state.tables import DECIDED, DECIDED_BATCH, DECIDED_RUN, FAILED, RELEASED, SEND, STORE
from engine.storage.database import among, insert_missing, is_postgresql, reading
from engine.types import IntArray

Answers = tuple[Reserved | Refused, ...]
_ZSTD: Final = pa.ipc.IpcWriteOptions(compression="zstd")


class Settling(Protocol):
    """Something else that must be written in the same transaction as the decisions, quota for instance."""

    def settle_in(self, connection: sa.Connection) -> None: ...


@dataclass(frozen=True)
class NewDecisions:
    """A batch of decisions that is to be recorded.

    Attributes:
        decision_ids: n distinct ids.
        requests: the sends among them.
        rules: caps of the reservations.
        settings: all that decisions depend on besides contact and instant, as JSON.
        record: from the answers to the requests to the n rows of the log.
        settling: what else belongs to the same transaction; None is nothing.
    """

    decision_ids: Sequence[str]
    requests: Sequence[SendRequest]
    rules: Sequence[SendRule]
    settings: bytes
    record: Callable[[Answers], pa.Table]
    settling: Settling | None = None


@dataclass(frozen=True)
class Recorded:
    """Decisions as they were recorded.

    Attributes:
        table: rows of the log.
        position: (n,) row of `table` of each decision that was asked for; -1 where it was never taken.
        sequence: number of the newest change of the store among them.
        settings: under which they were taken; several where runs differed.
    """

    table: pa.Table
    position: IntArray
    sequence: int
    settings: tuple[bytes, ...]


@dataclass(frozen=True)
class DecisionRecords:
    """The decisions of one store.

    Attributes:
        engine: database, from `open_database`.
    """

    engine: sa.Engine

    def read(self, decision_ids: Sequence[str], *, now_at: int) -> Recorded | None:
        """What was decided for these ids before; None where nothing was.

        Args:
            decision_ids: (n,).
            now_at: of the decisions, microseconds.

        Raises:
            DataError: a damaged record, or an instant whose records were removed (`forget`).
            StorageError: the store cannot be read.
        """
        ids = list(decision_ids)
        with reading(self.engine, "read decisions") as connection:
            before = connection.execute(sa.select(STORE.c.forgotten_before)).scalar_one()
            if before is not None and now_at < before:
                raise DataError(
                    "the store no longer keeps what was decided at that instant, so it cannot be read",
                    hint="take the log of that day, or decide for an instant of today",
                )
            query = sa.select(DECIDED.c.decision_id, DECIDED.c.batch_id)
            asked = connection.execute(query.where(among(connection, DECIDED.c.decision_id, ids)))
            batch_of = {row.decision_id: row.batch_id for row in asked}
            if not batch_of:
                return None
            wanted = DECIDED_BATCH.c.batch_id.in_(sorted(set(batch_of.values())))
            found = connection.execute(
                sa.select(DECIDED_BATCH.c.record, DECIDED_RUN.c.settings, DECIDED_BATCH.c.batch_id)
                .join_from(DECIDED_BATCH, DECIDED_RUN, DECIDED_BATCH.c.run_id == DECIDED_RUN.c.run_id)
                .where(wanted)
                .order_by(DECIDED_BATCH.c.batch_id)
            ).all()
        tables = [_table(row.record, row.batch_id) for row in found]
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        at = {name: row for row, name in enumerate(table.column("decision_id").to_pylist())}
        position = np.array([at.get(name, -1) if name in batch_of else -1 for name in ids], dtype=np.int64)
        if int((position >= 0).sum()) != len(batch_of):
            raise DataError("the store lost the record of a decision that was taken", hint="the store is damaged")
        settings = tuple(dict.fromkeys(row.settings.encode() for row in found))
        return Recorded(table, position, max(row.batch_id for row in found), settings)

    def commit(self, new: NewDecisions, *, decided_at: int, lease_s: float) -> tuple[pa.Table, Answers, int] | None:
        """Promise the sends, settle the quota and record the decisions: one transaction.

        Args:
            new: the block.
            decided_at: instant of the decisions.
            lease_s: of the promises, as of `Reservations.reserve`.

        Returns:
            The rows as recorded, the answers to the requests, and the number of the change; None where another run has
            recorded some of the decisions meanwhile: nothing is written then, read them.

        Raises:
            DataError: a decision whose send is promised or left already without a record of the decision.
            StorageError: the store refused; nothing is written.
        """
        require_distinct(new.requests)
        ids = sorted(new.decision_ids)
        run_id = hashlib.sha256(new.settings).hexdigest()
        try:
            with changing(self.engine, "record decisions") as (connection, number):
                lock_contacts(connection, sorted({request.contact_id for request in new.requests}))
                _take_ids(connection, ids, number)
                _require_unsent(connection, ids)
                answers: Answers = ()
                if new.requests:
                    answers = reserve_in(
                        connection, new.requests, new.rules, now_at=decided_at, lease_s=lease_s, strict=False
                    )
                table = new.record(answers)
                run = {"run_id": run_id, "settings": new.settings.decode()}
                connection.execute(insert_missing(connection, DECIDED_RUN), [run])
                batch = {"batch_id": number, "decided_at": decided_at, "run_id": run_id, "record": packed(table)}
                connection.execute(sa.insert(DECIDED_BATCH), [batch])
                if new.settling is not None:
                    new.settling.settle_in(connection)
        except _DecidedMeanwhileError:
            return None
        return table, answers, number

    def forget(self, *, before: int) -> int:
        """Remove the records of decisions that were taken before an instant; they cannot be read or taken again.

        Returns:
            How many decisions.

        Raises:
            StorageError: the store refused.
        """
        with changing(self.engine, "forget decisions") as (connection, _):
            old = sa.select(DECIDED_BATCH.c.batch_id).where(DECIDED_BATCH.c.decided_at < before)
            gone = connection.execute(sa.delete(DECIDED).where(DECIDED.c.batch_id.in_(old))).rowcount
            connection.execute(sa.delete(DECIDED_BATCH).where(DECIDED_BATCH.c.decided_at < before))
            later = sa.or_(STORE.c.forgotten_before.is_(None), STORE.c.forgotten_before < before)
            if gone:
                connection.execute(sa.update(STORE).where(later).values(forgotten_before=before))
            return gone


def decided_for(connection: sa.Connection, contact_ids: Sequence[str]) -> set[str]:
    """Ids of the recorded decisions, holds too, of some contacts (pseudonyms).

    Raises:
        StorageError: a damaged record.
    """
    return {
        str(name)
        for _, table, theirs in _records_of(connection, contact_ids)
        for name in table.filter(theirs).column("decision_id").to_pylist()
    }


def erase_decided(connection: sa.Connection, contact_ids: Sequence[str]) -> int:
    """Take some contacts (pseudonyms) out of the records of decisions, in the transaction of the caller.

    Returns:
        How many decisions.

    Raises:
        StorageError: a damaged record.
    """
    gone = 0
    for number, table, theirs in list(_records_of(connection, contact_ids)):
        kept = packed(table.filter(pc.invert(theirs)))
        connection.execute(sa.update(DECIDED_BATCH).where(DECIDED_BATCH.c.batch_id == number).values(record=kept))
        gone += int(pc.sum(theirs).as_py())
    return gone


def recorded_texts(connection: sa.Connection) -> Iterator[str]:
    """Every text in the records of decisions but the ids of contacts, those of a column of a record at once.

    Raises:
        StorageError: a damaged record.
    """
    for number in connection.execute(sa.select(DECIDED_BATCH.c.batch_id)).scalars().all():
        this = DECIDED_BATCH.c.batch_id == number
        table = _table(connection.execute(sa.select(DECIDED_BATCH.c.record).where(this)).scalar_one(), number)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name != "contact_id" and not pa.types.is_primitive(column.type):
                yield "\n".join(map(str, column.unique().to_pylist() if _is_plain(column) else column.to_pylist()))


def _is_plain(column: pa.ChunkedArray) -> bool:
    return not pa.types.is_nested(column.type)


def _records_of(
    connection: sa.Connection, contact_ids: Sequence[str]
) -> Iterator[tuple[int, pa.Table, pa.ChunkedArray]]:
    """(batch, its rows, which of them are the contacts') of every record that holds some of them."""
    wanted = pa.array(sorted(contact_ids), pa.string())
    for number in connection.execute(sa.select(DECIDED_BATCH.c.batch_id)).scalars().all():
        this = DECIDED_BATCH.c.batch_id == number
        table = _table(connection.execute(sa.select(DECIDED_BATCH.c.record).where(this)).scalar_one(), number)
        theirs = pc.is_in(table.column("contact_id"), value_set=wanted)
        if pc.any(theirs).as_py():
            yield number, table, theirs


def packed(table: pa.Table) -> bytes:
    """The rows as the store keeps them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_ZSTD) as writer:
        writer.write_table(table)
    kept: bytes = sink.getvalue().to_pybytes()
    return kept


class _DecidedMeanwhileError(TactfulError):
    """Ends a transaction of which nothing may stay."""


def _table(record: Any, number: int) -> pa.Table:
    try:
        return pa.ipc.open_stream(record).read_all()
    except (pa.ArrowInvalid, OSError, TypeError) as error:
        raise StorageError(
            f"the record of decisions {number} cannot be read: {error}", hint="the store is damaged; restore a copy"
        ) from error


def _take_ids(connection: sa.Connection, ids: Sequence[str], number: int) -> None:
    """Everybody inserts in the same order, so nobody waits in a circle.

    Raises:
        _DecidedMeanwhileError: some are there already.
    """
    if not ids:
        return
    if is_postgresql(connection):
        bound = sa.bindparam(None, list(ids), type_=sa.dialects.postgresql.ARRAY(sa.Text()))
        listed = sa.func.unnest(bound).table_valued("value").render_derived()
    else:
        listed = sa.func.json_each(msgspec.json.encode(list(ids)).decode()).table_valued("value")
    rows = sa.select(listed.c.value, sa.literal(number, sa.BigInteger())).where(sa.true())
    added = insert_missing(connection, DECIDED).from_select(["decision_id", "batch_id"], rows)
    # Not `rowcount`: some drivers do not know it of such a statement.
    if len(connection.execute(added.returning(DECIDED.c.batch_id)).all()) != len(ids):
        raise _DecidedMeanwhileError("decided meanwhile")


def _require_unsent(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Nothing may be decided anew of which a message was promised or sent: the log would contradict it."""
    standing = sa.and_(among(connection, SEND.c.decision_id, ids), SEND.c.state.notin_((RELEASED,)))
    found = connection.execute(sa.select(SEND.c.decision_id, SEND.c.state).where(standing).limit(1)).first()
    if found is not None:
        kind = "failed" if found.state == FAILED else f"is {found.state}"
        raise DataError(
            f"decision {found.decision_id!r} was taken before: its send {kind}, but the store has no record of it, so "
            "it can be neither read nor decided again",
            hint="use the log of that run, or give it to `tactful state rebuild`; or decide for another instant",
        )
