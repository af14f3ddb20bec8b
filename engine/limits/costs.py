"""What one send uses of each limit: integer amounts by channel and arm, metered per day.

A meter is a limit on one day. Amounts are integers, so that sums are exact in any order and on any database.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import ParameterError
from engine.types import HOLD, BoolArray, CodeArray, IntArray


@dataclass(frozen=True)
class Costs:
    """The meters of one batch of n contacts, with L limits and D days.

    Attributes:
        amount: (L, C, K) int64, 0 or more: what a send uses up.
        earned: (L, C, K) int64, 0 or more: what a send adds, usable by later batches only.
        day: (n, H) position in [0, D) of the day on which each slot's send happens.
        days: D.
        pooled: (L,) bool: limits over all days together; their one meter is that of day position 0.
    """

    amount: IntArray
    earned: IntArray
    day: IntArray
    days: int
    pooled: BoolArray

    def __post_init__(self) -> None:
        if self.amount.ndim != 3 or self.amount.shape != self.earned.shape:
            raise ParameterError("amount", "Costs", allowed="of shape (L, C, K) like `earned`", got=self.amount.shape)
        if self.amount.size and min(self.amount.min(), self.earned.min()) < 0:
            raise ParameterError("amount", "Costs", allowed="0 or more", got=int(self.amount.min()))
        if self.pooled.shape != self.amount.shape[:1] or self.days < 1:
            raise ParameterError("pooled", "Costs", allowed="(L,), and at least one day", got=self.pooled.shape)
        if self.day.ndim != 2 or (self.day.size and (self.day.min() < 0 or self.day.max() >= self.days)):
            raise ParameterError("day", "Costs", allowed=f"(n, H) positions in [0, {self.days})", got=self.day.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(L, D)."""
        return len(self.amount), self.days

    @property
    def channels(self) -> int:
        return int(self.amount.shape[1])

    @property
    def arms(self) -> int:
        return int(self.amount.shape[2])

    def closed(self, remaining: IntArray) -> BoolArray:
        """(D, C, K) sends that cost more than what is left of any limit; `remaining` is (L, D)."""
        left = np.where(self.pooled[:, None], remaining[:, :1], remaining)
        over = self.amount[:, None] > left[:, :, None, None]
        return np.asarray(over.any(axis=0), dtype=np.bool_)

    def removed(self, rows: IntArray, closed: BoolArray) -> BoolArray:
        """(r, k) actions of the rows that are closed; hold never is."""
        by_slot = closed[self.day[rows]]  # (r, H, C, K)
        cells = by_slot.transpose(0, 2, 1, 3).reshape(len(rows), -1)
        return np.concatenate([np.zeros((len(rows), HOLD + 1), dtype=np.bool_), cells], axis=1)

    def meters(self, rows: IntArray, actions: CodeArray, *, of: IntArray) -> IntArray:
        """(r, L, D) amounts (`of` is `amount` or `earned`) of the rows' actions, 0 for hold."""
        _, _, arms = self.amount.shape
        hours = self.day.shape[1]
        cell = np.maximum(np.asarray(actions, dtype=np.int64) - 1, 0)
        channel, hour, arm = cell // (hours * arms), cell // arms % hours, cell % arms
        used = np.zeros((len(rows), *self.shape), dtype=np.int64)
        taken = np.where(np.asarray(actions) == HOLD, 0, of[:, channel, arm])  # (L, r)
        on = np.where(self.pooled[:, None], 0, self.day[rows, hour])  # (L, r)
        used[np.arange(len(rows))[:, None], np.arange(len(self.amount)), on.T] = taken.T
        return used

    def thresholds(self, remaining: IntArray) -> IntArray:
        """(L, D) the dearest send that each meter still affords; once less is left than that, something closes."""
        limits, _ = self.shape
        out = np.zeros(self.shape, dtype=np.int64)
        for limit in range(limits):
            prices = np.unique(np.append(self.amount[limit], 0))
            out[limit] = prices[np.searchsorted(prices, remaining[limit], side="right") - 1]
        return out

    def worst_case(self, eligible: BoolArray) -> IntArray:
        """(L, D) what the batch uses at most: each row's dearest eligible send on each meter, summed."""
        n = len(eligible)
        limits, channels, arms = self.amount.shape
        hours = self.day.shape[1]
        cells = eligible[:, HOLD + 1 :].reshape(n, channels, hours, arms)
        need = np.zeros(self.shape, dtype=np.int64)
        for limit in range(limits):
            dearest = np.where(cells, self.amount[limit][None, :, None, :], 0).max(axis=(1, 3), initial=0)  # (n, H)
            if self.pooled[limit]:
                need[limit, 0] = dearest.max(axis=1, initial=0).sum()
                continue
            for day in range(self.days):
                need[limit, day] = np.where(self.day == day, dearest, 0).max(axis=1, initial=0).sum()
        return need
