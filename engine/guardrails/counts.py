"""How many actions each rule removed, counted from factors: nothing of shape (n, k) is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from engine.catalog import Catalog
from engine.guardrails.rule import Verdict
from engine.types import PURPOSES, BoolArray, IntArray


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
        rules: by id of the pack.
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


def sends_left(verdict: Verdict, n: int, catalog: Catalog) -> IntArray:
    """(n,) send actions that a verdict leaves to each contact."""
    channels, hours, arms = catalog.shape
    by_purpose = np.eye(len(PURPOSES), dtype=np.float32)[catalog.purpose_codes]  # (K, P)
    if verdict.channel_arm is None:
        arms_left = np.broadcast_to(by_purpose.sum(axis=0), (1, channels, len(PURPOSES)))
    else:
        free = np.broadcast_to(~verdict.channel_arm, (len(verdict.channel_arm), channels, arms))
        arms_left = free.astype(np.float32) @ by_purpose  # (n, C, P)
    if verdict.channel_hour is None:
        hours_left = np.full((1, len(PURPOSES), channels), hours, dtype=np.int64)
    else:
        hours_left = _free_hours(verdict.channel_hour, hours)
    total = (arms_left.transpose(0, 2, 1) * hours_left).sum(axis=(1, 2))
    left: IntArray = np.broadcast_to(np.rint(total).astype(np.int64), (n,))
    return left


def _free_hours(closed: BoolArray, hours: int) -> IntArray:
    """Open slots along the last axis; an axis of size 1 stands for all slots."""
    if closed.shape[-1] == 1:
        free: IntArray = np.where(closed[..., 0], 0, hours)
        return free
    if closed.shape[-1] % 8 == 0 and closed.flags.c_contiguous:
        # Eight flags at a time: each byte is 0 or 1, so the bits of a word are its true flags.
        words = np.bitwise_count(closed.view(np.uint64))
        taken: IntArray = words[..., 0].astype(np.int64)
        for word in range(1, words.shape[-1]):
            taken += words[..., word]
        return hours - taken
    counted: IntArray = closed.sum(axis=-1, dtype=np.int64)
    return hours - counted
