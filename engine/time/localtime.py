"""Local time of whole batches: every distinct zone is computed once, rows are gathered by zone code.

A slot's planned instant is the first instant at or after now whose local wall clock shows the slot's hour. So an hour
that a daylight-saving gap swallows falls on the next day, and of an hour that a fold repeats the first occurrence that
is not yet over counts. Row by row this costs minutes for a million contacts; per zone, microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from engine.catalog import NOW
from engine.errors import DataError, ParameterError
from engine.time.instants import SPAN, is_possible
from engine.time.zone_names import names_of_people, zone_hint
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, IntArray

MINUTE_US: Final = 60 * MICROSECONDS_PER_S
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
MINUTES_PER_WEEK: Final = 7 * 24 * 60

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY: Final = 3  # weekday of 1970-01-01, Monday is 0
# A week of a slot's occurrences and the days around a far opening; an hour closed on all of them stays closed.
OCCURRENCES: Final = 12
# A slot is at most this far ahead: a whole day, and one more where a gap swallows the hour or the date line moves.
FARTHEST_SLOT_US: Final = 49 * HOUR_US


def instant_of(now: datetime, *, owner: str = "now") -> int:
    """Microseconds since 1970 UTC of an aware datetime.

    Raises:
        ParameterError: a naive datetime, or one outside the years 1990 to 2199.
    """
    if now.tzinfo is None or now.utcoffset() is None:
        raise ParameterError(
            "now", owner, allowed="a datetime with a UTC offset", got=now, hint="write it like 2026-11-03T10:00:00Z"
        )
    instant = (now - _EPOCH) // timedelta(microseconds=1)
    if not is_possible(instant):
        raise ParameterError("now", owner, allowed=SPAN, got=now)
    return instant


def datetime_of(instant: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=int(instant))


def zone_names() -> frozenset[str]:
    """Every name that a contact's zone may have."""
    return names_of_people()


def require_zone(name: str, *, where: str) -> str:
    """The name, if it may be the zone of a person.

    Args:
        where: the row and column, for the error.

    Raises:
        DataError: an unknown name; an absent zone is no error but missing, and rules block it.
    """
    if name in zone_names():
        return name
    raise DataError(
        f"unknown time zone {name!r} in {where}",
        hint=f"{zone_hint(name)}; leave it empty where the zone is not known",
    )


