"""Whole spans of local time: from a planned instant to the latest real send, in every zone where a contact may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from engine.guardrails.hours.places import Whereabouts
from engine.guardrails.rule import Scene
from engine.time.localtime import (
    DAY_US,
    FARTHEST_SLOT_US,
    MINUTE_US,
    OCCURRENCES,
    clock_changes,
    first_pass,
    local_parts,
    minute_of_week,
    slot_instants,
)
from engine.types import NOT_AN_INSTANT, BoolArray, IntArray

_SEARCHED_DAYS = 9  # a week, and a day more at each end
_SEARCHED_CHANGES_DAYS = 400  # every change of a year
_DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# From instants (S,) to whether each may be a planned one.
IsOpen = Callable[[IntArray], BoolArray]

_MOST_KEPT: Final = 100_000
# Searches that remember their days, a kilobyte and a half each: actions of one contact, and contacts of one place, ask
# for the same days again.
_SEARCHES: Final = 64


class KeptSlots:
    """(H,) flags by group of contacts, of one decision instant: every block of contacts asks for the same again."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._kept: dict[Whereabouts, BoolArray] = {}

    def rows(
        self, scene: Scene, groups: Sequence[Whereabouts], make: Callable[[Whereabouts], BoolArray]
    ) -> list[BoolArray]:
        """What `make` gives for each group, made once per scene's hours, instant and margin."""
        of = (scene.catalog.hours, scene.now_at, scene.latency_margin_s)
        kept = self._kept
        if of != self._of or len(kept) > _MOST_KEPT:
            kept = {}
        found = []
        for group in groups:
            flags = kept.get(group)
            if flags is None:
                flags = kept[group] = make(group)
            found.append(flags)
        self._of, self._kept = of, kept
        return found


def span_minutes(zone: str, instants: IntArray, margin_us: int) -> IntArray:
    """(S, L) minutes of the local week at which to look for each span [t, t + margin].

    Windows and gaps between them are whole local minutes, so one look per minute and one at the end misses nothing.
    """
    steps = np.append(np.arange(0, margin_us, MINUTE_US), margin_us)
    return minute_of_week(zone, instants[:, None] + steps)


@lru_cache(maxsize=8192)
def slot_minutes(zone: str, reference: str, hours: tuple[int | str, ...], now_at: int, margin_us: int) -> IntArray:
    """`span_minutes` in one zone of the slots that have an instant in the reference zone.

    Kept, because every block of contacts asks again.
    """
    slots = slot_instants((reference,), hours, now_at)[0]
    return span_minutes(zone, slots[slots != NOT_AN_INSTANT], margin_us)


def open_slots(tables: BoolArray, group: Whereabouts, scene: Scene) -> BoolArray:
    """(C, H) whether the whole span of each slot lies inside weekly windows, in every plausible zone.

    Args:
        tables: (C, 10080) windows.
        group: contacts with a known zone.
        scene: gives the slots.
    """
    hours = scene.catalog.hours
    is_open = np.zeros((len(tables), len(hours)), dtype=np.bool_)
    if group.zone is None:
        return is_open
    planned = slot_instants((group.zone,), hours, scene.now_at)[0]
    known = planned != NOT_AN_INSTANT
    inside = np.ones((len(tables), int(known.sum())), dtype=np.bool_)
    for zone in group.zones:
        minutes = slot_minutes(zone, group.zone, hours, scene.now_at, scene.margin_us)
        inside &= tables[:, minutes].all(axis=-1)
    is_open[:, known] = inside
    return is_open


def inside_windows(table: BoolArray, group: Whereabouts, margin_us: int) -> IsOpen:
    """Whether spans from any instants lie inside weekly windows (10080,), in every plausible zone.

    The same function for the same windows, zones and margin: a search remembers what it has seen of it.
    """
    return _inside_all(table.tobytes(), group.zones, margin_us)


@lru_cache(maxsize=_SEARCHES)
def _inside_all(table: bytes, zones: tuple[str, ...], margin_us: int) -> IsOpen:
    flags = np.frombuffer(table, dtype=np.bool_)

    def is_open(instants: IntArray) -> BoolArray:
        inside: BoolArray = np.logical_and.reduce([_inside(flags, zone, instants, margin_us) for zone in zones])
        return inside

    return is_open


