"""The number of the last change of a store, and witnesses of it outside of the store.

Every transaction that changes contact state takes the next number. Logs and outcome files carry the number up to which
they know the store; so does a small file beside an SQLite store, and one in the folder of the logs. A store whose own
number is smaller than what a witness says is an older copy: what was promised and sent since is not in it, so nothing
is decided or dispatched with it before `tactful state rebuild`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from engine.errors import StorageError, reason_of
from engine.state.tables import SEQUENCE, STORE
from engine.storage.database import is_postgresql, reading, writing


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to which change a store is known.

    Attributes:
        store_id: the store, the same in all its copies.
        sequence: number of the change.
    """

    store_id: str
    sequence: int


_DIGITS: Final = 20
_REBUILD: Final = (
    "restore the newest copy, or bring it up to date: tactful state rebuild --state URL --log LOG --outcomes OUTCOMES; "
    "record the facts since then again"
)


class Change(NamedTuple):
    """A transaction that changes the store, and its number."""

    connection: sa.Connection
    number: int


@contextlib.contextmanager
def changing(engine: sa.Engine, what: str) -> Iterator[Change]:
    """`writing` with the next number; the witness beside the store knows it afterwards.

    Raises:
        StorageError: raised by `writing`.
    """
    with writing(engine, what) as connection:
        if is_postgresql(connection):
            found = connection.execute(sa.select(SEQUENCE.next_value(), STORE.c.store_id)).one()
        else:
            step = sa.update(STORE).values(sequence=STORE.c.sequence + 1)
            found = connection.execute(step.returning(STORE.c.sequence, STORE.c.store_id)).one()
        number, store_id = found
        yield Change(connection, number)
    witness = beside(engine)
    if witness is not None:
        # What is done is done: a witness that lags behind is noticed later or not at all, never wrong.
        with contextlib.suppress(StorageError):
            witness.note(Mark(store_id, number))


def current(engine: sa.Engine) -> Mark:
    """The store and the number of its last change.

    Raises:
        StorageError: the store cannot be read.
    """
    with reading(engine, "read the store's sequence") as connection:
        store_id, number = connection.execute(sa.select(STORE.c.store_id, STORE.c.sequence)).one()
        if is_postgresql(connection):
            number = _last(connection)
        if not isinstance(number, int) or not isinstance(store_id, str):
            raise StorageError(
                f"the table `store` of the state store does not say its last change, got {number!r}",
                hint="the store is damaged; restore a copy",
            )
        return Mark(store_id, number)


def leap(connection: sa.Connection, number: int) -> None:
    """Let the next change have at least this number."""
    if is_postgresql(connection):
        if _last(connection) < number:
            connection.execute(sa.select(sa.func.setval(SEQUENCE.name, number)))
        return
    connection.execute(sa.update(STORE).where(STORE.c.sequence < number).values(sequence=number))


def _last(connection: sa.Connection) -> int:
    found = connection.exec_driver_sql("SELECT last_value, is_called FROM store_sequence").one()
    return int(found.last_value) if found.is_called else 0


def require_known(known: Mark, seen: Mark, *, where: str) -> None:
    """Refuse a store that does not know what was seen of it.

    Raises:
        StorageError: the store is an older copy.
    """
    if known.store_id == seen.store_id and known.sequence < seen.sequence:
        raise StorageError(
            f"the state store is an older copy: its last change is {known.sequence}, {where} knows change "
            f"{seen.sequence} of it; what was promised and sent in between is not in it",
            hint=_REBUILD,
        )


class Witness:
    """A small file that says up to which change a store is known.

    Args:
        path: place of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, known: Mark, *, same: bool) -> None:
        """Refuse a store that is behind; with `same` also another store.

        Raises:
            StorageError: such a store, or a file that is no witness.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {reason_of(error)}", hint="make it readable") from error
        seen = self._mark(text)
        if seen is None:
            return
        if same and seen.store_id != known.store_id:
            raise StorageError(
                f"the state store is another one than {self.path} knows: what was promised and sent in that one, up to "
                f"change {seen.sequence}, is not in it",
                hint=f"{_REBUILD}; where a new store is meant, remove {self.path.name} first",
            )
        require_known(known, seen, where=str(self.path))

    def marks(self) -> list[Mark]:
        """What stands in the file; nothing where there is none.

        Raises:
            StorageError: a file that is no witness.
        """
        if not self.path.exists():
            return []
        seen = self._mark(self.path.read_bytes())
        return [] if seen is None else [seen]

    def note(self, mark: Mark, *, anew: bool = False) -> None:
        """Write the number down unless a larger one of the same store stands there; with `anew` in any case.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                seen = None if anew else self._mark(os.pread(descriptor, 256, 0))
                if seen is None or seen.store_id != mark.store_id or seen.sequence < mark.sequence:
                    # One write of one length: a kill leaves the old number or the new one.
                    os.pwrite(descriptor, f"{mark.store_id} {mark.sequence:0{_DIGITS}d}\n".encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {reason_of(error)}",
                hint="the folder must be writable for those who use the store",
            ) from error

    def _mark(self, text: bytes) -> Mark | None:
        if not text:
            return None
        try:
            store_id, number = text.decode("ascii").split()
            return Mark(store_id, int(number))
        except ValueError as error:
            raise StorageError(
                f"{self.path} does not say which change of the state store it knows",
                hint="it is damaged; make sure that the store is the newest copy, then remove the file",
            ) from error


def beside(engine: sa.Engine) -> Witness | None:
    """The witness of an SQLite store; a server's store has none but those in the folders of its logs."""
    if engine.url.get_backend_name() != "sqlite":
        return None
    return Witness(Path(f"{engine.url.database}.sequence"))


def in_folder(folder: Path, store_id: str) -> Witness:
    """The witness among the logs that were decided with a store."""
    return Witness(folder / f".tactful-state-{store_id[:12]}")
