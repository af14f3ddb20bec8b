"""Which rounds of a log are used: usable rows with a known metric, optionally one side of a split, with counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.errors import DataError, ParameterError
from engine.identity import unit_of
from engine.log.parquet import LogReader
from engine.log.structure import require_sound
from engine.records.rounds import RoundBatch
from engine.types import NOT_AN_INSTANT, BoolArray, IntArray


class Side(Protocol):
    """One side of a split of a log."""

    def keep(self, batch: RoundBatch) -> BoolArray: ...


@dataclass(frozen=True)
class ContactSide:
    """One side of a split by cluster (the contact, where the log declares contacts).

    Attributes:
        fraction: share of the clusters that train, in (0, 1).
        train: says which side this is.
        seed: another seed gives another split.
    """

    fraction: float
    train: bool
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    def keep(self, batch: RoundBatch) -> BoolArray:
        """(n,) bool."""
        trains: BoolArray = unit_of(batch.cluster, f"split/{self.seed}") < self.fraction
        return trains if self.train else ~trains


@dataclass(frozen=True)
class TimeSide:
    """One side of a split by time: rows decided before `at` (microseconds UTC) train, the others evaluate."""

    at: int
    train: bool

    def keep(self, batch: RoundBatch) -> BoolArray:
        """(n,) bool."""
        trains: BoolArray = batch.decided_at < self.at
        return trains if self.train else ~trains


class Selection:
    """A re-iterable stream of usable rounds whose metric is known, of a log whose rows do not contradict each other.

    Args:
        reader: the log.
        metric: the reward that must be known; rows without it are dropped as `no_outcome`.
        side: one side of a split, or None for all rows.
        extra: stored names of further columns to carry.
        context: False leaves the context out, for estimators that do not need it.
        rewards: further metrics to carry; where they are not known they are NaN.
    """

    def __init__(
        self,
        reader: LogReader,
        metric: str,
        *,
        side: Side | None = None,
        extra: Sequence[str] = (),
        context: bool = True,
        rewards: Sequence[str] = (),
    ) -> None:
        self.reader, self.metric = reader, metric
        self._side, self._extra, self._context = side, tuple(extra), context
        self._rewards = tuple(dict.fromkeys((metric, *rewards)))

    def __iter__(self) -> Iterator[RoundBatch]:
        """The rounds.

        Raises:
            DataError: repeated decision ids or rows that contradict themselves (`engine.log.structure`).
        """
        require_sound(self.reader)
        batches = self.reader.rounds(rewards=self._rewards, extra=self._extra, context=self._context)
        for batch in batches:
            keep = batch.usable & ~np.isnan(batch.rewards[self.metric])
            if self._side is not None:
                keep &= self._side.keep(batch)
            yield batch if keep.all() else batch.take(keep).sealed()


def time_split(reader: LogReader, fraction: float) -> tuple[TimeSide, TimeSide]:
    """Train and evaluation sides such that about `fraction` of the rows were decided before the cut.

    Raises:
        DataError: rows without an instant, or all decided at once.
        ParameterError: fraction outside (0, 1).
    """
    _check_fraction(fraction)
    parts: list[IntArray] = [batch.decided_at for batch in reader.rounds(context=False)]
    decided_at = np.concatenate(parts)
    if (decided_at == NOT_AN_INSTANT).any():
        raise DataError(
            "the log has rows without `decided_at`, so it cannot be split by time",
            hint="split by contact, or give `decided_at` in the mapping",
        )
    cut = int(np.quantile(decided_at, fraction, method="higher"))
    if cut in (decided_at.min(), decided_at.max() + 1):
        raise DataError(
            "all rows were decided at the same instant, so the log cannot be split by time", hint="split by contact"
        )
    return TimeSide(cut, True), TimeSide(cut, False)


def contact_split(fraction: float, seed: int) -> tuple[ContactSide, ContactSide]:
    """Train and evaluation sides by cluster.

    Raises:
        ParameterError: fraction outside (0, 1).
    """
    return ContactSide(fraction, True, seed), ContactSide(fraction, False, seed)


def _check_fraction(fraction: float) -> None:
    if not 0.0 < fraction < 1.0:
        raise ParameterError(
            "train_fraction", "a split", allowed="in (0, 1)", got=fraction, hint="both sides need rows"
        )


@dataclass(frozen=True)
class LogCounts:
    """What a log holds, counted for one metric.

    Attributes:
        rows: all rows.
        contacts: distinct contacts.
        dropped: reason -> rows that neither train nor are evaluated.
    """

    rows: int
    contacts: int
    dropped: dict[str, int]


def count(reader: LogReader, metric: str) -> LogCounts:
    """Count rows, contacts and dropped rows of a log; memory grows by 8 bytes per distinct contact.

    Raises:
        DataError: unknown metric.
    """
    unusable = no_outcome = 0
    for batch in reader.rounds(rewards=[metric], context=False):
        unusable += int((~batch.usable).sum())
        no_outcome += int((batch.usable & np.isnan(batch.rewards[metric])).sum())
    dropped = {"unavailable_or_not_dispatched": unusable, "no_outcome": no_outcome}
    return LogCounts(reader.rows, reader.contacts, {reason: rows for reason, rows in dropped.items() if rows})
