"""Quiet hours in the contact's own time zone (catalogue Q1-Q12).

A slot passes only where the whole span from its planned instant to the latest real send (latency margin) lies inside
the windows of its channel. Windows are half-open: a send at exactly 20:00:00 is outside "09:00-20:00". A slot
without a planned instant (unknown zone) is removed for every purpose: nobody can tell when it would arrive.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.guardrails.windows import week_table
from engine.localtime import DAY_US, MINUTE_US, first_pass, local_parts, minute_of_week, slot_instants
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

OTHERWISE = "*"
_SEARCHED_DAYS = 9  # a week, and a day more at each end


class QuietHoursRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Removes slots that may arrive outside their channel's windows.

    Attributes:
        windows: channel -> days -> windows ("09:00-20:00"); "*" for channels without an entry. A channel without
            either has no window: nothing may be sent on it.
        applies_to: purposes to which the windows apply.
    """

    windows: dict[str, dict[str, tuple[str, ...]]]
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        for purpose in self.applies_to:
            if purpose not in PURPOSES:
                raise ParameterError("applies_to", "quiet_hours", allowed=f"among {PURPOSES}", got=purpose)
        _ = self._tables

    @property
    def reads(self) -> tuple[str, ...]:
        return ("zone",)

    @cached_property
    def _tables(self) -> dict[str, BoolArray]:
        return {channel: week_table(spec) for channel, spec in self.windows.items()}

    def _tables_of(self, channels: tuple[str, ...]) -> BoolArray:
        """(C, 10080) windows of the catalog's channels."""
        closed = week_table({})
        fallback = self._tables.get(OTHERWISE, closed)
        return np.stack([self._tables.get(channel, fallback) for channel in channels])

    def verdict(self, scene: Scene) -> Verdict:
        """By zone first, then gathered."""
        channels, hours, _ = scene.catalog.shape
        tables = self._tables_of(scene.catalog.channels)
        zones = scene.contacts.zones
        # The last row is the unknown zone: closed whatever the purpose.
        by_zone = np.ones((len(zones) + 1, len(PURPOSES), channels, hours), dtype=np.bool_)
        scope = purpose_mask(self.applies_to)
        for row, zone in enumerate(zones):
            known = scene.slots[row] != NOT_AN_INSTANT
            minutes = _slot_minutes(zone, scene.catalog.hours, scene.now_at, scene.margin_us)
            is_open = np.zeros((channels, hours), dtype=np.bool_)
            is_open[:, known] = tables[:, minutes].all(axis=-1)
            by_zone[row, scope] = ~is_open
            by_zone[row, ~scope] = ~known
        return Verdict(channel_hour=by_zone[scene.contacts.zone_code])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The planned local time against the windows."""
        zone = scene.zone(row)
        planned = int(scene.planned[row, cell.hour])
        channel = scene.catalog.channels[cell.channel]
        windows = self.windows.get(channel, self.windows.get(OTHERWISE, {}))
        if zone is None or planned == NOT_AN_INSTANT:
            return Finding("unknown", windows, "the contact's time zone is unknown, so no local time can be kept")
        weekday, minute = (int(part[0, 0]) for part in local_parts((zone,), np.array([[planned]])))
        local = f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[weekday]} {minute // 60:02d}:{minute % 60:02d}"
        table = self._tables_of((channel,))[0]
        following = first_pass(
            zone, scene.catalog.hours[cell.hour], scene.now_at, _OpenSearch(table, zone, scene.margin_us)
        )
        reason = f"{channel} at {local} ({zone}), up to {scene.latency_margin_s} s later, is not inside a window"
        return Finding(local, windows, reason, following)


@lru_cache(maxsize=4096)
def _slot_minutes(zone: str, hours: tuple[int | str, ...], now_at: int, margin_us: int) -> IntArray:
    """`_minutes` of the slots that have an instant; kept, because every block of contacts asks again."""
    slots = slot_instants((zone,), hours, now_at)[0]
    return _minutes(zone, slots[slots != NOT_AN_INSTANT], margin_us)


def _minutes(zone: str, instants: IntArray, margin_us: int) -> IntArray:
    """(n, S) minutes of the local week at which to look for each span [t, t + margin].

    Windows and gaps between them are whole local minutes, so one look per minute and one at the end misses nothing.
    """
    steps = np.append(np.arange(0, margin_us, MINUTE_US), margin_us)
    return minute_of_week(zone, instants[:, None] + steps)


class _OpenSearch:
    """First open instant at or after a planned one: openings happen at whole minutes."""

    def __init__(self, table: BoolArray, zone: str, margin_us: int) -> None:
        self._table, self._zone, self._margin_us = table, zone, margin_us

    def __call__(self, planned: int) -> int | None:
        if self._is_open(np.array([planned]))[0]:
            return planned
        begin = planned - planned % MINUTE_US + MINUTE_US
        for day in range(_SEARCHED_DAYS):
            marks = begin + day * DAY_US + np.arange(0, DAY_US, MINUTE_US)
            hits = np.flatnonzero(self._is_open(marks))
            if len(hits):
                return int(marks[hits[0]])
        return None

    def _is_open(self, instants: IntArray) -> BoolArray:
        looks = self._table[_minutes(self._zone, instants, self._margin_us)]
        inside: BoolArray = np.logical_and.reduce(looks, axis=-1)
        return inside


RULE = QuietHoursRule
