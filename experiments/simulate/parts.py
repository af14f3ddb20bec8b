"""The folder of a run that is not over: what was asked, the days that are done, and a lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import ConfigError, StorageError
from experiments.report.files import make_folder, write_whole
from experiments.simulate.daily import Sums
from simulator.world.sender import Counts

_ASKED = "asked.json"
_LOCK = "lock"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day that is over for all blocks.

    Attributes:
        sums: column -> one whole number per group (`experiments.simulate.daily`).
        removed: rule id -> (rule, pairs, contacts).
        held: contacts with no send left.
        policy: version that decided.
        sent: what the sender sent and heard (`simulator.world.sender.Counts`), as plain data.
        cells: sends by channel and arm, the arms of the first channel first.
        prices: that the day was decided under, as plain data (`policies.prices.pricing.Prices`).
    """

    sums: Sums
    removed: dict[str, tuple[str, int, int]]
    held: int
    policy: str
    sent: dict[str, Any]
    cells: list[int] = []
    prices: dict[str, Any] | None = None

    @property
    def counts(self) -> Counts:
        return msgspec.convert(self.sent, Counts)


class Parts:
    """The parts of one run.

    Args:
        folder: of the parts; made where it does not exist.
        asked: everything that the bytes of the result depend on, as plain data.

    Raises:
        ConfigError: the folder holds the parts of another run.
        StorageError: the folder cannot be written, or another process works in it.
    """

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.folder = make_folder(folder)
        self._asked = asked
        self._lock = -1

    @contextlib.contextmanager
    def held(self) -> Iterator[Parts]:
        """The folder for this process alone."""
        try:
            self._lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StorageError(f"another process works in {self.folder}", hint="wait for it, or end it") from error
        except OSError as error:
            raise StorageError(f"cannot write {self.folder}: {error}", hint="give another --out") from error
        try:
            self._check()
            yield self
        finally:
            os.close(self._lock)

    def _check(self) -> None:
        path = self.folder / _ASKED
        wanted = msgspec.json.encode(self._asked, order="sorted")
        if not path.exists():
            write_whole(path, wanted)
            return
        if path.read_bytes() != wanted:
            other = _differences(msgspec.json.decode(path.read_bytes()), msgspec.json.decode(wanted))
            raise ConfigError(
                f"{self.folder} holds an unfinished run with other arguments: {', '.join(other)}",
                hint="repeat its arguments to go on, remove the folder to start anew, or give another --out",
            )

    def done(self) -> list[Day]:
        """The days that are over, without a gap."""
        found: list[Day] = []
        while (path := self._day(len(found))).exists():
            found.append(msgspec.json.decode(path.read_bytes(), type=Day))
        return found

    def commit(self, step: int, day: Day) -> None:
        """Say that a day is over: its parts are on disk.

        Raises:
            StorageError: the disk refused.
        """
        write_whole(self._day(step), msgspec.json.encode(day))

    def remove(self) -> None:
        """Remove the folder: everything in it has become part of the result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _day(self, step: int) -> Path:
        return self.folder / f"day-{step:05d}.json"


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Names of what differs between two nested mappings."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{name} was {old!r}, is {new!r}"]
    found = []
    for key in sorted({*old, *new}):
        found += _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return found
