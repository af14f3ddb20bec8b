"""Factored eligibility: which of the k actions each contact may get, never materialised for all contacts at once.

A send action (c, h, a) is eligible where `channel_arm[i, c, a]` and `channel_hour[i, purpose(a), c, h]` are both true;
hold is always eligible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import EligibilityError
from engine.sealing import sealed
from engine.types import HOLD, BoolArray, ByteArray, CodeArray, IntArray


@dataclass(frozen=True)
class Eligibility:
    """What n contacts may get.

    Attributes:
        channel_arm: (n, C, K) bool.
        channel_hour: (n, P, C, H) bool.
        purpose_codes: (K,) purpose position of each arm.
    """

    channel_arm: BoolArray
    channel_hour: BoolArray
    purpose_codes: IntArray

    @property
    def n(self) -> int:
        return len(self.channel_arm)

    @property
    def k(self) -> int:
        channels, arms = self.channel_arm.shape[1:]
        return 1 + int(channels * self.channel_hour.shape[3] * arms)

    def dense(self) -> BoolArray:
        """(n, k) bool; column 0 (hold) is all true. Call it on blocks."""
        n, channels, arms = self.channel_arm.shape
        hours = self.channel_hour.shape[3]
        out = np.empty((n, 1 + channels * hours * arms), dtype=np.bool_)
        out[:, HOLD] = True
        cells = out[:, 1:].reshape(n, channels, hours, arms)
        by_arm = self.channel_hour[:, self.purpose_codes]  # (n, K, C, H)
        np.logical_and(by_arm.transpose(0, 2, 3, 1), self.channel_arm[:, :, None, :], out=cells)
        return out

    def sendable(self) -> BoolArray:
        """(n,) whether any send is eligible, from the factors."""
        out = np.zeros(self.n, dtype=np.bool_)
        for purpose in np.unique(self.purpose_codes).tolist():
            own = self.purpose_codes == purpose
            arms = _any_last(self.channel_arm if own.all() else self.channel_arm[:, :, own])
            both = arms & _any_last(self.channel_hour[:, purpose])
            for channel in range(both.shape[1]):
                out |= both[:, channel]
        return out

    def counts(self) -> IntArray:
        """(n,) number of eligible actions, hold included, from the factors."""
        hours = self.channel_hour.sum(axis=3, dtype=np.int64)
        count = np.ones(self.n, dtype=np.int64)
        for purpose in range(self.channel_hour.shape[1]):
            arms = self.channel_arm[:, :, self.purpose_codes == purpose].sum(axis=2, dtype=np.int64)
            count += (arms * hours[:, purpose]).sum(axis=1)
        return count

    def contains(self, action: CodeArray | IntArray) -> BoolArray:
        """(n,) whether an action of each row, in [0, k), is eligible, from the factors."""
        hours, arms = self.channel_hour.shape[3], self.channel_arm.shape[2]
        rows, cell = np.arange(self.n), np.maximum(np.asarray(action, dtype=np.int64) - 1, 0)
        channel, hour, arm = cell // (hours * arms), cell // arms % hours, cell % arms
        by_hour = self.channel_hour[rows, self.purpose_codes[arm], channel, hour]
        found: BoolArray = (np.asarray(action) == HOLD) | (self.channel_arm[rows, channel, arm] & by_hour)
        return found

    def packed(self) -> ByteArray:
        """(n, ceil(k / 8)) uint8, little-endian bits: action a is bit a % 8 of byte a // 8."""
        return pack(self.dense())

    def take(self, rows: slice | np.ndarray[Any, Any]) -> Eligibility:
        return Eligibility(self.channel_arm[rows], self.channel_hour[rows], self.purpose_codes)

    def sealed(self) -> Eligibility:
        """The same, in arrays that nobody can write to (`engine.sealing`)."""
        return Eligibility(sealed(self.channel_arm), sealed(self.channel_hour), sealed(self.purpose_codes))


@dataclass(frozen=True)
class DenseEligibility:
    """Any eligible sets of n contacts, a product of factors or not: set-level limits leave such.

    Attributes:
        flags: (n, k) bool; column 0 (hold) is all true.
    """

    flags: BoolArray

    @property
    def n(self) -> int:
        return len(self.flags)

    @property
    def k(self) -> int:
        return int(self.flags.shape[1])

    def dense(self) -> BoolArray:
        """The flags themselves."""
        return self.flags

    def counts(self) -> IntArray:
        """(n,) number of eligible actions, hold included."""
        return np.asarray(self.flags.sum(axis=1, dtype=np.int64))

    def contains(self, action: CodeArray | IntArray) -> BoolArray:
        """(n,) whether an action of each row, in [0, k), is eligible."""
        return np.asarray(self.flags[np.arange(self.n), action])

    def take(self, rows: slice | np.ndarray[Any, Any]) -> DenseEligibility:
        return DenseEligibility(self.flags[rows])


def _any_last(flags: BoolArray) -> BoolArray:
    """`flags.any(axis=-1)`, several flags at a time: numpy's own takes as long for each short row as for a long one."""
    size = flags.shape[-1]
    width = next(width for width in (8, 4, 2, 1) if size % width == 0)
    words = np.ascontiguousarray(flags).view(f"u{width}")
    out: BoolArray = words[..., 0] != 0
    for word in range(1, words.shape[-1]):
        out |= words[..., word] != 0
    return out


def pack(eligible: BoolArray) -> ByteArray:
    """(n, k) bool -> (n, ceil(k / 8)) uint8, little-endian bits."""
    return np.packbits(eligible, axis=1, bitorder="little")


def unpack(packed: ByteArray, k: int) -> BoolArray:
    """(n, ceil(k / 8)) uint8 -> (n, k) bool."""
    return np.unpackbits(packed, axis=1, count=k, bitorder="little").view(np.bool_)


def require_eligible(eligible: BoolArray) -> None:
    """Refuse rows in which nothing is eligible: an empty set is an error, never a default.

    Raises:
        EligibilityError: some row has no eligible action.
    """
    empty = ~eligible.any(axis=1)
    if empty.any():
        raise EligibilityError(
            f"row {int(np.flatnonzero(empty)[0])} has an empty eligible set ({int(empty.sum())} such rows)",
            hint="hold must always be eligible",
        )
