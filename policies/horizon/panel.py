"""Logged rounds as trajectories: every decision of a log, and which decision of a contact follows which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError
from engine.features import Column, ContextBatch
from engine.identity import unit_of
from engine.log.parquet import LogReader
from engine.log.selection import Side
from engine.log.structure import require_sound
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, CodeArray, FloatArray, IntArray

# Cells (decision, action) that are held at once, as float64: 120 MB an array.
MOST_CELLS: Final = 15_000_000
# A contact whose next decision fails to come within so many usual gaps is taken to be out of the log for good.
_GAPS: Final = 3.0


@dataclass(frozen=True)
class Panel:
    """n decisions of some contacts, batch by batch as they were given.

    Attributes:
        batches: the rounds.
        contact: (n,) number of the contact.
        at_days: (n,) instant of the decision in days, NaN where unknown.
        action: (n,) in [0, k).
        following: (n,) position of the contact's next decision, -1 where there is none.
        gap_days: (n,) days until it; 0 where there is none.
        ended: (n,) whether the log goes on, but the contact has no more decisions in it.
        open_channels: (n, C) whether any send on the channel was eligible.
    """

    batches: tuple[RoundBatch, ...]
    contact: IntArray
    at_days: FloatArray
    action: IntArray
    following: IntArray
    gap_days: FloatArray
    ended: BoolArray
    open_channels: BoolArray

    @property
    def n(self) -> int:
        return len(self.action)

    @property
    def contacts(self) -> int:
        return int(self.contact.max(initial=-1)) + 1

    @property
    def permitted(self) -> BoolArray:
        """(n, C) whether the channel was open to the contact in any of its decisions here."""
        ever = np.zeros((self.contacts, self.open_channels.shape[1]), dtype=np.bool_)
        np.logical_or.at(ever, self.contact, self.open_channels)
        return ever[self.contact]

    def reward(self, metric: str) -> FloatArray:
        """(n,) of a metric, NaN where it is not known."""
        values: FloatArray = np.concatenate([batch.rewards[metric] for batch in self.batches])
        return values

    @property
    def usable(self) -> BoolArray:
        """(n,) whether the row may train."""
        kept: BoolArray = np.concatenate([batch.usable for batch in self.batches])
        return kept

    def knows(self, metric: str) -> bool:
        """Whether every batch carries a metric."""
        return bool(metric) and all(metric in batch.rewards for batch in self.batches)

    def eligible(self) -> BoolArray:
        """The eligible sets of all decisions, (n, k) bool."""
        return np.concatenate([batch.eligible_dense() for batch in self.batches])

    @property
    def contexts(self) -> list[ContextBatch]:
        """The contexts of the batches."""
        return [batch.context for batch in self.batches]


def panel_of(rounds: Iterable[RoundBatch], catalog: Catalog, most_rows: int, seed: int) -> Panel:
    """Whole contacts at random, as many as hold about `most_rows` decisions.

    Args:
        rounds: every decision, also those that had no choice.
        catalog: the catalog of the rounds.
        most_rows: decisions, about.
        seed: the seed of the sample.

    Raises:
        LearnError: no rounds.
    """
    batches = [batch for batch in rounds if batch.n]
    if not batches:
        raise LearnError("there are no rounds to learn from", hint="join the outcomes first")
    total = sum(batch.n for batch in batches)
    share = most_rows / total
    if share < 1.0:
        salt = f"horizon/{seed}"
        batches = [batch.take(np.flatnonzero(unit_of(batch.cluster, salt) < share)) for batch in batches]
        batches = [batch for batch in batches if batch.n]
    if not batches:
        raise LearnError("the sample holds no contact", hint="raise learner.horizon.rows")
    return _linked(tuple(batches), catalog)


def _linked(batches: tuple[RoundBatch, ...], catalog: Catalog) -> Panel:
    cluster = np.concatenate([batch.cluster for batch in batches])
    at = np.concatenate([batch.decided_at for batch in batches])
    known = at != NOT_AN_INSTANT
    days = np.where(known, at / DAY_US, np.nan)
    contact = np.unique(cluster, return_inverse=True)[1].astype(np.int64).ravel()
    order = np.lexsort((np.where(known, at, 0), contact))
    first, second = order[:-1], order[1:]
    linked = (contact[first] == contact[second]) & known[first] & known[second] & (at[second] > at[first])
    following = np.full(len(at), -1, dtype=np.int64)
    following[first[linked]] = second[linked]
    gap = np.where(following >= 0, days[following] - days, 0.0)
    usual = float(np.median(gap[following >= 0])) if linked.any() else np.inf
    last = float(np.nanmax(days)) if known.any() else 0.0
    channels, hours, arms = catalog.shape
    opened = [
        batch.eligible_dense()[:, HOLD + 1 :].reshape(batch.n, channels, hours * arms).any(axis=2) for batch in batches
    ]
    return Panel(
        batches=batches,
        contact=contact,
        at_days=days,
        action=np.concatenate([batch.action for batch in batches]).astype(np.int64),
        following=following,
        gap_days=gap,
        ended=known & (following < 0) & (days + _GAPS * usual < last),
        open_channels=np.concatenate(opened),
    )


def since_day(batches: Iterable[RoundBatch], day: float) -> list[RoundBatch]:
    """The rows that were decided on a day (days of the epoch) or later."""
    found = []
    for batch in batches:
        rows = np.flatnonzero(batch.decided_at >= day * DAY_US)
        if len(rows):
            found.append(batch.take(rows))
    return found


class WholeLogs:
    """The decisions of some logs, one log after the other, as often as they are asked for.

    Args:
        readers: the readers of logs of the same catalog and features.
        metric: the money; rows of which it is not known yet stay, as steps of a trajectory.
        also: names of further metrics; those that every log knows are read.
        side: one side of a split, or None for all rows.
    """

    def __init__(
        self, readers: Sequence[LogReader], metric: str, also: Iterable[str], side: Side | None = None
    ) -> None:
        self._readers, self._side, self._sound = tuple(readers), side, False
        known = [name for name in also if all(name in reader.meta.rewards for reader in self._readers)]
        self._rewards = tuple(dict.fromkeys((metric, *known)))

    def __iter__(self) -> Iterator[RoundBatch]:
        """Read the decisions, log by log.

        Raises:
            DataError: repeated decision ids, over all logs, or rows that contradict themselves.
        """
        if not self._sound:
            require_sound(*self._readers)
            self._sound = True
        for reader in self._readers:
            for batch in reader.rounds(rewards=self._rewards):
                if self._side is None:
                    yield batch
                    continue
                kept = self._side.keep(batch)
                yield batch if kept.all() else batch.take(np.flatnonzero(kept))

    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(batch.usable.any() for batch in self)


def stacked(contexts: Sequence[ContextBatch]) -> ContextBatch:
    """The rows of all batches, in their order; levels of batches that name them differently are joined.

    Args:
        contexts: at least one, all of one schema.
    """
    first = contexts[0]
    columns = {name: _joined([context.columns[name] for context in contexts]) for name in first.columns}
    return ContextBatch(first.schema, columns, sum(context.n for context in contexts))


def _joined(columns: Sequence[Column]) -> Column:
    state = np.concatenate([column.state for column in columns])
    levels = tuple(dict.fromkeys(level for column in columns for level in column.levels))
    if all(column.levels == levels for column in columns):
        return Column(np.concatenate([column.values for column in columns]), state, levels)
    position = {level: code for code, level in enumerate(levels)}
    return Column(np.concatenate([_recoded(column, position) for column in columns]), state, levels)


def _recoded(column: Column, position: dict[str, int]) -> CodeArray:
    # The last entry is for -1: no level.
    lookup = np.array([*(position[level] for level in column.levels), -1], dtype=np.int32)
    return lookup[column.values.astype(np.int64)]
