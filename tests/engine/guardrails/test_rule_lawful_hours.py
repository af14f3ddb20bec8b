"""Hours by state, holidays, and contacts who may be in several zones."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.guardrails.hours.local import inside_windows
from engine.guardrails.hours.places import Whereabouts
from engine.guardrails.hours.weekly import week_table
from engine.guardrails.pack import load_pack
from engine.guardrails.registry import make_rule
from engine.time.localtime import MINUTE_US, instant_of
from tests.engine.guardrails.one_contact import found, left, one, rule, utc

NEW_YORK = ZoneInfo("America/New_York")
LAWS = [
    {"id": "federal", "country": "US", "windows": {"daily": ["08:00-21:00"]}, "source": "t"},
    {"id": "florida", "country": "US", "states": ["FL"], "windows": {"daily": ["08:00-20:00"]}, "source": "t"},
    {"id": "kentucky", "country": "US", "states": ["KY"], "windows": {"daily": ["10:00-21:00"]}, "source": "t"},
    {
        "id": "texas",
        "country": "US",
        "states": ["TX"],
        "windows": {"mon-sat": ["09:00-21:00"], "sun": ["12:00-21:00"]},
        "source": "t",
    },
    {"id": "france", "country": "FR", "windows": {"mon-sat": ["08:00-22:00"]}, "source": "t"},
]
HOURS = rule("state_hours", hours=LAWS)
TUESDAY = datetime(2026, 11, 3, 0, 30, tzinfo=NEW_YORK)
SUNDAY = datetime(2026, 11, 8, 0, 30, tzinfo=NEW_YORK)


def texts(
    made: object, now: datetime = TUESDAY, zone: str | None = "America/New_York", **facts: str | None
) -> list[int]:
    """Hours of promotional texts that a rule leaves."""
    kept = left(made, one(zone, **facts), now)  # type: ignore[arg-type]
    return [hour for hour in range(24) if f"sms|{hour}|promo" in kept]


@pytest.mark.parametrize(
    ("state", "area", "expected"),
    [
        ("NY", "NY", range(8, 21)),
        ("FL", "NY", range(8, 20)),
        ("NY", "FL", range(8, 20)),  # the stricter of residence and area code
        ("FL", "KY", range(10, 20)),
        ("NY", "", range(8, 21)),  # no phone number of the plan
        (None, "NY", range(10, 20)),  # may live anywhere: the intersection of all
        ("NY", None, range(10, 20)),
        (None, None, range(10, 20)),
    ],
)
def test_the_stricter_state_wins(state: str | None, area: str | None, expected: range) -> None:
    assert texts(HOURS, country="US", state=state, area_state=area) == list(expected)


def test_sundays_are_days_of_their_own() -> None:
    assert texts(HOURS, SUNDAY, country="US", state="TX", area_state="TX") == list(range(12, 21))
    assert texts(HOURS, TUESDAY, country="US", state="TX", area_state="TX") == list(range(9, 21))
    assert texts(HOURS, SUNDAY, country="FR", state="", area_state="") == []


def test_other_countries_and_unknown_ones() -> None:
    """An area code of Florida is presumed to be a resident's, wherever the contact is said to live."""
    assert texts(HOURS, country="DE", state="", area_state="") == list(range(24))
    assert texts(HOURS, country="DE", state=None, area_state=None) == list(range(24))
    assert texts(HOURS, country="DE", state="", area_state="FL") == list(range(8, 20))
    assert texts(HOURS, country=None, state=None, area_state=None) == list(range(10, 20))
    assert texts(HOURS, SUNDAY) == []  # nothing known: France may hold, where Sunday is closed


def test_other_channels_and_purposes_are_left_alone() -> None:
    kept = left(HOURS, one(country="US"), TUESDAY)
    assert {"email|3|promo", "sms|3|receipt"} <= kept


def test_without_zone_no_text() -> None:
    assert texts(HOURS, zone=None, country="US", state="NY", area_state="NY") == []
    assert texts(HOURS, zone=None, country="DE", state="", area_state="") == list(range(24))
    assert found(HOURS, one(None, country="US"), TUESDAY, "sms|9|promo").observed == "unknown"


QUIET = rule("quiet_hours", windows={"*": {"daily": ["09:00-20:00"]}})


