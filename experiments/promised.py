"""The state store on the path of a dispatch: each promised send is taken by one run only, and settled after its record.

    recheck -> take (dispatching) -> outcome file durable -> settle (dispatched); refused sends are released

A run that dies in between leaves sends in `dispatching`: they count as sent, no other run takes them, and
`tactful state expire` lists them. So a message is handed over at most once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np

from engine import records
from engine.contacts import ContactBatch
from engine.errors import DataError
from engine.guardrails.layer import Guardrails
from engine.localtime import instant_of
from engine.state.pack_caps import caps_of
from engine.state.protocols import Refused
from engine.state.store import SqlState
from engine.state.tables import DISPATCHED, DISPATCHING, RELEASED, RESERVED
from engine.types import ObjectArray

STATE_RULE: Final = "state"
UNSETTLED: Final = "unsettled"


class PromisedSends:
    """Sends that were reserved when they were decided.

    Args:
        store: in which they are reserved.
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
            (n,) states, and (decision id, reason) of what the store refuses. A send that another run has taken is
            `UNSETTLED`: that run says what becomes of it.

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
            if set(answer.reasons) & {DISPATCHING, DISPATCHED}:
                after[row] = UNSETTLED
                continue
            after[row] = records.SUPPRESSED
            refused += [(name, reason) for reason in answer.reasons]
        # What the recheck refuses while another run is sending it is that run's as well.
        stopped = np.flatnonzero(after == records.SUPPRESSED)
        held = self._store.states([str(decision_ids[row]) for row in stopped])
        for row in stopped.tolist():
            if held.get(str(decision_ids[row])) in (DISPATCHING, DISPATCHED):
                after[row] = UNSETTLED
        return after, refused

    def settle(self, state: ObjectArray, decision_ids: ObjectArray) -> None:
        """Write down what became of the sends, once the outcomes are on the disk.

        Raises:
            StorageError: the store refused; the outcomes hold, and what is not settled counts as sent.
        """
        held = self._store.states([str(name) for name in decision_ids])
        for name, became in zip(decision_ids.tolist(), state.tolist(), strict=True):
            if became == records.DISPATCHED:
                self._store.settle(name, DISPATCHED, now_at=self._now_at)
            elif became == records.SUPPRESSED and held.get(name) == RESERVED:
                self._store.settle(name, RELEASED, now_at=self._now_at, reason="suppressed at dispatch")
