"""Missing decisions: days without any inside the log's span, and days with hardly any."""

from __future__ import annotations

import numpy as np

from engine.audit.block import NO_DAY, AuditBlock
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.audit.windows import DaySums, day_name

NAME = "missing_decisions"
ADVICE = "a file or a batch may be missing: compare the number of decisions by day with the sender's own count"
# A day with less than this share of the median day's decisions counts as empty.
_HARDLY = 0.02


class Calendar:
    """Rows by day."""

    def __init__(self) -> None:
        self._rows = DaySums()
        self._timeless = 0

    def add(self, block: AuditBlock) -> None:
        self._timeless += int((block.day == NO_DAY).sum())
        ones = np.ones(block.n)
        self._rows.add(block.day, lambda rows: np.array([ones[rows].sum()]))

    def merge(self, other: Calendar) -> None:
        self._rows.merge(other._rows)
        self._timeless += other._timeless

    def finding(self, rule: AuditRule) -> Finding:
        """Share of the span's days that are empty."""
        days = self._rows.days
        if not days:
            return not_applicable(NAME, "no row says when it was decided")
        counts = np.array([self._rows.of(day)[0] for day in days])
        hardly = [day_name(day) for day, count in zip(days, counts, strict=True) if count < _HARDLY * np.median(counts)]
        span = days[-1] - days[0] + 1
        known = set(days)
        empty = [day_name(day) for day in range(days[0], days[-1]) if day not in known] if span < 4000 else []
        share = (span - len(days) + len(hardly)) / span
        shown = ", ".join([*empty, *hardly][:5])
        what = f"{span - len(days)} of {span} days have no decision, {len(hardly)} hardly any"
        what += f" ({shown})" if shown else ""
        what += f"; {self._timeless} rows have no instant" if self._timeless else ""
        if len(days) < span / 2:
            return not_applicable(NAME, f"decisions are taken on {len(days)} of {span} days: no day is missed")
        found = graded(NAME, share, rule.empty_days, what, ADVICE)
        found.details.update(
            days=len(days), rows_by_day={day_name(d): int(c) for d, c in zip(days, counts, strict=True)}
        )
        return found