def test_hours_hold_in_every_plausible_zone() -> None:
    """Slots are hours of New York; in Chicago it is an hour earlier, in Honolulu five."""
    assert texts(QUIET) == list(range(9, 20))
    assert texts(QUIET, plausible_zones="America/New_York,America/Chicago") == list(range(10, 20))
    assert texts(QUIET, plausible_zones="America/New_York,Pacific/Honolulu") == list(range(14, 20))
    assert texts(QUIET, plausible_zones="America/New_York,Asia/Tokyo") == [19]  # 09:00 in Tokyo
    assert texts(QUIET, zone=None, plausible_zones="America/New_York") == []


def test_noon_in_tokyo_is_checked_by_the_clock() -> None:
    """New York's 19:00 is 09:00 in Tokyo, its 20:00 is 10:00: only 19:00 is open in both."""
    now = datetime(2026, 11, 3, 10, 30, tzinfo=NEW_YORK)
    assert texts(QUIET, now, plausible_zones="America/New_York,Asia/Tokyo") == [19]


def test_next_allowed_is_open_in_every_zone() -> None:
    contact = one(plausible_zones="America/New_York,America/Chicago")
    night = datetime(2026, 11, 3, 21, 0, tzinfo=NEW_YORK)
    following = found(QUIET, contact, night, "sms|now|promo").next_allowed_at
    assert following == instant_of(datetime(2026, 11, 4, 10, 0, tzinfo=NEW_YORK))


@given(
    st.integers(0, 7 * 24 * 60),
    st.sampled_from(["NY", "FL", "KY", "TX", None]),
    st.sampled_from(["FL", "KY", "", None]),
)
def test_more_unknown_is_never_looser(minute: int, state: str | None, area: str | None) -> None:
    now = utc(2026, 11, 1) + timedelta(minutes=minute)
    known = left(HOURS, one(country="US", state=state, area_state=area), now)
    assert left(HOURS, one(country="US", state=None, area_state=area), now) <= known
    assert left(HOURS, one(country="US", state=state, area_state=None), now) <= known
    assert left(HOURS, one(country=None, state=state, area_state=area), now) <= known


DAYS = {"US": ["2026-11-26", "2026-12-25"], "US-LA": ["2026-11-03"]}
HOLIDAYS = rule("holidays", days=DAYS, covers=["2026-01-01", "2027-01-01"])


def test_no_texts_on_holidays() -> None:
    eve = datetime(2026, 11, 25, 15, 0, tzinfo=NEW_YORK)
    us = {"country": "US", "state": "NY", "area_state": "NY"}
    assert texts(HOLIDAYS, eve, **us) == list(range(15, 24))  # from midnight on it is Thanksgiving
    assert texts(HOLIDAYS, eve, country="DE", state="", area_state="") == list(range(24))
    assert texts(HOLIDAYS, TUESDAY, **us) == list(range(24))
    assert texts(HOLIDAYS, TUESDAY, **(us | {"state": None})) == []  # maybe Louisiana, which votes


def test_the_queue_must_not_carry_a_text_into_a_holiday() -> None:
    us = one(country="US", state="NY", area_state="NY")
    late = datetime(2026, 11, 25, 23, 50, tzinfo=NEW_YORK)
    assert "sms|now|promo" in left(HOLIDAYS, us, late - timedelta(microseconds=1))
    assert "sms|now|promo" not in left(HOLIDAYS, us, late)
    following = found(HOLIDAYS, us, late, "sms|now|promo").next_allowed_at
    assert following == instant_of(datetime(2026, 11, 27, tzinfo=NEW_YORK))


