"""Names of zones: which are people's, and what a wrong one may be told."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from engine.mapping.instants import zone_of
from engine.time.localtime import require_zone, zone_names
from engine.time.zone_names import VAGUE, meant, names_of_logs, names_of_people, zone_hint
from engine.time.zones import Evidence, plausible_zones

NO_PLACES = (
    *("localtime", "Factory", "posixrules", "posix/America/New_York", "right/Europe/Berlin", "Etc/GMT+2", "Etc/GMT-14"),
    *("GMT+2", "UTC+2", "UTC-5", "+02:00", "CET+1", "PST", "IST", "BST", "AEST", "Mars", "SystemV/EST5", "posix", " "),
)


@pytest.mark.parametrize("name", NO_PLACES)
def test_what_is_no_place_is_no_zone_of_a_person(name: str) -> None:
    with pytest.raises(DataError, match="unknown time zone") as caught:
        require_zone(name, where="row 1")
    assert "did you mean" not in caught.value.hint
    assert "Etc/" not in caught.value.hint


def test_every_name_is_a_place_or_on_the_list() -> None:
    for name in names_of_people():
        assert name in VAGUE or "/" in name or ZoneInfo(name), name
        assert not name.startswith(("posix", "right", "Etc/GMT-1", "Etc/GMT+1"))
    assert {"America/New_York", "Asia/Kolkata", "US/Eastern", "Cuba", "UTC", "EST"} <= zone_names()
    assert names_of_people() < names_of_logs()
    lost = zoneinfo.available_timezones() - names_of_people()
    assert {name for name in lost if not name.startswith("Etc/GMT")} <= {"localtime", "Factory", "posixrules"}


def test_a_log_may_keep_a_fixed_offset_but_no_machines_clock() -> None:
    assert zone_of("Etc/GMT+2", owner="a test").utcoffset(datetime(2026, 1, 1)) == timedelta(hours=-2)
    for name in ("localtime", "Factory", "GMT+2"):
        with pytest.raises(ConfigError, match="must be an IANA name") as caught:
            zone_of(name, owner="a test")
        assert "did you mean" not in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("america/new york", "America/New_York"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("America/NewYork", "America/New_York"),
        (" Europe/Berlin ", "Europe/Berlin"),
        ("Europe/Berlni", "Europe/Berlin"),
        ("Europe/Londn", "Europe/London"),
        ("Australia/Sidney", "Australia/Sydney"),
        ("utc", "UTC"),
        ("est", "EST"),
        ("America/St_John", None),  # New Brunswick's, or the island; not Newfoundland's St_Johns
        ("America/San_Juan", None),  # Puerto Rico's, not the one in Argentina
        ("Asia/Delhi", None),  # not Dili
        ("America/Dallas", None),
        ("GMT-2", None),
        ("gmt+2", None),
        ("etc/gmt+2", None),
        ("London", None),
    ],
)
def test_only_the_name_that_was_surely_meant_is_shown(typed: str, name: str | None) -> None:
    assert meant(typed) == name
    assert ("did you mean" in zone_hint(typed)) is (name is not None)


def _year(name: str) -> list[timedelta | None]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [(at + timedelta(days=day)).astimezone(ZoneInfo(name)).utcoffset() for day in range(0, 366, 20)]


def test_a_slip_of_the_finger_never_points_to_another_clock() -> None:
    """Random slips in random names: the hint is the name itself, one with its clock, or none."""
    rng, names = np.random.default_rng(7), sorted(name for name in names_of_people() if "/" in name)
    letters, hinted = list("abcdefghijklmnopqrstuvwxyz"), 0
    for _ in range(1_500):
        name = names[int(rng.integers(len(names)))]
        at = int(rng.integers(name.index("/") + 1, len(name)))
        letter = letters[int(rng.integers(26))]
        kinds = [name[:at] + letter + name[at:], name[:at] + name[at + 1 :], name[:at] + letter + name[at + 1 :]]
        kinds.append(name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :])
        for typed in kinds:
            shown = None if typed in names else meant(typed)
            assert shown is None or shown == name or _year(shown) == _year(name), (typed, name, shown)
            hinted += shown is not None
    assert hinted > 1_000


NEW_YORK, CHICAGO, LONDON = "America/New_York", "America/Chicago", "Europe/London"


@pytest.mark.parametrize(
    ("evidence", "zones"),
    [
        ({"explicit": "EST"}, [NEW_YORK, "EST"]),
        ({"explicit": "EST", "state": "TX", "country": "US"}, [CHICAGO, "America/Denver", NEW_YORK, "EST"]),
        ({"explicit": "MST", "area_code": "212"}, [NEW_YORK, "America/Denver", "MST"]),
        ({"explicit": "HST", "state": "NY", "area_code": "312"}, [NEW_YORK, CHICAGO, "Pacific/Honolulu", "HST"]),
        ({"explicit": "EST", "device": CHICAGO, "device_fresh": True}, [NEW_YORK, "EST", CHICAGO]),
        ({"explicit": "UTC"}, ["UTC"]),
        ({"explicit": "UTC", "state": "NY"}, [NEW_YORK, "UTC"]),
        ({"explicit": "UTC", "country": "IT"}, ["Europe/Rome", "UTC"]),
        ({"explicit": "GMT"}, [LONDON, "GMT"]),
        ({"explicit": "PST8PDT", "state": "NY"}, [NEW_YORK, "America/Los_Angeles", "PST8PDT"]),
        ({"explicit": CHICAGO, "state": "NY"}, [CHICAGO]),  # a place decides alone
    ],
)
def test_a_zone_that_is_no_place_never_decides_alone(evidence: dict[str, object], zones: list[str]) -> None:
    assert plausible_zones(Evidence(explicit_fresh=True, **evidence)) == tuple(zones)  # type: ignore[arg-type]


def test_neither_does_a_devices_nor_an_old_one() -> None:
    device = Evidence(device="EST", device_fresh=True, state="TX", country="US")
    assert plausible_zones(device) == (CHICAGO, "America/Denver", NEW_YORK, "EST")
    fresh = Evidence(explicit="EST", device=CHICAGO, device_fresh=True, state="NY")
    assert plausible_zones(fresh) == (CHICAGO,)  # the zone that decides is a place
    assert plausible_zones(Evidence(explicit="EST")) == (NEW_YORK, "EST")
