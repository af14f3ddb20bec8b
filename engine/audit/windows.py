"""Sums by day, merged into months and the whole log: a fault of one month hides in a sum over a year."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from engine.audit.batch import NO_DAY
from engine.types import FloatArray, IntArray

WHOLE = "whole log"


class DaySums:
    """Arrays of one shape by day; mergeable, memory grows with days and not with rows."""

    def __init__(self) -> None:
        self._days: dict[int, FloatArray] = {}

    def add(self, day: IntArray, sums: Callable[[slice | IntArray], FloatArray]) -> None:
        """Add rows.

        Args:
            day: (m,) of the rows.
            sums: gives the sums of the rows at some positions.
        """
        for one in np.unique(day).tolist():
            rows = np.flatnonzero(day == one)
            self._plus(one, sums(slice(None) if len(rows) == len(day) else rows))

    def merge(self, other: DaySums) -> None:
        """Take over the sums of another part of the log."""
        for day, sums in other._days.items():
            self._plus(day, sums)

    def _plus(self, day: int, sums: FloatArray) -> None:
        known = self._days.get(day)
        self._days[day] = sums if known is None else known + sums

    @property
    def days(self) -> list[int]:
        """Days that have rows, in order; unknown ones are not among them."""
        return sorted(day for day in self._days if day != NO_DAY)

    def of(self, day: int) -> FloatArray:
        return self._days[day]

    def whole(self) -> FloatArray | None:
        """Over the whole log; None where there is no row."""
        parts = [self._days[day] for day in sorted(self._days)]
        return np.sum(parts, axis=0) if parts else None

    def windows(self) -> Iterator[tuple[str, FloatArray]]:
        """The whole log, each month and each day, with their names; of windows with the same rows only the longest."""
        whole = self.whole()
        if whole is None:
            return
        yield WHOLE, whole
        months: dict[str, list[int]] = {}
        for day in self.days:
            months.setdefault(day_name(day)[:7], []).append(day)
        if len(months) > 1:
            for month, days in months.items():
                yield month, np.sum([self._days[day] for day in days], axis=0)
        if len(self.days) > 1:
            for days in months.values():
                if len(days) > 1 or len(months) == 1:
                    for day in days:
                        yield day_name(day), self._days[day]


def day_name(day: int) -> str:
    """A day since 1970 as YYYY-MM-DD."""
    return str(np.datetime64(int(day), "D"))
