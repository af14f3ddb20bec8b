"""Contact state in one SQL database: reader, writer, reserver and dispatcher in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import pandas as pd
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import TactfulError
from engine.log.parquet import LogReader
from engine.state import erased, spellings
from engine.state.facts import Fact
from engine.state.protocols import History, Refused, Reserved
from engine.state.reading.reader import ContactReader
from engine.state.rebuild import Rebuilt, rebuild
from engine.state.sends.caps import SendRequest, SendRule
from engine.state.sends.decisions import Answers, DecisionRecords, NewDecisions, Recorded
from engine.state.sends.reservations import Reservations
from engine.state.sends.settlements import Owed, Settlements, TakenSend
from engine.state.sequence import Mark, beside, current
from engine.state.tables import CONTACT, prepare
from engine.state.writer import FactWriter
from engine.storage.database import SqlStore, open_database, reading, require_store, stored_values
from engine.types import ObjectArray


class SqlState(SqlStore):
    """Contact state; several threads, processes and machines may share one store.

    Args:
        url: `sqlite:///FILE` (processes of one machine) or `postgresql://USER@HOST/NAME`.
        busy_timeout_s: how long a call waits for others, seconds.
        connections: that this process keeps open, at most.
        behind: open a store also where a witness knows later changes of it, in order to bring it up to date.

    Raises:
        ParameterError: another kind of URL, or a number out of range.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened, is damaged, of a newer version, or an older copy of itself.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 30.0, connections: int = 5, behind: bool = False) -> None:
        self._engine = open_database(
            url, prepare, owner="the state store", busy_timeout_s=busy_timeout_s, connections=connections
        )
        self._reader = ContactReader(self._engine)
        self._writer = FactWriter(self._engine)
        self._sends = Reservations(self._engine)
        self._ends = Settlements(self._engine)
        self._decided = DecisionRecords(self._engine)
        witness = beside(self._engine)
        if witness is not None and not behind:
            try:
                mark = self.mark()
                witness.check(mark, same=True)
                witness.note(mark)
            except TactfulError:
                self.close()
                raise

    def mark(self) -> Mark:
        """The store's identity and the number of its last change.

        Raises:
            StorageError: the store cannot be read.
        """
        return current(self._engine)

    @classmethod
    def existing(cls, url: str) -> Self:
        """A store that is there already: a URL with a slip of the pen must not make an empty one.

        Raises:
            DataError: there is no store of contact state under this URL.
            ParameterError, ConfigError, StorageError: raised as by the class.
        """
        cls.require(url)
        return cls(url)

    @staticmethod
    def require(url: str) -> None:
        """Refuse a URL under which there is no store of contact state.

        Raises:
            DataError: there is none.
            ParameterError, ConfigError, StorageError: raised as by the class.
        """
        hint = "make a new store with tactful state record --create"
        require_store(url, CONTACT.name, owner="the state store", hint=hint)

    def use_key(self, contact_key: str) -> None:
        """See `engine.state.erased.bind_key`."""
        erased.bind_key(self._engine, contact_key)

    def key_fingerprint(self) -> str | None:
        """See `engine.state.erased.bound_key`."""
        return erased.bound_key(self._engine)

    def erased(self, contact_ids: Sequence[str]) -> set[str]:
        """Those of the pseudonyms that were erased from this store.

        Raises:
            StorageError: the store cannot be read.
        """
        with reading(self._engine, "look for erased contacts") as connection:
            return set(erased.erased_at(connection, contact_ids))

    def note_ids(self, ids: Sequence[str], contact_key: str) -> None:
        """See `engine.state.spellings.note_ids`."""
        spellings.note_ids(self._engine, ids, contact_key)

    def strangers(self, contact_ids: Sequence[str]) -> dict[str, str | None]:
        """See `engine.state.spellings.strangers`."""
        return spellings.strangers(self._engine, contact_ids)

    def record(self, facts: Sequence[Fact]) -> int:
        """See `FactWriter.record`."""
        return self._writer.record(facts)

    def batch(
        self, contact_ids: ObjectArray, catalog: Catalog, *, now_at: int, without: Sequence[str] = ()
    ) -> ContactBatch:
        """See `ContactReader.batch`."""
        with stored_values("read contacts"):
            return self._reader.batch(contact_ids, catalog, now_at=now_at, without=without)

    def history(self, contact_ids: ObjectArray, *, now_at: int) -> History:
        """See `ContactReader.history`."""
        with stored_values("read histories"):
            return self._reader.history(contact_ids, now_at=now_at)

    def reserve(
        self,
        requests: Sequence[SendRequest],
        rules: Sequence[SendRule],
        *,
        now_at: int,
        lease_s: float,
        strict: bool = True,
    ) -> tuple[Reserved | Refused, ...]:
        """See `Reservations.reserve`."""
        with stored_values("reserve sends"):
            return self._sends.reserve(requests, rules, now_at=now_at, lease_s=lease_s, strict=strict)

    def expire(self, *, now_at: int) -> int:
        """See `Reservations.expire`."""
        return self._sends.expire(now_at=now_at)

    def dispatch(self, decision_id: str, rules: Sequence[SendRule], *, now_at: int) -> Reserved | Refused:
        """See `Reservations.dispatch`."""
        with stored_values("take a send"):
            return self._sends.dispatch(decision_id, rules, now_at=now_at)

    def settle(self, decision_id: str, state: str, *, now_at: int, reason: str = "") -> bool:
        """See `Settlements.settle`."""
        return self._ends.settle(decision_id, state, now_at=now_at, reason=reason)

    def states(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """See `Reservations.states`."""
        return self._sends.states(decision_ids)

    def unsettled(self, *, now_at: int) -> tuple[str, ...]:
        """See `Settlements.unsettled`."""
        return self._ends.unsettled(now_at=now_at)

    def settle_all(self, states: Mapping[str, str], *, now_at: int, reason: str = "", by_hand: bool = False) -> int:
        """See `Settlements.settle_all`."""
        return self._ends.settle_all(states, now_at=now_at, reason=reason, by_hand=by_hand)

    def owed(self, decision_ids: Sequence[str]) -> dict[str, Owed]:
        """See `Settlements.owed`."""
        return self._ends.owed(decision_ids)

    def reasons(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """See `Settlements.reasons`."""
        return self._ends.reasons(decision_ids)

    def reported(self, decision_ids: Sequence[str]) -> None:
        """See `Settlements.reported`."""
        self._ends.reported(decision_ids)

    def taken(self) -> tuple[TakenSend, ...]:
        """See `Settlements.taken`."""
        return self._ends.taken()

    def decided(self, decision_ids: Sequence[str], *, now_at: int) -> Recorded | None:
        """See `DecisionRecords.read`."""
        return self._decided.read(decision_ids, now_at=now_at)

    def commit(self, new: NewDecisions, *, decided_at: int, lease_s: float) -> tuple[pa.Table, Answers, int] | None:
        """See `DecisionRecords.commit`."""
        return self._decided.commit(new, decided_at=decided_at, lease_s=lease_s)

    def forget(self, *, before: int) -> int:
        """See `DecisionRecords.forget`."""
        return self._decided.forget(before=before)

    def rebuild(
        self, logs: Sequence[LogReader], outcomes: pd.DataFrame, seen: Sequence[Mark], *, now_at: int
    ) -> Rebuilt:
        """See `engine.state.rebuild.rebuild`; the witness beside the store is written anew."""
        witness = beside(self._engine)
        seen = [*seen, *([] if witness is None else witness.marks())]
        done = rebuild(self._engine, logs, outcomes, seen, now_at=now_at)
        if witness is not None:
            witness.note(self.mark(), anew=True)
        return done

    def shares(self, store: object) -> bool:
        """Whether another store keeps its tables in the same database, so that one transaction can write both."""
        return isinstance(store, SqlStore) and store.url == self.url
