"""Contact state on the path of a decision: contacts as the store knows them, promises for sends, and the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import OF_THE_CONTRACT
from engine.guardrails.layer import Guardrails
from engine.guardrails.recheck import MAX_DELAY_S
from engine.guardrails.rules.topic_cap import TOPIC
from engine.state.protocols import Refused, StateReader
from engine.state.reading.stricter import Beside, stricter
from engine.state.sends.caps import SendRequest
from engine.state.sends.decisions import Answers, NewDecisions, Recorded, Settling
from engine.state.sends.pack_caps import caps_of
from engine.types import HOLD, NOT_AN_INSTANT, PURPOSES, CodeArray, IntArray, ObjectArray


class DecidingState(StateReader, Protocol):
    """What a decision needs of the store."""

    def decided(self, decision_ids: Sequence[str], *, now_at: int) -> Recorded | None: ...

    def commit(self, new: NewDecisions, *, decided_at: int, lease_s: float) -> tuple[pa.Table, Answers, int] | None: ...

    def shares(self, store: object) -> bool: ...

    def note_ids(self, ids: Sequence[str], contact_key: str) -> None: ...


@dataclass(frozen=True)
class Promises:
    """The store of contact state as decisions use it.

    Attributes:
        store: reader and reserver.
        lease_s: a promise holds until this long after its planned instant; by default as long as it may be dispatched.
    """

    store: DecidingState
    lease_s: float = MAX_DELAY_S

    def contacts(
        self, contacts: ContactBatch, who: ObjectArray, ids: Sequence[str], catalog: Catalog, now_at: int
    ) -> tuple[ContactBatch, Beside]:
        """Features and columns of one's own from the contacts given, everything that rules read from the store.

        What the contacts given say against a send closes as well (`engine.state.reading.stricter`).

        Args:
            contacts: contacts as the file has them, aged to `now_at`.
            who: (n,) their pseudonyms.
            ids: their decision ids: promises made for these very decisions are left out, so that a run can be
                repeated.
            catalog: names the channels.
            now_at: instant of the decisions.
        """
        known = self.store.batch(who, catalog, now_at=now_at, without=ids)
        own = {name: column for name, column in contacts.extra.items() if name not in OF_THE_CONTRACT}
        extra = {name: column for name, column in known.extra.items() if name in OF_THE_CONTRACT}
        both, beside = stricter(replace(known, extra=extra), contacts, now_at)
        return replace(
            both, contact_id=contacts.contact_id, context=contacts.context, extra={**own, **both.extra}
        ), beside

    def commit(
        self,
        guardrails: Guardrails,
        contacts: ContactBatch,
        ids: ObjectArray,
        action: CodeArray,
        send_at: IntArray,
        now_at: int,
        settings: bytes,
        make: Callable[[list[tuple[str, ...]]], pa.Table],
        settling: Settling | None,
    ) -> Committed | None:
        """Promise the sends and record the decisions in one transaction.

        Args:
            guardrails: whose caps hold.
            contacts: (n,) under their pseudonyms.
            ids: (n,) decision ids.
            action: (n,).
            send_at: (n,) planned instants; a send without one is taken to leave now.
            now_at: instant of the decisions.
            settings: all that decisions depend on besides contact and instant.
            make: from the reasons, (n,) why each send is refused, to the rows of the log.
            settling: quota to be settled in the same transaction.

        Returns:
            None where another run decided some of them meanwhile; nothing is written then.

        Raises:
            DataError: a decision that was taken before the store kept records.
            StorageError: the store refused; nothing is written.
        """
        rows = np.flatnonzero(action != HOLD)
        requests = requests_of(guardrails.catalog, contacts.contact_id, ids, action, send_at, now_at, rows)

        def reasons(answers: Answers) -> list[tuple[str, ...]]:
            refused: list[tuple[str, ...]] = [()] * len(ids)
            for row, answer in zip(rows.tolist(), answers, strict=True):
                if isinstance(answer, Refused):
                    refused[row] = tuple(dict.fromkeys(answer.reasons))
            return refused

        # Made beforehand, as nobody is refused as a rule: the transaction holds others up.
        hopeful = make([()] * len(ids))

        def record(answers: Answers) -> pa.Table:
            refused = reasons(answers)
            return make(refused) if any(refused) else hopeful

        new = NewDecisions(ids.tolist(), requests, caps_of(guardrails, contacts), settings, record, settling)
        done = self.store.commit(new, decided_at=now_at, lease_s=self.lease_s)
        if done is None:
            return None
        table, answers, number = done
        return Committed(table, reasons(answers), number)


@dataclass(frozen=True)
class Committed:
    """Decisions that are in the store.

    Attributes:
        table: their rows.
        refused: (n,) why each send is refused; empty where it is promised, and for hold.
        sequence: number of the change of the store.
    """

    table: pa.Table
    refused: list[tuple[str, ...]]
    sequence: int


def requests_of(
    catalog: Catalog,
    who: ObjectArray,
    ids: ObjectArray,
    action: CodeArray,
    send_at: IntArray,
    now_at: int,
    rows: IntArray,
) -> list[SendRequest]:
    """The sends of some rows, with the details that caps look at; the template is the arm's id."""
    channel, _, arm = catalog.split(action)
    found = []
    for row in rows.tolist():
        chosen = catalog.arms[int(arm[row])]
        found.append(
            SendRequest(
                str(ids[row]),
                str(who[row]),
                catalog.channels[int(channel[row])],
                PURPOSES[int(catalog.purpose_codes[int(arm[row])])],
                now_at if send_at[row] == NOT_AN_INSTANT else int(send_at[row]),
                topic=str(chosen.attributes.get(TOPIC, "")),
                template=chosen.id,
                category=chosen.category,
                discount=chosen.discount_depth,
            )
        )
    return found
