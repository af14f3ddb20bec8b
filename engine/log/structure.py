"""What a log must fulfil before anything is learnt from it or judged on it: no row contradicts itself or another one.

A learner or an estimator that reads such rows gives figures that mean nothing, without a word. So whoever reads a log
for learning or judging asks `require_sound` first; `engine.log.selection.Selection` does it for all that read
through it.
One pass over a few columns; ids are compared over all rows, and over all logs that are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import numpy as np

from engine.errors import DataError
from engine.identity import keyed_hash
from engine.types import KeyArray

if TYPE_CHECKING:
    from engine.log.parquet import LogReader
    from engine.records.rounds import RoundBatch

# Hashes of ids that are held at once (8 bytes each, twice); larger logs are read several times, a part of them each.
HELD: Final = 8_000_000
_SOUND: Final[WeakSet[LogReader]] = WeakSet()


@dataclass(frozen=True)
class Structure:
    """How many rows contradict themselves or each other.

    Attributes:
        rows: number of rows of all logs.
        repeated: rows whose decision id stands in an earlier row.
        not_eligible: drawn rows whose action is not in their eligible set.
        without_propensity: drawn rows without a propensity in (0, 1], in logs that have propensities.
    """

    rows: int
    repeated: int
    not_eligible: int
    without_propensity: int

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words; nothing where all is right."""
        counts = {
            "repeat the decision id of another row": self.repeated,
            "took an action that is not in their eligible set": self.not_eligible,
            "were drawn with a propensity that is missing or outside (0, 1]": self.without_propensity,
        }
        return tuple(f"{count} of {self.rows} rows {what}" for what, count in counts.items() if count)


def structure_of(readers: Sequence[LogReader], held: int = HELD) -> Structure:
    """Count what is wrong in some logs that are read together.

    That the 64-bit hashes of two different ids are equal somewhere among n rows is as likely as n^2 / 2^65.

    Args:
        readers: readers of the logs.
        held: hashes that are held at once.

    Raises:
        LogFormatError: rows that break the schema, a usable row with a propensity outside (0, 1] among them.
    """
    rows = sum(reader.rows for reader in readers)
    passes = max(1, -(-rows // held))
    counts = np.zeros(2, dtype=np.int64)
    repeated = 0
    for part in range(passes):
        ids: list[KeyArray] = []
        for reader in readers:
            for batch in reader.rounds(context=False, extra=("available",)):
                hashed = keyed_hash(batch.decision_id, "audit/id")
                ids.append(hashed if passes == 1 else hashed[hashed % np.uint64(passes) == part])
                if part == 0:
                    counts += _contradicted(batch, logged=reader.meta.propensity == "logged")
        repeated += repeats(ids)
    return Structure(rows, repeated, *counts.tolist())


def require_sound(*readers: LogReader) -> None:
    """Refuse logs of which rows contradict themselves or each other; what was found sound is not read again.

    Args:
        readers: readers of logs that are read together.

    Raises:
        DataError: repeated decision ids, actions outside of their eligible sets, or propensities that are none.
        LogFormatError: rows that break the schema.
    """
    # Logs that are read together are compared with each other every time.
    if len(readers) == 1 and readers[0] in _SOUND:
        return
    faults = structure_of(readers).faults
    if faults:
        names = ", ".join(dict.fromkeys(str(reader.path) for reader in readers))
        raise DataError(
            f"nothing can be learnt from {names}, or judged on it: {'; '.join(faults)}",
            hint=f"see `tactful audit {readers[0].path}`; write the log again with each decision once, as it was taken",
        )
    accept(*readers)


def accept(*readers: LogReader) -> None:
    """Ask no more of these readers: they were checked, or somebody answers for what they are."""
    _SOUND.update(readers)


def repeats(keys: Sequence[KeyArray]) -> int:
    """How many of the keys stand among them before."""
    every = np.concatenate(keys) if keys else np.zeros(0, dtype=np.uint64)
    return len(every) - len(np.unique(every))


def _contradicted(batch: RoundBatch, *, logged: bool) -> tuple[int, int]:
    """Drawn rows with a removed action, and those without a propensity."""
    drawn = batch.extra["available"].astype(np.bool_)
    removed = np.count_nonzero(drawn & ~batch.was_eligible())
    without = np.count_nonzero(drawn & ~((batch.propensity > 0.0) & (batch.propensity <= 1.0))) if logged else 0
    return int(removed), int(without)