# Neighbouring days look at mostly the same hours: a year of hourly offsets of six zones fits.
@lru_cache(maxsize=65_536)
def _offset_us(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """First second in (low, high] with the offset of `high`."""
    after = _offset_us(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset_us(zone, middle) == after else (middle, high)
    return high


@lru_cache(maxsize=8192)
def segments(zone: str, first_day: int, days: int) -> tuple[tuple[int, int, int], ...]:
    """The runs of constant UTC offset of a zone, found by sampling its offset hourly and bisecting the changes.

    Args:
        zone: an IANA name.
        first_day: UTC days since 1970 at which to begin.
        days: how many days to cover.

    Returns:
        (start, end, offset) in microseconds, adjoining, in order; the last `end` is the end of the cover.
    """
    info = ZoneInfo(zone)
    begin, stop = first_day * 86_400, (first_day + days) * 86_400
    runs: list[tuple[int, int, int]] = []
    start, offset = begin, _offset_us(info, begin)
    for second in range(begin + 3_600, stop + 1, 3_600):
        following = _offset_us(info, second)
        if following != offset:
            change = _change(info, second - 3_600, second)
            runs.append((start * MICROSECONDS_PER_S, change * MICROSECONDS_PER_S, offset))
            start, offset = change, following
    runs.append((start * MICROSECONDS_PER_S, stop * MICROSECONDS_PER_S, offset))
    return tuple(runs)


@lru_cache(maxsize=8192)
def clock_changes(zone: str, first_day: int, days: int) -> tuple[int, ...]:
    """Instants at which a zone's offset changes, in order; of two within a day only what is left of both.

    Args:
        zone: an IANA name.
        first_day: UTC days since 1970 at which to begin.
        days: how many days to look ahead.
    """
    info = ZoneInfo(zone)
    seconds = [(first_day + day) * 86_400 for day in range(days + 1)]
    found = [
        _change(info, low, high) for low, high in pairwise(seconds) if _offset_us(info, low) != _offset_us(info, high)
    ]
    return tuple(second * MICROSECONDS_PER_S for second in found)


def local_us(zone: str, instants: IntArray) -> IntArray:
    """Local wall clock of instants in one zone, as microseconds since local 1970-01-01 00:00; unknown stays unknown."""
    known = instants != NOT_AN_INSTANT
    if not known.any():
        return instants
    first, last = int(instants[known].min()) // DAY_US, int(instants[known].max()) // DAY_US
    runs = segments(zone, first, last - first + 1)
    starts = np.array([run[0] for run in runs[1:]], dtype=np.int64)
    offsets = np.array([run[2] for run in runs], dtype=np.int64)
    return np.where(known, instants + offsets[np.searchsorted(starts, instants, side="right")], NOT_AN_INSTANT)


@lru_cache(maxsize=8192)
def _next_hours(zone: str, now_at: int) -> IntArray:
    """(24,) first instant >= now at which the zone's wall clock shows each hour."""
    best = np.full(24, NOT_AN_INSTANT, dtype=np.int64)
    hours = np.arange(24, dtype=np.int64) * HOUR_US
    for start, end, offset in segments(zone, now_at // DAY_US, 5):
        if end <= now_at:
            continue
        first = max(start, now_at) + offset
        at = first - first % DAY_US + hours
        at = np.where(at + HOUR_US <= first, at + DAY_US, np.maximum(at, first)) - offset
        best = np.where((best == NOT_AN_INSTANT) & (at < end), at, best)
    best.flags.writeable = False
    return best


@lru_cache(maxsize=64)
def slot_instants(zones: tuple[str, ...], hours: tuple[int | str, ...], now_at: int) -> IntArray:
    """Planned instants of the hour slots in each zone.

    Args:
        zones: (Z,) IANA names.
        hours: (H,) local hours 0-23, "now", or foreign labels (which have no instant).
        now_at: the decision's instant.

    Returns:
        (Z, H) int64, read-only; `NOT_AN_INSTANT` for foreign labels.
    """
    out = np.full((len(zones), len(hours)), NOT_AN_INSTANT, dtype=np.int64)
    wall = [(slot, hour) for slot, hour in enumerate(hours) if isinstance(hour, int)]
    for slot, hour in enumerate(hours):
        if hour == NOW:
            out[:, slot] = now_at
    for row, zone in enumerate(zones):
        following = _next_hours(zone, now_at)
        for slot, hour in wall:
            out[row, slot] = following[hour]
    out.flags.writeable = False
    return out


def local_parts(zones: tuple[str, ...], instants: IntArray) -> tuple[IntArray, IntArray]:
    """Weekday and minute of the day of instants, each in its zone.

    Args:
        zones: (Z,) IANA names.
        instants: (Z, ...) int64 microseconds.

    Returns:
        weekday (Z, ...) in 0 (Monday) to 6 and minute (Z, ...) in [0, 1440); -1 where the instant is unknown.
    """
    weekday = np.full(instants.shape, -1, dtype=np.int64)
    minute = np.full(instants.shape, -1, dtype=np.int64)
    for row, zone in enumerate(zones):
        local = local_us(zone, instants[row])
        known = local != NOT_AN_INSTANT
        weekday[row] = np.where(known, (local // DAY_US + _THURSDAY) % 7, -1)
        minute[row] = np.where(known, local % DAY_US // MINUTE_US, -1)
    return weekday, minute


def minute_of_week(zone: str, instants: IntArray) -> IntArray:
    """Minute of the local week (Monday 00:00 is 0) of known instants in one zone."""
    minutes: IntArray = (local_us(zone, instants) + _THURSDAY * DAY_US) // MINUTE_US % MINUTES_PER_WEEK
    return minutes


def hour_end(zone: str, instant: int) -> int:
    """First instant after `instant` at which the zone's wall clock shows another hour."""
    local_hour: int | None = None
    for start, end, offset in segments(zone, instant // DAY_US, 3):
        if end <= instant:
            continue
        local = max(start, instant) + offset
        hour = local % DAY_US // HOUR_US
        if local_hour is not None and hour != local_hour:
            return start
        local_hour = hour
        boundary = local - local % HOUR_US + HOUR_US - offset
        if boundary < end:
            return boundary
    return instant + HOUR_US


def first_pass(
    zone: str, hour: int | str, now_at: int, next_open: Callable[[int], int | None], occurrences: int = OCCURRENCES
) -> int | None:
    """First later `now` at which a slot's planned instant is open.

    Args:
        zone: the contact's zone.
        hour: the slot: 0-23 or "now".
        now_at: an instant at which the slot is closed.
        next_open: from a planned instant to the first open instant at or after it; None where there is none.
        occurrences: days of the slot at which to look.

    Returns:
        None where the slot stays closed on so many occurrences.
    """
    if hour == NOW:
        return next_open(now_at)
    now = now_at
    for _ in range(occurrences):
        planned = int(slot_instants((zone,), (hour,), now)[0, 0])
        opens = next_open(planned)
        if opens is None:
            return None
        if opens == planned:
            return now
        leaves = hour_end(zone, planned)
        if opens < leaves:
            return opens
        # Every slot planned from before `opens - FARTHEST_SLOT_US` lies before `opens`, hence is closed.
        now = max(leaves, opens - FARTHEST_SLOT_US)
    return None
