"""How sends end: settling those that were taken, and the outcome rows that are owed for what a person settled.

A run that dies after it took a send leaves it in `dispatching`: only the sender knows whether the message went out. Who
knows settles it by hand. No outcome file says so then, so the row is owed: the next dispatch of the same log writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from engine.errors import DataError
from engine.state.checks import require_choice, require_id, require_instant
from engine.state.sends.reservations import advance, locked
from engine.state.sequence import changing
from engine.state.tables import (
    DISPATCHED,
    DISPATCHING,
    FAILED,
    RELEASED,
    RESERVED,
    SEND,
    SEND_OWED,
    SEND_STEP,
    in_state,
)
from engine.storage.database import among, insert_missing, reading

BY_HAND: Final = (DISPATCHED, FAILED)
_SETTLED_FROM: Final[Mapping[str, str]] = {DISPATCHED: DISPATCHING, FAILED: DISPATCHING, RELEASED: RESERVED}


@dataclass(frozen=True)
class Owed:
    """An outcome that no file says yet: `event` (dispatched or failed) at `at` (microseconds)."""

    event: str
    at: int


@dataclass(frozen=True)
class TakenSend:
    """A send that some run took and nobody has settled.

    Attributes:
        decision_id, contact_id (a pseudonym), channel: of the send.
        taken_at: when it was taken, microseconds.
    """

    decision_id: str
    contact_id: str
    channel: str
    taken_at: int


@dataclass(frozen=True)
class Settlements:
    """The ends of the sends of one store.

    Attributes:
        engine: database, from `open_database`.
    """

    engine: sa.Engine

    def settle(self, decision_id: str, state: str, *, now_at: int, reason: str = "") -> bool:
        """Say how a send ended: dispatched, failed (the provider did not take it), or released (never dispatched).

        Returns:
            False where it had this state already.

        Raises:
            DataError: no such decision, or a change that is not legal.
            StorageError: the store refused; nothing has changed.
        """
        return self.settle_all({decision_id: state}, now_at=now_at, reason=reason) == 1

    def settle_all(self, states: Mapping[str, str], *, now_at: int, reason: str = "", by_hand: bool = False) -> int:
        """`settle` many sends in one transaction, all or none.

        Args:
            states: decision id -> dispatched, failed or released.
            now_at: instant of the settlement.
            reason: kept with each change.
            by_hand: no outcome file says so, so a row of one is owed; dispatched and failed only.

        Returns:
            How many changed.

        Raises:
            DataError: no such decision, or a change that is not legal; nothing has changed.
            StorageError: the store refused; nothing has changed.
        """
        require_instant("now_at", "settle", now_at)
        for name, state in states.items():
            require_id("decision_id", "settle", name)
            require_choice("state", "settle", state, BY_HAND if by_hand else _SETTLED_FROM)
        if not states:
            return 0
        with changing(self.engine, "settle sends") as (connection, _):
            rows = locked(connection, sorted(states))
            changed = [row for name, row in rows.items() if row["state"] != states[name]]
            for row in changed:
                _require_step(row["decision_id"], row["state"], states[row["decision_id"]])
            for row in changed:
                advance(connection, row, states[row["decision_id"]], now_at, reason=reason)
            if by_hand and changed:
                # A message that left counts, and is reported, at the instant at which it was taken.
                at = {row["decision_id"]: row["at"] for row in changed}
                owed = [
                    {
                        "decision_id": name,
                        "event": states[name],
                        "at": at[name] if states[name] == DISPATCHED else now_at,
                    }
                    for name in at
                ]
                connection.execute(insert_missing(connection, SEND_OWED), owed)
        return len(changed)

    def owed(self, decision_ids: Sequence[str]) -> dict[str, Owed]:
        """Decision id -> the outcome that no file says yet.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self.engine, "read what is owed") as connection:
            wanted = among(connection, SEND_OWED.c.decision_id, list(decision_ids))
            found = connection.execute(sa.select(SEND_OWED).where(wanted)).all()
            return {row.decision_id: Owed(row.event, row.at) for row in found}

    def reported(self, decision_ids: Sequence[str]) -> None:
        """An outcome file on the disk says how these ended; nothing is owed for them any more.

        Raises:
            StorageError: the store refused.
        """
        if not decision_ids:
            return
        with changing(self.engine, "write down what was reported") as (connection, _):
            wanted = among(connection, SEND_OWED.c.decision_id, list(decision_ids))
            connection.execute(sa.delete(SEND_OWED).where(wanted))

    def reasons(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """Decision id -> the reason of the last change of its send.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self.engine, "read why sends ended") as connection:
            last = sa.and_(SEND_STEP.c.decision_id == SEND.c.decision_id, SEND_STEP.c.step == SEND.c.step)
            query = sa.select(SEND.c.decision_id, SEND_STEP.c.reason).join_from(SEND, SEND_STEP, last)
            found = connection.execute(query.where(among(connection, SEND.c.decision_id, list(decision_ids))))
            return {row.decision_id: row.reason for row in found}

    def unsettled(self, *, now_at: int) -> tuple[str, ...]:
        """Decisions in `dispatching` beyond their lease: ask the provider, then settle them. Until then they count.

        Raises:
            StorageError: the store cannot be read.
        """
        query = sa.select(SEND.c.decision_id).where(in_state(DISPATCHING), SEND.c.lease_until <= now_at)
        require_instant("now_at", "unsettled", now_at)
        with reading(self.engine, "read unsettled sends") as connection:
            return tuple(connection.execute(query.order_by(SEND.c.decision_id)).scalars())

    def taken(self) -> tuple[TakenSend, ...]:
        """Every send in `dispatching`, whatever its lease: a run that is at work has some as well.

        Raises:
            StorageError: the store cannot be read.
        """
        columns = (SEND.c.decision_id, SEND.c.contact_id, SEND.c.channel, SEND.c.at)
        query = sa.select(*columns).where(in_state(DISPATCHING)).order_by(SEND.c.at, SEND.c.decision_id)
        with reading(self.engine, "read unsettled sends") as connection:
            return tuple(TakenSend(*row) for row in connection.execute(query))


def _require_step(decision_id: str, before: str, after: str) -> None:
    if before != _SETTLED_FROM[after]:
        raise DataError(
            f"the send of decision {decision_id!r} is {before} and cannot become {after!r}",
            hint="a send is reserved, then dispatching, then dispatched or failed; see docs/state.md",
        )
