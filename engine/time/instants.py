"""Which numbers can be instants: from 1990 to the end of 2199, and what a number that is none may be.

Every reader of instants (contacts, facts, outcomes, foreign logs, `--now`) asks here. A spreadsheet's serial number
read as epoch seconds lies in 1970, where it is older than every window, and every cap opens; so it must be an error.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, IntArray

EARLIEST: Final = 631_152_000 * MICROSECONDS_PER_S  # 1990-01-01 UTC
END: Final = 7_258_118_400 * MICROSECONDS_PER_S  # 2200-01-01 UTC
SPAN: Final = "in the years 1990 to 2199"
ISO_HINT: Final = "write ISO 8601 with an offset, like 2026-11-03T10:00:00Z"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Days since 1899-12-30, as spreadsheets count: 1954 to 2119.
_SERIALS: Final = (20_000.0, 80_000.0)


def iso_instants(texts: list[str | None]) -> IntArray:
    """(n,) microseconds of ISO 8601 texts with an offset, of any year; `NOT_AN_INSTANT` where a text is none.

    pandas before 3 counts nanoseconds and knows no year outside 1677 to 2262; those texts are read one by one.
    """
    parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce")
    known = parsed.notna().to_numpy()
    micros = np.full(len(texts), NOT_AN_INSTANT, dtype=np.int64)
    micros[known] = parsed[known].dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    for row in np.flatnonzero(~known).tolist():
        text = texts[row]
        with suppress(TypeError, ValueError, OverflowError):
            since = datetime.fromisoformat(text.strip()).astimezone(UTC) - _EPOCH if text else None
            micros[row] = NOT_AN_INSTANT if since is None else since // timedelta(microseconds=1)
    return micros


def impossible(instants: IntArray) -> BoolArray:
    """(n,) instants (microseconds) outside the years 1990 to 2199; unknown ones are not among them."""
    wrong: BoolArray = (instants != NOT_AN_INSTANT) & ((instants < EARLIEST) | (instants >= END))
    return wrong


def is_possible(instant: Any) -> bool:
    """Whether a value is an instant: int microseconds in 1990 to 2199; true and false are none."""
    whole = isinstance(instant, int | np.integer) and not isinstance(instant, bool | np.bool_)
    return whole and EARLIEST <= int(instant) < END


def number_hint(number: float) -> str:
    """What a number that is no epoch second of these years may be, and how to write it."""
    size = abs(number)
    if _SERIALS[0] <= number < _SERIALS[1]:
        return f"this looks like the serial number of a spreadsheet (days since 1900), like 46189.375; {ISO_HINT}"
    for unit, factor in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if EARLIEST / MICROSECONDS_PER_S <= size / factor < END / MICROSECONDS_PER_S:
            return f"these look like {unit}; divide by {factor:.0f}, or {ISO_HINT}"
    return f"epoch seconds of these years are 631152000 to 7258118399; {ISO_HINT}"


def value_hint(value: Any) -> str:
    """`number_hint` of a value as it was given, where it is a number; else how instants are written."""
    if isinstance(value, bool):
        return f"{value!r} is no instant; leave it out where none is known, or {ISO_HINT}"
    try:
        return number_hint(float(value))
    except (TypeError, ValueError, OverflowError):
        return f"leave it out where it is not known or has no end, or {ISO_HINT}"
