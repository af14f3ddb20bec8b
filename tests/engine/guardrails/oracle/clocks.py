"""Wall clocks, asked of zoneinfo moment by moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STEP, SECOND = timedelta(minutes=10), timedelta(seconds=1)
# A slot lies within two days even where a gap swallows its hour or the date line moves; unknown zones plan for that.
FARTHEST = timedelta(hours=49)


@lru_cache(maxsize=100_000)
def hours_ahead(zone: str, now: datetime) -> dict[int, datetime]:
    """When the clock of a zone next shows each hour: now itself where it shows it now."""
    info = ZoneInfo(zone)
    at = now
    shown = now.astimezone(info).hour
    first = {shown: now}
    while len(first) < 24:
        following = at + STEP
        hour = following.astimezone(info).hour
        if hour != shown:
            begins = _begin(info, at, following)
            first.setdefault(hour, begins)
            shown = hour
        at = following
    return first


def _begin(info: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The whole second in (low, high] from which the clock shows the hour of `high`."""
    hour = high.astimezone(info).hour
    low = low.replace(microsecond=0)
    while high - low > SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds() / 2 + 0.5))
        low, high = (low, middle) if middle.astimezone(info).hour == hour else (middle, high)
    return high.replace(microsecond=0)


def planned(zone: str | None, hour: int | str, now: datetime) -> datetime | None:
    """When a slot would be sent; None where no clock is known, or for a label that is no hour."""
    if hour == "now":
        return now
    if zone is None or isinstance(hour, str):
        return None
    return hours_ahead(zone, now)[hour]


@lru_cache(maxsize=10_000)
def windows_of(text: str) -> tuple[int, int]:
    """(start, end) in minutes after midnight of "09:00-20:00"; an end not after the start lies on the next day."""
    start, end = ((int(part[:2]) * 60 + int(part[3:])) for part in text.split("-"))
    return start, end if end > start else end + 1440


def days_named(key: str) -> list[str]:
    if key == "daily":
        return list(DAYS)
    first, _, last = key.partition("-")
    named = [first]
    while named[-1] != (last or first):
        named.append(DAYS[(DAYS.index(named[-1]) + 1) % 7])
    return named


def inside(week: dict[str, list[str]], zone: str, at: datetime) -> bool:
    """Whether the clock of a zone stands in a window, one that began today or one that began yesterday."""
    local = at.astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    today = local.weekday()
    for key, texts in week.items():
        named = days_named(key)
        for start, end in map(windows_of, texts):
            if DAYS[today] in named and start <= minute < end:
                return True
            if DAYS[today - 1] in named and start <= minute + 1440 < end:
                return True
    return False


def moments(start: datetime, end: datetime) -> list[datetime]:
    """Both ends and every half minute between them: no clock of our time changes in between."""
    found, at = [start], start.replace(second=30 if start.second >= 30 else 0, microsecond=0)
    while (at := at + timedelta(seconds=30)) < end:
        found.append(at)
    return [*found, end]
