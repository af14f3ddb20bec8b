"""The state store on the path of a dispatch: each promised send is taken by one run only, and settled after its record.

    recheck -> take (dispatching) -> outcome file durable -> settle (dispatched); refused sends are released

A run that dies in between leaves sends in `dispatching`: they count as sent, and no other run takes them. Where its
outcome file is there, the same run again settles them from it. Where it is not, only the sender knows whether they left
(`tactful state unsettled`, `tactful state settle`); what was settled by hand is owed a row, which the next run writes.
So a message is handed over at most once, and no outcome is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.errors import DataError
from engine.guardrails.layer import Guardrails
from engine.records import schema as records
from engine.state.protocols import Refused
from engine.state.sends.pack_caps import caps_of
from engine.state.sends.settlements import Owed
from engine.state.sequence import Mark, require_known
from engine.state.store import SqlState
from engine.state.tables import DISPATCHED, DISPATCHING, FAILED, RELEASED, RESERVED
from engine.time.localtime import instant_of
from engine.types import BoolArray, ObjectArray

STATE_RULE: Final = "state"
UNSETTLED: Final = "unsettled"
OVER: Final = "over"
SUPPRESSED_AT_DISPATCH: Final = "suppressed at dispatch"
_PER_CALL: Final = 8192


class ReservedSends:
    """Sends that were reserved when they were decided.

    Args:
        store: the store in which they are reserved.
        guardrails: whose caps hold now.
        now: aware instant at which the sends leave.
    """

    def __init__(self, store: SqlState, guardrails: Guardrails, now: datetime) -> None:
        self._store, self._guardrails = store, guardrails
        self._now_at = instant_of(now, owner="dispatch")

    def require(self, decision_ids: list[str], contact_ids: list[str]) -> None:
        """Refuse a log of which some due send was never reserved in this store.

        The sends of a contact who was erased since have left with the contact; the recheck suppresses them.

        Raises:
            DataError: such a send; nothing is dispatched.
        """
        known = self._store.states(decision_ids)
        without = {name: who for name, who in zip(decision_ids, contact_ids, strict=True) if name not in known}
        gone = self._store.erased(list(without.values())) if without else set()
        missing = [name for name, who in without.items() if who not in gone]
        if missing:
            raise DataError(
                f"{len(missing)} due sends have no reservation in this store, the first is {missing[0]!r}",
                hint="dispatch with the store with which the log was decided, or without --state",
            )

    def require_current(self, seen: Mark | None, where: str) -> None:
        """Refuse to go on where a log or an outcome file knows later changes of the store than the store itself.

        Raises:
            StorageError: the store is an older copy.
        """
        if seen is not None:
            require_known(self._store.mark(), seen, where=where)

    def mark(self) -> Mark:
        """The store and its last change."""
        return self._store.mark()

    def sort(self, decision_ids: ObjectArray) -> Standing:
        """What earlier runs made of due sends.

        Args:
            decision_ids: (n,).

        Raises:
            StorageError: the store cannot be read.
        """
        names = [str(name) for name in decision_ids]
        states, owed = self._store.states(names), self._store.owed(names)
        released = [name for name in names if states.get(name) == RELEASED]
        reported = self._store.reasons(released)
        over = {name for name in names if states.get(name) in (DISPATCHED, FAILED)}
        over |= {name for name in released if reported.get(name) == SUPPRESSED_AT_DISPATCH}
        taken = [name for name in names if states.get(name) == DISPATCHING]
        closed = over | set(taken)
        return Standing(
            open=np.array([name not in closed for name in names], dtype=np.bool_),
            unsettled=tuple(taken),
            done=len(over - set(owed)),
        )

    def owed(self, decision_ids: list[str]) -> Mapping[str, Owed]:
        """Decision id -> the outcome of a send that was settled by hand, which no file says yet."""
        return self._store.owed(decision_ids)

    def contacts(self, who: ObjectArray, decision_ids: ObjectArray) -> ContactBatch:
        """The contacts as the store knows them now, without the reservations of these very decisions."""
        return self._store.batch(
            who, self._guardrails.catalog, now_at=self._now_at, without=[str(name) for name in decision_ids]
        )

    def take(
        self, contacts: ContactBatch, decision_ids: ObjectArray, state: ObjectArray
    ) -> tuple[ObjectArray, list[tuple[str, str]]]:
        """Take the sends that the recheck let pass, one transaction each.

        Args:
            contacts: (n,) of the decisions.
            decision_ids: (n,).
            state: (n,) what the recheck says.

        Returns:
            (n,) states, and (decision id, reason) of what the store refuses. A send that another run has taken
            meanwhile is `UNSETTLED`, or `OVER` where it is settled: that run says what became of it.

        Raises:
            StorageError: the store refused; what was taken stands in `dispatching` and is not sent by this run.
        """
        caps = caps_of(self._guardrails, contacts)
        after, refused = state.copy(), []
        for row in np.flatnonzero(state == records.DISPATCHED).tolist():
            name = str(decision_ids[row])
            answer = self._store.dispatch(name, caps, now_at=self._now_at)
            if not isinstance(answer, Refused):
                continue
            if set(answer.reasons) & {DISPATCHING, DISPATCHED, FAILED}:
                after[row] = _elsewhere(answer.reasons[0])
                continue
            after[row] = records.SUPPRESSED
            refused += [(name, reason) for reason in answer.reasons]
        # What the recheck refuses while another run is sending it is that run's as well.
        stopped = np.flatnonzero(after == records.SUPPRESSED)
        held = self._store.states([str(decision_ids[row]) for row in stopped])
        for row in stopped.tolist():
            state_now = held.get(str(decision_ids[row]), RESERVED)
            if state_now in (DISPATCHING, DISPATCHED, FAILED):
                after[row] = _elsewhere(state_now)
        return after, refused

    def settle(self, became: Mapping[str, str]) -> None:
        """Write down what became of sends, once an outcome file on the disk says so; it may be said again.

        Args:
            became: decision id -> dispatched, failed or suppressed, as in the file.

        Raises:
            StorageError: the store refused; the outcomes hold, and what is not settled counts as sent.
        """
        held = self._store.states(list(became))
        left = {
            name: DISPATCHED for name, event in became.items() if event == DISPATCHED and held.get(name) == DISPATCHING
        }
        stopped = {
            name: RELEASED
            for name, event in became.items()
            if event == records.SUPPRESSED and held.get(name) == RESERVED
        }
        for ends, reason in ((left, ""), (stopped, SUPPRESSED_AT_DISPATCH)):
            names = sorted(ends)
            for start in range(0, len(names), _PER_CALL):
                part = {name: ends[name] for name in names[start : start + _PER_CALL]}
                self._store.settle_all(part, now_at=self._now_at, reason=reason)
        owed = self._store.owed(list(became))
        self._store.reported(sorted(name for name, row in owed.items() if row.event == became[name]))


@dataclass(frozen=True)
class Standing:
    """What earlier runs made of n due sends.

    Attributes:
        open: (n,) whether nobody has taken it: reserved, or released without a word to anybody.
        unsettled: decisions that a run has taken and nobody has settled.
        done: sends that are over, and nothing is owed for them.
    """

    open: BoolArray
    unsettled: tuple[str, ...]
    done: int


def _elsewhere(state: str) -> str:
    return UNSETTLED if state == DISPATCHING else OVER
