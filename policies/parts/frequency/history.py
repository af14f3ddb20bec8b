"""The messages that a contact had before each decision, read from the log, and the features that say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from engine.encoder import CategoricalCoding, Encoder, MemoryCoding
from engine.features import PRESENT
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, BoolArray, Float32Array, FloatArray, IntArray

# Windows of days in which caps and features count messages.
WINDOWS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 28, 30)
# A feature says what the log says where so large a share of its rows agree.
_AGREES: Final = 0.9
_FEWEST: Final = 50


@dataclass(frozen=True)
class History:
    """n decisions, contact by contact in the order of time.

    Attributes:
        batches: the rounds as they were given.
        order: (n,) position of each decision among the rows of the batches, one after the other.
        contact: (n,) number of the contact, ascending.
        at_days: (n,) instant of the decision in days.
        sent: (n,) whether a message went out.
    """

    batches: tuple[RoundBatch, ...]
    order: IntArray
    contact: IntArray
    at_days: FloatArray
    sent: BoolArray

    @property
    def n(self) -> int:
        return len(self.contact)

    @cached_property
    def start(self) -> IntArray:
        """(contacts,) first row of each contact."""
        first = np.ones(self.n, dtype=np.bool_)
        first[1:] = self.contact[1:] != self.contact[:-1]
        return np.flatnonzero(first).astype(np.int64)

    @cached_property
    def length(self) -> IntArray:
        """(contacts,) decisions of each contact."""
        return np.diff(np.append(self.start, self.n)).astype(np.int64)

    @cached_property
    def gap_days(self) -> float:
        """Median days between two decisions of a contact; infinite where no contact has two."""
        gap = np.diff(self.at_days)[self.contact[1:] == self.contact[:-1]]
        return float(np.median(gap)) if len(gap) else np.inf

    def steps(self) -> Sequence[IntArray]:
        """Rows by their place in their contact's sequence: all first decisions, all second ones, and so on."""
        longest = int(self.length.max(initial=0))
        return [(self.start + t)[self.length > t] for t in range(longest)]

    def along(self, values: FloatArray | BoolArray) -> FloatArray | BoolArray:
        """(n,) values of the rows as they were given, in the order of this history."""
        return values[self.order]

    @cached_property
    def last_days(self) -> FloatArray:
        """(n,) instant of the last message before each decision, in days; NaN before the first that the log shows."""
        index = np.arange(self.n)
        sent = np.where(self.sent, index, -1)
        before = np.maximum.accumulate(np.concatenate([[-1], sent[:-1]]))
        of_contact = before >= np.repeat(self.start, self.length)
        return np.where(of_contact, self.at_days[np.maximum(before, 0)], np.nan)

    @cached_property
    def since(self) -> FloatArray:
        """(n,) days since the last message; NaN before the first that the log shows."""
        return self.at_days - self.last_days

    def counted(self, window: float) -> FloatArray:
        """(n,) messages of the last `window` days that the log shows."""
        behind = np.concatenate([[0], np.cumsum(self.sent)])
        # One ascending key for contact and time, so that one search finds the beginning of every window.
        span = float(np.ptp(self.at_days)) + window + 1.0
        key = self.contact * span + (self.at_days - self.at_days.min())
        first = np.maximum(np.searchsorted(key, key - window), np.repeat(self.start, self.length))
        counts: FloatArray = (behind[np.arange(self.n)] - behind[first]).astype(np.float64)
        return counts

    def whole(self, window: float) -> BoolArray:
        """(n,) whether the log reaches back over the whole window."""
        return self.at_days - np.repeat(self.at_days[self.start], self.length) >= window

    def feature(self, name: str) -> FloatArray:
        """(n,) values of a numeric feature; NaN where it is missing or stale."""
        parts = []
        for batch in self.batches:
            column = batch.context.columns[name]
            parts.append(np.where(column.state == PRESENT, column.values, np.nan).astype(np.float64))
        return np.concatenate(parts)[self.order]


def history_of(batches: Sequence[RoundBatch]) -> History:
    """The decisions of whole contacts; those without an instant are left out.

    Args:
        batches: with every decision of their contacts; a row that is not usable counts as no message.
    """
    kept = tuple(batch for batch in batches if batch.n)
    cluster = np.concatenate([batch.cluster for batch in kept])
    at = np.concatenate([batch.decided_at for batch in kept])
    sent = np.concatenate([(batch.action != HOLD) & batch.usable for batch in kept])
    contact = np.unique(cluster, return_inverse=True)[1].astype(np.int64).ravel()
    order = np.lexsort((at, contact)).astype(np.int64)
    return History(kept, order, contact[order], at[order] / DAY_US, sent[order])


@dataclass(frozen=True)
class Signal:
    """A numeric feature that says what a contact was sent.

    Attributes:
        feature: its name.
        window: days in which it counts messages; 0 where it says the days since the last one.
    """

    feature: str
    window: float = 0.0

    @property
    def days(self) -> bool:
        """Whether it says the days since the last message."""
        return self.window == 0.0


def signals(history: History, encoder: Encoder) -> tuple[Signal, ...]:
    """Every feature that agrees with the log in nine rows of ten, those in days first.

    Days since the last message agree within a day, counts exactly; a feature that stops at a largest value is held
    against days that stop there too.
    """
    found = []
    own = [(0.0, history.since, np.ones(history.n, dtype=np.bool_))]
    own += [(float(window), history.counted(window), history.whole(window)) for window in WINDOWS]
    for coding in encoder.codings:
        if isinstance(coding, CategoricalCoding | MemoryCoding):
            continue
        said = history.feature(coding.name)
        for window, seen, known in own:
            if _agree(said, np.where(known, seen, np.nan), 1.0 if window == 0.0 else 0.5):
                found.append(Signal(coding.name, window))
                break
    return tuple(sorted(found, key=lambda one: one.window))


def _agree(said: FloatArray, seen: FloatArray, within: float) -> bool:
    both = np.isfinite(said) & np.isfinite(seen)
    if int(both.sum()) < _FEWEST:
        return False
    said, seen = said[both], np.minimum(seen[both], said[both].max())
    if said.std() == 0.0 or seen.std() == 0.0 or float(np.corrcoef(said, seen)[0, 1]) < _AGREES:
        return False
    return float((np.abs(said - seen) <= within + 1e-6).mean()) >= _AGREES


def without(x: Float32Array, encoder: Encoder, features: Sequence[str]) -> Float32Array:
    """Encoded contexts in which some features say nothing: all of their columns are 0."""
    out = x.copy()
    for coding, columns in encoder.places:
        if coding.name in features:
            out[:, columns] = 0.0
    return out
