"""What is counted of a batch: the actions that each rule removed, and contacts of whom rules know too little.

Both are counted from factors: nothing of shape (n, k) is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.contacts import UNKNOWN, ContactBatch
from engine.features import MISSING, PRESENT
from engine.guardrails.rule import Verdict
from engine.numeric.matmul import matmul
from engine.types import PURPOSES, BoolArray, Float32Array, IntArray

# Rules that a sentence names.
_SHOWN = 3
# Features that a sentence names.
_FEATURES_SHOWN = 8


@dataclass(frozen=True)
class RuleCount:
    """What one rule removed: (contact, action) pairs, and contacts to whom it alone would allow no send at all."""

    rule: str
    pairs: int
    contacts: int


@dataclass(frozen=True)
class RemovalCounts:
    """Sums over contacts; add the counts of blocks.

    Attributes:
        contacts: n.
        sends: k - 1, the send actions of the catalog.
        pairs: (contact, send action) pairs that all rules together removed.
        held: contacts with no send left: hold is all they can get.
        rules: id in the pack -> what the rule removed.
    """

    contacts: int = 0
    sends: int = 0
    pairs: int = 0
    held: int = 0
    rules: Mapping[str, RuleCount] = field(default_factory=dict)

    def __add__(self, other: RemovalCounts) -> RemovalCounts:
        rules = dict(self.rules)
        for name, count in other.rules.items():
            known = rules.get(name, RuleCount(count.rule, 0, 0))
            rules[name] = RuleCount(count.rule, known.pairs + count.pairs, known.contacts + count.contacts)
        return RemovalCounts(
            self.contacts + other.contacts,
            max(self.sends, other.sends),
            self.pairs + other.pairs,
            self.held + other.held,
            rules,
        )


def nothing_left(counts: RemovalCounts, words: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence where no contact has any send left, with the rules that leave most contacts none by themselves.

    Args:
        counts: sums over all contacts.
        words: rule code -> what it is (`Guardrails.words`).
    """
    if not counts.contacts or counts.held < counts.contacts:
        return ()
    alone = sorted((count.contacts, name) for name, count in counts.rules.items() if count.contacts)[::-1][:_SHOWN]
    why = "; ".join(f"{name} {words.get(name, '')} ({times:,} contacts)" for times, name in alone)
    return (f"the rules leave no send to any of {counts.contacts:,} contacts" + (f": {why}" if why else ""),)


def sends_left(verdict: Verdict, n: int, catalog: Catalog) -> IntArray:
    """(n,) send actions that a verdict leaves to each contact."""
    channels, hours, arms = catalog.shape
    by_purpose = np.eye(len(PURPOSES), dtype=np.float32)[catalog.purpose_codes]  # (K, P)
    if verdict.channel_arm is None:
        each: Float32Array = by_purpose.sum(axis=0, dtype=np.float32)
        arms_left = np.broadcast_to(each, (1, channels, len(PURPOSES)))
    else:
        free = np.broadcast_to(~verdict.channel_arm, (len(verdict.channel_arm), channels, arms))
        # One product of a tall matrix: numpy multiplies stacks of small ones one by one.
        arms_left = matmul(free.reshape(-1, arms).astype(np.float32), by_purpose).reshape(-1, channels, len(PURPOSES))
    if verdict.channel_hour is None:
        hours_left = np.full((1, len(PURPOSES), channels), hours, dtype=np.float32)
    else:
        hours_left = _free_hours(verdict.channel_hour, hours)
    total: Float32Array = np.zeros(1, dtype=np.float32)
    hours_left = np.broadcast_to(hours_left, (len(hours_left), len(PURPOSES), channels))
    for purpose in range(len(PURPOSES)):
        for channel in range(channels):
            total = total + arms_left[:, channel, purpose] * hours_left[:, purpose, channel]
    left: IntArray = np.broadcast_to(total.astype(np.int64), (n,))
    return left


def removed_by(verdict: Verdict, n: int, catalog: Catalog) -> tuple[int, int]:
    """(contact, send action) pairs that a verdict removes, and contacts to whom it leaves none.

    The same as counting `sends_left`, but cheap where a verdict is one factor and leaves most contacts alone.
    """
    gone = verdict.channel_arm, verdict.channel_hour
    if not any(factor is not None and factor.any() for factor in gone):
        return 0, 0
    channels, hours, arms = catalog.shape
    if verdict.channel_hour is None and verdict.channel_arm is not None:
        return _count(verdict.channel_arm, channels * arms, hours)
    if verdict.channel_arm is None and verdict.channel_hour is not None and n:
        arms_of = np.bincount(catalog.purpose_codes, minlength=len(PURPOSES)).tolist()
        parts = [(_part(verdict.channel_hour, p), arms_of[p]) for p in range(len(PURPOSES)) if arms_of[p]]
        touched = [(part, each) for part, each in parts if part.any()]
        if not touched:
            return 0, 0
        if len(touched) == 1:
            pairs, whole = _count(touched[0][0], channels * hours, touched[0][1])
            return pairs, whole if len(parts) == 1 else 0
    left = sends_left(verdict, n, catalog)
    return n * (catalog.k - 1) - int(left.sum()), int(n - np.count_nonzero(left))


def _part(channel_hour: BoolArray, purpose: int) -> BoolArray:
    return channel_hour[:, purpose if channel_hour.shape[1] > 1 else 0]