def _inside(table: BoolArray, zone: str, instants: IntArray, margin_us: int) -> BoolArray:
    """(S,) whether each span [t, t + margin] lies inside weekly windows in one zone.

    Spans that begin minute after minute look at the same minutes: each is looked up once.
    """
    if len(instants) < 2 or (np.diff(instants) != MINUTE_US).any():
        alone: BoolArray = np.logical_and.reduce(table[span_minutes(zone, instants, margin_us)], axis=-1)
        return alone
    whole = margin_us // MINUTE_US
    minutes = minute_of_week(zone, instants[0] + MINUTE_US * np.arange(len(instants) + whole))
    closed = np.cumsum(np.append(False, ~table[minutes]))
    inside: BoolArray = closed[whole + 1 :] == closed[: len(instants)]
    if margin_us % MINUTE_US:
        inside &= table[minute_of_week(zone, instants + margin_us)]
    return inside


def next_pass(
    group: Whereabouts, hour: int | str, now_at: int, is_open: IsOpen, turns: Sequence[int] = ()
) -> int | None:
    """First later decision at which a slot's span is open; None where it never is in more than a year.

    What repeats every week is known after a week; what was closed then can only open where a clock of the contact's
    zones changes, or at an instant of its own.

    Args:
        group: whereabouts of the contact.
        hour: the slot.
        now_at: an instant at which the slot is closed.
        is_open: says which planned instants are open.
        turns: further instants at which something may open.
    """
    if group.zone is None:
        return None
    search = _search(is_open)
    found = first_pass(group.zone, hour, now_at, search)
    if found is not None:
        return found
    changes = {at for zone in group.zones for at in clock_changes(zone, now_at // DAY_US, _SEARCHED_CHANGES_DAYS)}
    # In one zone a change moves only the slots beside it; between two it moves their clocks against each other.
    looks = OCCURRENCES if len(group.zones) > 1 or turns else 4
    for turn in sorted({*changes, *turns}):
        begin = turn - FARTHEST_SLOT_US
        found = first_pass(group.zone, hour, max(begin, now_at), search, looks) if turn > now_at else None
        if found is not None:
            return found
    return None


class _OpenSearch:
    """First open instant at or after a planned one: openings happen at whole minutes.

    Searches from one day to the next look at mostly the same minutes, so each day's are kept.

    Args:
        is_open: says the same of an instant whenever it is asked.
    """

    def __init__(self, is_open: IsOpen) -> None:
        self._is_open = is_open
        self._days: dict[int, BoolArray] = {}

    def __call__(self, planned: int) -> int | None:
        if self._at(planned):
            return planned
        begin = planned - planned % MINUTE_US + MINUTE_US
        day, end = begin // DAY_US, begin + _SEARCHED_DAYS * DAY_US
        while day * DAY_US < end:
            hits = np.flatnonzero(self._day(day)[max(begin - day * DAY_US, 0) // MINUTE_US :])
            if len(hits):
                found = max(begin, day * DAY_US) + int(hits[0]) * MINUTE_US
                return found if found < end else None
            day += 1
        return None

    def _at(self, planned: int) -> bool:
        day, within = divmod(planned, DAY_US)
        if day in self._days and within % MINUTE_US == 0:
            return bool(self._days[day][within // MINUTE_US])
        return bool(self._is_open(np.array([planned]))[0])

    def _day(self, day: int) -> BoolArray:
        """(1440,) the open minutes of a UTC day."""
        if day not in self._days:
            self._days[day] = self._is_open(day * DAY_US + np.arange(0, DAY_US, MINUTE_US))
        return self._days[day]


@lru_cache(maxsize=_SEARCHES)
def _search(is_open: IsOpen) -> _OpenSearch:
    return _OpenSearch(is_open)


def local_time(zone: str, instant: int) -> str:
    """ "Tue 19:50" of an instant in a zone."""
    weekday, minute = (int(part[0, 0]) for part in local_parts((zone,), np.array([[instant]])))
    return f"{_DAY_NAMES[weekday]} {minute // 60:02d}:{minute % 60:02d}"
