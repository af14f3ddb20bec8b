"""Contact state in one SQL database: reader, writer, reserver and dispatcher in one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from engine.catalog import Catalog
from engine.contacts import ContactBatch
from engine.database import SqlStore, open_database, reading, require_store, stored_values
from engine.state import erased
from engine.state.caps import SendRequest, SendRule
from engine.state.facts import Fact
from engine.state.protocols import History, Refused, Reserved
from engine.state.reader import ContactReader
from engine.state.reservations import Reservations
from engine.state.tables import CONTACT, METADATA
from engine.state.writer import FactWriter
from engine.types import ObjectArray


class SqlState(SqlStore):
    """Contact state; several threads, processes and machines may share one store.

    Args:
        url: `sqlite:///FILE` (processes of one machine) or `postgresql://USER@HOST/NAME`.
        busy_timeout_s: how long a call waits for others, seconds.
        connections: that this process keeps open, at most.

    Raises:
        ParameterError: another kind of URL, or a number out of range.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 30.0, connections: int = 5) -> None:
        self._engine = open_database(
            url, METADATA.create_all, owner="SqlState", busy_timeout_s=busy_timeout_s, connections=connections
        )
        self._reader = ContactReader(self._engine)
        self._writer = FactWriter(self._engine)
        self._sends = Reservations(self._engine)

    @classmethod
    def existing(cls, url: str) -> Self:
        """A store that is there already: a URL with a slip of the pen must not make an empty one.

        Raises:
            DataError: there is no store of contact state under this URL.
            ParameterError, ConfigError, StorageError: as of the class.
        """
        hint = "make a new store with tactful state record --create"
        require_store(url, CONTACT.name, owner="SqlState", hint=hint)
        return cls(url)

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
        """See `Reservations.settle`."""
        return self._sends.settle(decision_id, state, now_at=now_at, reason=reason)

    def states(self, decision_ids: Sequence[str]) -> dict[str, str]:
        """See `Reservations.states`."""
        return self._sends.states(decision_ids)

    def unsettled(self, *, now_at: int) -> tuple[str, ...]:
        """See `Reservations.unsettled`."""
        return self._sends.unsettled(now_at=now_at)
