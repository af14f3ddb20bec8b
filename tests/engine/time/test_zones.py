"""Whereabouts: the order of the sources of zones, and the data behind them."""

from __future__ import annotations

import pytest

from engine.time.localtime import zone_names
from engine.time.zones import (
    Evidence,
    country_of_area_code,
    country_of_state,
    is_country,
    plausible_zones,
    state_of_area_code,
    states_of,
    zones_of_area_code,
    zones_of_country,
    zones_of_state,
)

TOKYO, ROME = "Asia/Tokyo", "Europe/Rome"


@pytest.mark.parametrize(
    ("evidence", "zones"),
    [
        ({"explicit": TOKYO, "explicit_fresh": True, "device": ROME, "device_fresh": True, "state": "TX"}, [TOKYO]),
        ({"explicit": TOKYO, "device": ROME, "device_fresh": True, "state": "TX"}, [ROME]),
        ({"explicit": TOKYO, "country": "US", "state": "NY"}, ["America/New_York", TOKYO]),
        ({"country": "US", "state": "FL", "area_code": "212"}, ["America/New_York", "America/Chicago"]),
        ({"state": "FL"}, ["America/New_York", "America/Chicago"]),
        ({"country": "US", "area_code": "212"}, ["America/New_York"]),
        ({"area_code": "850"}, ["America/Chicago", "America/New_York"]),
        ({"country": "IT", "area_code": "212"}, [ROME]),
        ({"country": "IT", "state": "RM"}, [ROME]),
        ({"country": "US", "area_code": "800"}, zones_of_country("US")),
        ({"explicit": TOKYO}, [TOKYO]),
        ({"explicit": TOKYO, "device": TOKYO}, [TOKYO]),
        ({"state": "XX"}, []),
        ({}, []),
    ],
)
def test_the_order_of_the_sources(evidence: dict[str, object], zones: list[str]) -> None:
    assert plausible_zones(Evidence(**evidence)) == tuple(zones)  # type: ignore[arg-type]


def test_an_unknown_state_may_be_any_of_the_country() -> None:
    zones = set(zones_of_country("US"))
    assert {
        "America/New_York",
        "America/Los_Angeles",
        "America/Phoenix",
        "America/Anchorage",
        "Pacific/Honolulu",
    } <= zones
    assert "Pacific/Guam" not in zones  # a country code of its own
    assert zones_of_country("US")[0] == "America/New_York"
    assert zones_of_country("GU") == ("Pacific/Guam",)


@pytest.mark.parametrize(
    ("code", "state", "country"),
    [
        ("212", "NY", "US"),
        ("305", "FL", "US"),
        ("416", "ON", "CA"),
        ("787", "PR", "US"),
        ("800", None, None),
        ("902", None, "CA"),
    ],
)
def test_area_codes(code: str, state: str | None, country: str | None) -> None:
    assert state_of_area_code(code) == state
    assert country_of_area_code(code) == country


def test_the_data_hold_together() -> None:
    """Every zone exists, every state of an area code is a state, and no two countries share a state's code."""
    known = zone_names()
    states = {country: states_of(country) for country in ("US", "CA")}
    assert len(states["US"]) == 50 + 1 + 5
    assert len(states["CA"]) == 13
    assert not states["US"] & states["CA"]
    reached = set()
    for number in range(200, 1000):
        zones = zones_of_area_code(str(number))
        assert set(zones) <= known
        reached.add(state_of_area_code(str(number)))
    assert states["US"] | states["CA"] - {"NS", "PE", "NT", "NU", "YT"} <= reached
    for country, codes in states.items():
        for code in codes:
            assert set(zones_of_state(country, code)) <= known
            assert country_of_state(code) == country
    assert states_of("IT") == frozenset()
    assert is_country("GB")
    assert not is_country("UK")
    assert zones_of_country("ZZ") == ()
