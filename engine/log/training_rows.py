"""The rows that a trained folder learnt from, so that none is learnt twice or judged by its own pupil.

A row is known by its decision id, contact, instant and action, so it is known again however a log is split, joined
anew, cut or put together with others. A folder keeps one file of sorted 64-bit hashes of rows, eight bytes each, listed
in its manifest with its SHA-256 like every other file. That two different rows share a hash somewhere in logs of n and
m rows is as likely as n m / 2^64: once in five million pairs of logs of two million rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from engine.errors import ArtefactError, reason_of
from engine.identity import keyed_hash
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, KeyArray

FILE: Final = "training_rows.npy"
_KEY: Final = "training rows"
# An odd multiplier that spreads every bit over the 64 above it (the golden ratio's, Knuth 1998, section 6.4).
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)


@dataclass(frozen=True)
class TrainingRows:
    """Decisions that were learnt from.

    Attributes:
        keys: (n,) sorted, distinct hashes of rows.
    """

    keys: KeyArray

    @classmethod
    def of(cls, rounds: Iterable[RoundBatch]) -> Self:
        """The decisions of the rounds that a learner was given; memory grows by 8 bytes a row."""
        parts = [row_keys(batch) for batch in rounds]
        return cls(np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *parts])))

    def __len__(self) -> int:
        return len(self.keys)

    def __or__(self, other: TrainingRows) -> TrainingRows:
        """The decisions of either."""
        return TrainingRows(np.union1d(self.keys, other.keys))

    def known(self, batch: RoundBatch) -> BoolArray:
        """(n,) which rows of a batch were learnt from."""
        if not len(self.keys):
            return np.zeros(batch.n, dtype=np.bool_)
        hashed = row_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, hashed), len(self.keys) - 1)
        found: BoolArray = self.keys[at] == hashed
        return found

    def shared(self, rounds: Iterable[RoundBatch]) -> int:
        """How many of the rounds were learnt from."""
        return sum(int(self.known(batch).sum()) for batch in rounds)

    def without(self, rounds: Iterable[RoundBatch]) -> Unlearnt:
        """The rounds that were not learnt from, as often as they are asked for."""
        return Unlearnt(rounds, self)

    def write(self, folder: Path) -> None:
        """Write the file into a folder that is being made.

        Raises:
            OSError: the disk refused.
        """
        np.save(Path(folder) / FILE, self.keys, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What a folder keeps, whose manifest names the file.

        Raises:
            ArtefactError: the file is missing or damaged.
        """
        path = Path(folder) / FILE
        try:
            keys = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtefactError(f"{path} cannot be read: {reason_of(error)}", hint="train again") from error
        if keys.dtype != np.uint64 or keys.ndim != 1 or (keys[1:] <= keys[:-1]).any():
            raise ArtefactError(f"{path} is no record of training rows", hint="train again")
        return cls(keys)


@dataclass(frozen=True)
class Unlearnt:
    """Rounds without those that were learnt from.

    Attributes:
        rounds: re-iterable.
        rows: rows that are left out.
    """

    rounds: Iterable[RoundBatch]
    rows: TrainingRows

    def __iter__(self) -> Iterator[RoundBatch]:
        for batch in self.rounds:
            new = ~self.rows.known(batch)
            yield batch if new.all() else batch.take(new)


def row_keys(batch: RoundBatch) -> KeyArray:
    """(n,) hashes of what makes a row itself: ids alone are row numbers in some logs, alike in all of them."""
    keys = keyed_hash(batch.decision_id, _KEY)
    with np.errstate(over="ignore"):
        for part in (batch.cluster, batch.decided_at.astype(np.uint64), batch.action.astype(np.uint64)):
            keys = (keys ^ (part * _MIX)) * _MIX
            keys ^= keys >> _SHIFT
    return keys