def test_uncovered_years_are_closed() -> None:
    us = {"country": "US", "state": "NY", "area_state": "NY"}
    for now in (datetime(2027, 3, 3, 9, tzinfo=NEW_YORK), datetime(2025, 3, 3, 9, tzinfo=NEW_YORK)):
        assert texts(HOLIDAYS, now, **us) == []


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("state_hours", {"hours": []}),
        ("state_hours", {"hours": [LAWS[0] | {"country": "UK"}]}),
        ("state_hours", {"hours": [LAWS[1] | {"states": ["ON"]}]}),
        ("state_hours", {"hours": [LAWS[0] | {"windows": {}}]}),
        ("state_hours", {"hours": LAWS, "applies_to": ["fun"]}),
        ("holidays", {"days": {}, "covers": ["2026-01-01", "2027-01-01"]}),
        ("holidays", {"days": {"US-XX": []}, "covers": ["2026-01-01", "2027-01-01"]}),
        ("holidays", {"days": {"US": ["2027-01-01"]}, "covers": ["2026-01-01", "2027-01-01"]}),
        ("holidays", {"days": DAYS, "covers": ["2027-01-01", "2026-01-01"]}),
        ("holidays", {"days": DAYS, "covers": ["2026-01-01", "2027-01-01"], "applies_to": ["fun"]}),
    ],
)
def test_parameters_are_checked(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        make_rule(name, params)


def test_the_full_pack_is_valid_and_conforms() -> None:
    """Every entry makes a rule, and unknown whereabouts leave the intersection 12:00-17:00 on Sundays."""
    pack = load_pack("full")
    rules = {entry.id: make_rule(entry.rule, entry.params) for entry in pack.rules}
    assert texts(rules["Q1-Q8"], TUESDAY, country="US", state=None, area_state=None) == list(range(10, 18))
    assert texts(rules["Q1-Q8"], SUNDAY, country="US", state=None, area_state=None) == list(range(12, 17))
    assert np.all([entry.source for entry in pack.rules])


def test_a_clock_change_opens_what_was_closed_all_summer() -> None:
    """09:00 in New York is 06:00 in Phoenix in summer, and 07:00 from 1 November: only then both are awake."""
    windows = rule("quiet_hours", windows={"*": {"daily": ["07:00-21:00"]}})
    contact = one(plausible_zones="America/Phoenix")
    summer = utc(2026, 6, 15, 15)
    following = found(windows, contact, summer, "sms|9|promo").next_allowed_at
    # The last slot of summer is over at 10:00 in New York on 31 October, 14:00 UTC.
    assert following == instant_of(utc(2026, 10, 31, 14))
    assert "sms|9|promo" in left(windows, contact, utc(2026, 10, 31, 14))
    assert "sms|9|promo" not in left(windows, contact, utc(2026, 10, 31, 13))


def test_two_zones_that_are_never_awake_together_until_a_clock_changes() -> None:
    """07:00-09:30 in both: 09:00 in New York is 06:00 in Phoenix in summer, 07:00 in winter, from 1 November."""
    windows = rule("quiet_hours", windows={"*": {"daily": ["07:00-09:30"]}})
    contact = one(plausible_zones="America/New_York,America/Phoenix")
    finding = found(windows, contact, utc(2026, 6, 15, 15), "sms|now|promo")
    assert finding.next_allowed_at == instant_of(utc(2026, 11, 1, 14))


def test_an_hour_that_never_comes_stays_closed() -> None:
    windows = rule("quiet_hours", windows={"*": {"daily": ["09:00-20:00"]}})
    assert found(windows, one(), utc(2026, 6, 15, 15), "sms|3|promo").next_allowed_at is None


def test_holidays_end_after_a_long_run_and_begin_to_be_known() -> None:
    """All of August is off, and nothing is known before 2027."""
    days = [date(2027, 8, day) for day in range(1, 32)]
    away = rule("holidays", days={"US": days}, covers=[date(2027, 1, 1), date(2028, 1, 1)])
    us = one("UTC", country="US", state="NY", area_state="NY")
    assert found(away, us, utc(2027, 8, 2, 12), "sms|now|promo").next_allowed_at == instant_of(utc(2027, 9, 1))
    assert found(away, us, utc(2026, 11, 2, 12), "sms|now|promo").next_allowed_at == instant_of(utc(2027, 1, 1))
    assert found(away, us, utc(2028, 2, 2, 12), "sms|now|promo").next_allowed_at is None


@pytest.mark.parametrize("margin_us", [0, 59_000_000, 60_000_000, 600_000_000, 600_000_007, 3_661_000_000])
def test_a_run_of_minutes_is_judged_as_each_alone(margin_us: int) -> None:
    """Over both changes of the clock, in zones that change it by an hour, by half of one, and never."""
    table = week_table({"mon-sat": ["08:00-11:30", "11:31-20:00"], "sun": ["00:00-02:30"]})
    for zones in (("America/New_York",), ("Australia/Lord_Howe", "Asia/Kathmandu")):
        is_open = inside_windows(table, Whereabouts(zones[0], zones, ()), margin_us)
        for begin in (utc(2026, 3, 7, 20), utc(2026, 10, 3, 8), utc(2026, 10, 31, 20, 0, 30)):
            run = instant_of(begin) + MINUTE_US * np.arange(2_880)
            alone = np.concatenate([is_open(run[at::7]) for at in range(7)])
            together = np.concatenate([is_open(run)[at::7] for at in range(7)])
            assert together.any()
            assert not together.all()
            np.testing.assert_array_equal(together, alone)
