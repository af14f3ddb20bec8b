"""Vectorised zone arithmetic against plain zoneinfo, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError, ParameterError
from engine.time.localtime import (
    datetime_of,
    first_pass,
    hour_end,
    instant_of,
    local_parts,
    require_zone,
    slot_instants,
    zone_names,
)
from engine.types import NOT_AN_INSTANT

ZONES = tuple(sorted(zone_names()))
HOURS = tuple(range(24))
SECOND = timedelta(seconds=1)


def slow_slot(zone: str, hour: int, now: datetime) -> datetime:
    """By steps: the first instant >= now whose wall clock shows the hour; second by second only around the change."""
    info = ZoneInfo(zone)
    at = now
    if at.astimezone(info).hour == hour:
        return at
    step = timedelta(minutes=15)
    while (at + step).astimezone(info).hour != hour:
        at += step
    low, high = 0, int(step / timedelta(microseconds=1))
    while high - low > 1:  # inside one quarter of an hour the clock enters the hour at most once
        middle = (low + high) // 2
        low, high = (
            (low, middle) if (at + timedelta(microseconds=middle)).astimezone(info).hour == hour else (middle, high)
        )
    return at + timedelta(microseconds=high)


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 3, 8, 6, 59, 30, tzinfo=UTC),
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 4, 15, 10, tzinfo=UTC),
        datetime(2026, 11, 1, 5, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 7, 1, 12, 34, 56, 789, tzinfo=UTC),
    ],
    ids=str,
)
def test_every_zone_of_the_database_agrees_with_zoneinfo(now: datetime) -> None:
    """Six hours per zone on the days of the changes; the hours 1 to 3 are where gaps and folds lie."""
    hours = (0, 1, 2, 3, 12, 23)
    fast = slot_instants(ZONES, hours, instant_of(now))
    for row, zone in enumerate(ZONES):
        for column, hour in enumerate(hours):
            assert fast[row, column] == instant_of(slow_slot(zone, hour, now)), (zone, hour)


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    now=st.datetimes(datetime(1990, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC)),
)
def test_any_slot_at_any_time(zone: str, hour: int, now: datetime) -> None:
    assert slot_instants((zone,), (hour,), instant_of(now))[0, 0] == instant_of(slow_slot(zone, hour, now))


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    moments=st.lists(
        st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), min_size=1, max_size=1
    ),
    steps=st.lists(st.integers(0, 5 * 86_400), max_size=8),
)
def test_local_parts_agree_with_zoneinfo(zone: str, moments: list[datetime], steps: list[int]) -> None:
    moments = moments + [moments[0] + step * SECOND for step in steps]
    weekday, minute = local_parts((zone,), np.array([[instant_of(moment) for moment in moments]]))
    local = [moment.astimezone(ZoneInfo(zone)) for moment in moments]
    assert weekday[0].tolist() == [one.weekday() for one in local]
    assert minute[0].tolist() == [one.hour * 60 + one.minute for one in local]


def slot(zone: str, hour: int, now: str) -> str:
    at = slot_instants((zone,), (hour,), instant_of(datetime.fromisoformat(now)))[0, 0]
    return datetime_of(int(at)).astimezone(ZoneInfo(zone)).isoformat()


@pytest.mark.parametrize(
    ("zone", "hour", "now", "planned"),
    [
        ("America/New_York", 9, "2026-07-01T08:15:00-04:00", "2026-07-01T09:00:00-04:00"),
        ("America/New_York", 8, "2026-07-01T08:15:00-04:00", "2026-07-01T08:15:00-04:00"),
        ("America/New_York", 7, "2026-07-01T08:15:00-04:00", "2026-07-02T07:00:00-04:00"),
        # 02:00 does not exist on 8 March: the next day
        ("America/New_York", 2, "2026-03-08T00:30:00-05:00", "2026-03-09T02:00:00-04:00"),
        # 01:00 comes twice on 1 November: the first one, unless it is over
        ("America/New_York", 1, "2026-11-01T00:30:00-04:00", "2026-11-01T01:00:00-04:00"),
        ("America/New_York", 1, "2026-11-01T01:00:00-05:00", "2026-11-01T01:00:00-05:00"),
        ("America/New_York", 1, "2026-11-01T02:00:00-05:00", "2026-11-02T01:00:00-05:00"),
        # half an hour: the clock jumps from 02:00 to 02:30, so the hour 2 begins at 02:30
        ("Australia/Lord_Howe", 2, "2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00"),
        ("Asia/Kathmandu", 9, "2026-10-04T00:00:00+05:45", "2026-10-04T09:00:00+05:45"),
        # Samoa skipped the whole of 30 December 2011
        ("Pacific/Apia", 9, "2011-12-29T22:00:00-10:00", "2011-12-31T09:00:00+14:00"),
    ],
)
def test_slots_by_hand(zone: str, hour: int, now: str, planned: str) -> None:
    assert slot(zone, hour, now) == planned


def test_now_and_foreign_slots() -> None:
    at = slot_instants(("UTC",), ("now", "morning"), 5)
    assert at.tolist() == [[5, NOT_AN_INSTANT]]
    weekday, minute = local_parts(("UTC",), at)
    assert weekday.tolist() == [[3, -1]]
    assert minute.tolist() == [[0, -1]]


def test_hour_end_runs_through_a_repeated_hour() -> None:
    """From the first 01:30 of the fold the hour 1 lasts ninety minutes."""
    first = instant_of(datetime.fromisoformat("2026-11-01T01:30:00-04:00"))
    assert datetime_of(hour_end("America/New_York", first)) == datetime(2026, 11, 1, 7, tzinfo=UTC)
    gap = instant_of(datetime.fromisoformat("2026-03-08T01:30:00-05:00"))
    assert datetime_of(hour_end("America/New_York", gap)) == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_first_pass_waits_for_the_next_occurrence() -> None:
    now = instant_of(datetime(2026, 7, 1, 9, 30, tzinfo=UTC))
    hour = 3_600_000_000
    # open from 09:45 on, inside the running hour
    assert first_pass("UTC", 9, now, lambda at: max(at, now + hour // 4)) == now + hour // 4
    # open from 10:30 on: at 10:00 the slot's next occurrence is tomorrow at 9
    assert first_pass("UTC", 9, now, lambda at: max(at, now + hour)) == now + hour // 2
    assert first_pass("UTC", 9, now, lambda at: None) is None
    assert first_pass("UTC", "now", now, lambda at: at + 1) == now + 1


def test_wrong_zones_and_instants_are_refused() -> None:
    with pytest.raises(DataError, match="America/New_York"):
        require_zone("America/NewYork", where="row 3")
    with pytest.raises(ParameterError, match="UTC offset"):
        instant_of(datetime(2026, 1, 1))
    with pytest.raises(ParameterError, match="1990 to 2199"):
        instant_of(datetime(1989, 12, 31, tzinfo=UTC))
