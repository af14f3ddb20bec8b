"""Weekly windows of local wall time: "mon-sat": ["09:00-20:00"], half-open, may cross midnight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.time.localtime import MINUTES_PER_WEEK
from engine.types import BoolArray

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY: Final = "daily"
_MINUTES_PER_DAY: Final = 1440
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")

WeekSpec = Mapping[str, tuple[str, ...]]


def days_of(key: str) -> tuple[int, ...]:
    """Weekdays (Monday 0) of "mon", "mon-sat", "sat-mon" or "daily".

    Raises:
        ParameterError: another key.
    """
    if key == DAILY:
        return tuple(range(7))
    first, _, last = key.partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ParameterError("days", "a weekly window", allowed=f"{DAILY}, one of {DAYS} or a range of them", got=key)
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return tuple((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def window_minutes(text: str) -> tuple[int, int]:
    """(start, length) in minutes of "09:00-20:00"; an end at or before the start lies on the next day.

    Raises:
        ParameterError: no such window, or one of length 0 (which could mean nothing or everything).
    """
    found = _WINDOW.fullmatch(text)
    start, end = (0, 0) if found is None else (_minutes(found[1], found[2]), _minutes(found[3], found[4]))
    if found is None or end > _MINUTES_PER_DAY or start == end:
        raise ParameterError("window", "a weekly window", allowed="like 09:00-20:00, not empty", got=text)
    return start, (end - start) % _MINUTES_PER_DAY or _MINUTES_PER_DAY


def _minutes(hours: str, minutes: str) -> int:
    return int(hours) * 60 + int(minutes)


def week_table(spec: WeekSpec) -> BoolArray:
    """(10080,) bool: which minutes of the local week (Monday 00:00 first) lie in a window; unnamed days have none.

    Raises:
        ParameterError: unknown days, or a window that cannot be read.
    """
    table = np.zeros(MINUTES_PER_WEEK, dtype=np.bool_)
    for key, windows in spec.items():
        for text in windows:
            start, length = window_minutes(text)
            for day in days_of(key):
                table[(day * _MINUTES_PER_DAY + start + np.arange(length)) % MINUTES_PER_WEEK] = True
    return table
