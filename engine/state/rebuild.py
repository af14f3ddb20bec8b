"""Rebuilding a store from logs and outcomes: what was decided, promised, sent and used since an older copy.

Logs hold every decision of a run, outcome files what became of the sends; both outlive the store. Where they say
nothing the stricter reading is taken: a due send without an outcome may have left, so it counts until it is settled.
Facts (consents, opt-outs, events, profiles, sends of other systems) stand in no log: their files are recorded again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from engine.errors import DataError
from engine.guardrails.recheck import MAX_DELAY_S
from engine.limits.limit_set import limits_from
from engine.limits.quota import ALL_DAYS, QUOTA
from engine.limits.quota import METADATA as QUOTA_TABLES
from engine.log.parquet import LogReader, instants
from engine.records import schema as records
from engine.state.sends.caps import SendRequest
from engine.state.sends.decisions import packed
from engine.state.sends.promises import requests_of
from engine.state.sends.reservations import advance, lock_contacts
from engine.state.sequence import Mark, changing, current, leap
from engine.state.tables import (
    CONTACT,
    DECIDED,
    DECIDED_BATCH,
    DECIDED_RUN,
    DISPATCHED,
    DISPATCHING,
    FAILED,
    RELEASED,
    RESERVED,
    SEND,
    SEND_STEP,
    STORE,
)
from engine.storage.database import among, insert, insert_missing
from engine.time.localtime import DAY_US, local_us
from engine.types import HOLD, MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, IntArray

REBUILT: Final = "rebuilt from logs"
_SUPPRESSED: Final = "suppressed at dispatch"
_LEASE_US: Final = MAX_DELAY_S * MICROSECONDS_PER_S
_BECAME: Final[Mapping[str, str]] = {
    records.DISPATCHED: DISPATCHED,
    records.DELIVERED: DISPATCHED,
    records.FAILED: FAILED,
    records.SUPPRESSED: RELEASED,
}
# Of several events of a send the one that says most: what was delivered was dispatched before.
_RANK: Final = (records.DELIVERED, records.FAILED, records.DISPATCHED, records.SUPPRESSED)


@dataclass
class Rebuilt:
    """What was put back.

    Attributes:
        decisions: records of decisions that the store did not have.
        unreadable: decisions of logs whose footer does not keep the settings: their sends are back, but a run of that
            instant is refused instead of read.
        sends: state -> sends that are in it now, of those that were added or changed.
        limits: set-level limits whose use was added to.
    """

    decisions: int = 0
    unreadable: int = 0
    sends: Counter[str] = field(default_factory=Counter)
    limits: set[str] = field(default_factory=set)


def rebuild(
    engine: sa.Engine, logs: Sequence[LogReader], outcomes: pd.DataFrame, seen: Sequence[Mark], *, now_at: int
) -> Rebuilt:
    """Put back what logs and outcomes say, in one transaction; what the store knows already stays.

    Args:
        engine: of the store, an older copy or an empty one.
        logs: decision logs, before any join.
        outcomes: as `outcome_frame` gives them; events that are no state are passed over.
        seen: marks of outcome files and witnesses; those of the logs are read from them.
        now_at: sends that were planned by then and of which no outcome says anything count as taken.

    Raises:
        DataError: a joined log, or one of another store.
        StorageError: the store refused; nothing was written.
    """
    mark = current(engine)
    marks = [*seen, *(log.mark for log in logs if log.mark is not None)]
    with changing(engine, "rebuild the store") as (connection, number):
        store_id = _identity(connection, mark.store_id, {one.store_id for one in marks})
        newest = max((one.sequence for one in marks if one.store_id == store_id), default=0)
        run = _Run(connection, _ends(outcomes), now_at, mark.sequence < newest or mark.store_id != store_id)
        run.next_number = max(number, newest)
        for log in logs:
            run.add(log)
        leap(connection, run.next_number + 1)
    return run.done


class _Run:
    """One rebuild."""

    def __init__(
        self, connection: sa.Connection, ends: Mapping[str, tuple[str, int]], now_at: int, behind: bool
    ) -> None:
        self._connection, self._ends, self._now_at, self._behind = connection, ends, now_at, behind
        self.next_number = 0
        self.done = Rebuilt()

    def add(self, log: LogReader) -> None:
        """All of a log."""
        if log.meta.rewards or not log.meta.pack:
            raise DataError(
                f"{log.path} is no log as `tactful decide` writes it", hint="give the decision log, before any join"
            )
        for batch in log.batches([name for name in log.schema.names if not name.startswith(records.RAW)]):
            fresh = self._record(log, pa.Table.from_batches([batch]))
            self._use(log, batch, fresh)
            self._send(log, batch)

    def _record(self, log: LogReader, table: pa.Table) -> BoolArray:
        """(n,) decisions that the store did not have."""
        ids = table.column("decision_id").to_pylist()
        known = set(
            self._connection.execute(
                sa.select(DECIDED.c.decision_id).where(among(self._connection, DECIDED.c.decision_id, ids))
            ).scalars()
        )
        fresh = np.array([name not in known for name in ids], dtype=np.bool_)
        if not fresh.any():
            return fresh
        settings = log.settings
        if settings is None:
            self.done.unreadable += int(fresh.sum())
            return fresh
        self.next_number += 1
        rows = table.filter(pa.array(fresh)).unify_dictionaries().combine_chunks()
        names = [name for name, new in zip(ids, fresh.tolist(), strict=True) if new]
        run_id = hashlib.sha256(settings).hexdigest()
        run = {"run_id": run_id, "settings": settings.decode()}
        self._connection.execute(insert_missing(self._connection, DECIDED_RUN), [run])
        kept = [{"decision_id": name, "batch_id": self.next_number} for name in sorted(names)]
        self._connection.execute(sa.insert(DECIDED), kept)
        decided_at = int(instants(rows.combine_chunks().column("decided_at").chunk(0)).min())
        batch = {"batch_id": self.next_number, "decided_at": decided_at, "run_id": run_id, "record": packed(rows)}
        self._connection.execute(sa.insert(DECIDED_BATCH), [batch])
        self.done.decisions += len(names)
        return fresh

    def _use(self, log: LogReader, batch: pa.RecordBatch, fresh: BoolArray) -> None:
        """Count what the sends used of the limits that held; quota was settled with the decisions, never without."""
        if not isinstance(log.meta.limits, dict) or not fresh.any():
            return
        QUOTA_TABLES.create_all(self._connection)
        limits = limits_from(log.meta.limits, source=f"the footer of {log.path}")
        action = batch.column("action").to_numpy()
        rows = np.flatnonzero(fresh & (action != HOLD))
        channel, _, arm = log.meta.catalog.split(action[rows])
        planned = instants(batch.column("send_at"))[rows]
        at = np.where(planned == NOT_AN_INSTANT, instants(batch.column("decided_at"))[rows], planned)
        day = local_us(limits.zone, at) // DAY_US
        for limit in limits.limits:
            amounts = limit.amounts(log.meta.catalog)
            used, earned = (amount[channel, arm] for amount in amounts)
            for one in np.unique(day).tolist() if limit.per_day else [ALL_DAYS]:
                on = day == one if limit.per_day else np.ones(len(day), dtype=np.bool_)
                self._add_use(limit.name, one, int(used[on].sum()), int(earned[on].sum()))

    def _add_use(self, name: str, day: int, used: int, earned: int) -> None:
        if not used and not earned:
            return
        statement = insert(self._connection, QUOTA)
        more = {"used": QUOTA.c.used + statement.excluded.used, "earned": QUOTA.c.earned + statement.excluded.earned}
        added = statement.on_conflict_do_update(index_elements=["name", "day"], set_=more)
        self._connection.execute(added, [{"name": name, "day": day, "used": used, "earned": earned}])
        self.done.limits.add(name)

    def _send(self, log: LogReader, batch: pa.RecordBatch) -> None:
        """Sends that were promised, in the state to which their outcomes led."""
        state = batch.column("state").cast(pa.string()).to_numpy(zero_copy_only=False)
        action = batch.column("action").to_numpy().astype(np.int32)
        rows = np.flatnonzero((action != HOLD) & (state == records.DECIDED))
        if not len(rows):
            return
        requests = _requests(log, batch, action, rows)
        ids = [request.decision_id for request in requests]
        lock_contacts(self._connection, sorted({request.contact_id for request in requests}))
        query = sa.select(SEND).where(among(self._connection, SEND.c.decision_id, ids))
        known = {row["decision_id"]: dict(row) for row in self._connection.execute(query).mappings()}
        added = []
        for request in requests:
            after, at, reason = self._became(request)
            row = known.get(request.decision_id)
            if row is None:
                added.append(_row(request, after, at))
                self.done.sends[after] += 1
            elif _may_become(row["state"], after, known=request.decision_id in self._ends, behind=self._behind):
                advance(self._connection, row, after, self._now_at, reason=reason, at=at)
                self.done.sends[after] += 1
        if added:
            self._connection.execute(sa.insert(SEND), added)
            steps = [{"decision_id": row["decision_id"], "step": 0, "state": row["state"]} for row in added]
            said = {request.decision_id: self._became(request)[2] for request in requests}
            logged = [{**step, "at": self._now_at, "reason": said[step["decision_id"]]} for step in steps]
            self._connection.execute(sa.insert(SEND_STEP), logged)

    def _became(self, request: SendRequest) -> tuple[str, int, str]:
        """(state, instant that counts, reason)."""
        end = self._ends.get(request.decision_id)
        if end is not None:
            state = _BECAME[end[0]]
            return (
                state,
                end[1] if state == DISPATCHED else request.send_at,
                (_SUPPRESSED if state == RELEASED else REBUILT),
            )
        return (DISPATCHING if request.send_at <= self._now_at else RESERVED), request.send_at, REBUILT


def _identity(connection: sa.Connection, own: str, theirs: set[str]) -> str:
    """The store's id; an empty store takes that of the logs.

    Raises:
        DataError: logs or outcomes of another store.
    """
    if not theirs or theirs == {own}:
        return own
    empty = all(connection.execute(sa.select(table).limit(1)).first() is None for table in (SEND, DECIDED, CONTACT))
    if not empty or len(theirs) > 1:
        raise DataError(
            f"the logs and outcomes are of the stores {sorted(theirs)}, this one is {own}",
            hint="rebuild each store from its own logs: an older copy of it, or an empty one",
        )
    (store_id,) = theirs
    connection.execute(sa.update(STORE).values(store_id=store_id))
    return store_id


def _ends(outcomes: pd.DataFrame) -> dict[str, tuple[str, int]]:
    """Decision id -> (event, microseconds) that says most of how its send ended; the earliest instant of a dispatch."""
    named = outcomes[outcomes["event"].isin(_RANK)]
    found: dict[str, tuple[str, int]] = {}
    for name, event, at in named[["decision_id", "event", "at"]].itertuples(index=False):
        before = found.get(name)
        if before is None or (_RANK.index(event), at) < (_RANK.index(before[0]), before[1]):
            found[name] = (event, int(at))
    return found


def _requests(log: LogReader, batch: pa.RecordBatch, action: Any, rows: IntArray) -> list[SendRequest]:
    who = batch.column("contact_id").to_numpy(zero_copy_only=False).astype(object)
    ids = batch.column("decision_id").to_numpy(zero_copy_only=False).astype(object)
    planned, decided_at = instants(batch.column("send_at")), instants(batch.column("decided_at"))
    at = np.where(planned == NOT_AN_INSTANT, decided_at, planned)
    return requests_of(log.meta.catalog, who, ids, action, at, 0, rows)


def _row(request: SendRequest, state: str, at: int) -> dict[str, Any]:
    return {
        "decision_id": request.decision_id,
        "contact_id": request.contact_id,
        "channel": request.channel,
        "purpose": request.purpose,
        "topic": request.topic,
        "template": request.template,
        "category": request.category,
        "discount": request.discount,
        "at": at,
        "planned_at": request.send_at,
        "state": state,
        "lease_until": request.send_at + _LEASE_US,
        "step": 0,
    }


def _may_become(before: str, after: str, *, known: bool, behind: bool) -> bool:
    """An outcome settles what is open; without one only an older copy has to take a promised send as gone."""
    if before == after:
        return False
    if known:
        return before in (RESERVED, DISPATCHING) or (after == DISPATCHED and before != DISPATCHED)
    return behind and before == RESERVED and after == DISPATCHING