def _count(factor: BoolArray, cells: int, each: int) -> tuple[int, int]:
    """Pairs of a factor of which every true cell stands for `each`, and rows that are true all over."""
    rows = factor.reshape(len(factor), -1)
    true = int(np.count_nonzero(rows))
    candidates = np.flatnonzero(rows[:, 0])
    whole = int(np.count_nonzero(rows[candidates].all(axis=1)))
    return true * (cells // rows.shape[1]) * each, whole


def _free_hours(closed: BoolArray, hours: int) -> Float32Array:
    """Open slots along the last axis; an axis of size 1 stands for all slots."""
    if closed.shape[-1] == 1:
        free: Float32Array = np.where(closed[..., 0], np.float32(0), np.float32(hours))
        return free
    if closed.shape[-1] % 8 == 0 and closed.flags.c_contiguous and hours < 256:
        # Eight flags at a time: each byte is 0 or 1, so the bits of a word are its true flags.
        words = np.bitwise_count(closed.view(np.uint64))
        taken: NDArray[Any] = words[..., 0]
        for word in range(1, words.shape[-1]):
            taken = taken + words[..., word]
    else:
        taken = closed.sum(axis=-1)
    left: Float32Array = np.float32(hours) - taken.astype(np.float32)
    return left


# Above this share of the contacts it is said: that some contacts lack a record is every day's business.
SHARE: Final = 0.5
_SAID: Final = {
    "consent": "have no consent record for any channel",
    "zone": "have no known time zone",
    "suppressed": "have no known suppression state on any channel",
    "sends": "have no known history of sends",
}


@dataclass(frozen=True)
class Unknowns:
    """Counts of contacts; add those of blocks.

    Attributes:
        contacts: n.
        consent: without a consent record on any channel and purpose.
        zone: without a known zone.
        suppressed: of whom nobody knows on any channel whether it is suppressed.
        sends: contacts of whom nobody knows what was sent.
        strangers: all of these at once.
        seen: contacts whose features were counted; more than n where some were decided by an earlier run.
        absent: feature -> contacts without a value.
        unusable: feature -> contacts without a value, or with one that is too old or not dated.
    """

    contacts: int = 0
    consent: int = 0
    zone: int = 0
    suppressed: int = 0
    sends: int = 0
    strangers: int = 0
    _: KW_ONLY
    seen: int = 0
    absent: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, contacts: ContactBatch) -> Unknowns:
        """Count a batch, as the rules see it."""
        consent: BoolArray = (contacts.consent == UNKNOWN).all(axis=(1, 2))
        zone: BoolArray = contacts.zone_code < 0
        suppressed: BoolArray = (contacts.suppressed == UNKNOWN).all(axis=1)
        sends: BoolArray = ~contacts.history_known
        every = consent & zone & suppressed & sends
        counts: list[Any] = [int(part.sum()) for part in (consent, zone, suppressed, sends, every)]
        return cls(contacts.n, *counts) + cls.of_features(contacts)

    @classmethod
    def of_features(cls, contacts: ContactBatch) -> Unknowns:
        """Count the features alone, of contacts that the rules do not see again."""
        features = contacts.context.columns.items()
        absent = Counter({name: int((column.state == MISSING).sum()) for name, column in features})
        unusable = Counter({name: int((column.state != PRESENT).sum()) for name, column in features})
        return cls(seen=contacts.n, absent=absent, unusable=unusable)

    def __add__(self, other: Unknowns) -> Unknowns:
        counts: Iterator[Any] = (mine + theirs for mine, theirs in zip(self._counts(), other._counts(), strict=True))
        absent, unusable = self.absent + other.absent, self.unusable + other.unusable
        return Unknowns(*counts, seen=self.seen + other.seen, absent=absent, unusable=unusable)

    def _counts(self) -> tuple[int, ...]:
        return self.contacts, self.consent, self.zone, self.suppressed, self.sends, self.strangers

    def sentences(self, inputs: Collection[str], *, stored: bool) -> tuple[str, ...]:
        """What most contacts lack, and the features that all of them lack.

        Args:
            inputs: what the rules of the pack read; consent is always among it.
            stored: whether contacts were looked up in a state store.
        """
        if stored and self.contacts and self.strangers == self.contacts:
            why = "nothing was recorded about them there: see docs/state.md"
            return (f"none of {self.contacts:,} contacts is known to the state store: {why}", *self._features())
        where = "docs/state.md" if stored else "docs/contacts.md"
        lacking = (
            f"{getattr(self, name):,} of {self.contacts:,} contacts {said}: see {where}"
            for name, said in _SAID.items()
            if getattr(self, name) > SHARE * self.contacts and (name == "consent" or name in inputs)
        )
        return (*lacking, *self._features())

    def _features(self) -> tuple[str, ...]:
        """A feature that every contact lacks is more often a column that was called otherwise than nobody's value."""
        if not self.seen:
            return ()
        all_of = f"{self.seen:,} of {self.seen:,} contacts"
        none = [name for name, times in self.absent.items() if times == self.seen]
        old = [name for name, times in self.unusable.items() if times == self.seen and name not in none]
        said = []
        if none:
            said.append(f"{all_of} have no value of {_named(none)}: see docs/contacts.md")
        if old:
            said.append(f"{all_of} have no value of {_named(old)} that is dated and new enough: see docs/contacts.md")
        return tuple(said)


def _named(features: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in features[:_FEATURES_SHOWN])
    more = len(features) - _FEATURES_SHOWN
    return f"the feature{'s' if len(features) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")
