"""Which time zones a contact may be in, from all that is known of their whereabouts (guardrail catalogue Q10).

The order of sources: an explicit zone that is fresh, then a device's zone that is fresh, then the state of residence,
then the phone's area code, then the country. A source that is too old decides nothing alone: its zone stays one of the
plausible ones. Several zones are plausible where the deciding source covers several; rules must then hold in all of
them. A zone that is no place (`EST`, `UTC`) never decides alone, however fresh: the places whose clock it mostly stands
for, and those of the state, the area code and the other zone are plausible too. Nothing known is no zone at all, and
rules block.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import yaml

from engine.time.zone_names import VAGUE
from engine.types import MICROSECONDS_PER_S

# A zone that somebody told, or a device showed, longer ago than this no longer decides alone.
FRESH_US: Final = 30 * 86_400 * MICROSECONDS_PER_S
# Codes of US territories are country codes of their own: a contact "in the US" is not meant to be there.
TERRITORIES: Final = frozenset({"AS", "GU", "MP", "PR", "VI"})
# Countries of which we know the states.
COUNTRIES_WITH_STATES: Final = ("CA", "US")


@dataclass(frozen=True)
class Evidence:
    """What is known of where a contact is; None (or False) where nothing is.

    Attributes:
        explicit / explicit_fresh: zone that the contact or an import gave, and whether it is at most 30 days old.
        device / device_fresh: zone of a device, likewise.
        country: ISO 3166 alpha-2.
        state: state or province; "" where the contact is known to have none.
        area_code: three digits of the North American plan.
    """

    explicit: str | None = None
    explicit_fresh: bool = False
    device: str | None = None
    device_fresh: bool = False
    country: str | None = None
    state: str | None = None
    area_code: str | None = None


def plausible_zones(evidence: Evidence) -> tuple[str, ...]:
    """The zones that a contact may be in, the reference zone first; () where nothing is known."""
    fresh = ((evidence.explicit, evidence.explicit_fresh), (evidence.device, evidence.device_fresh))
    deciding = next((zone for zone, is_fresh in fresh if zone and is_fresh), None)
    if deciding is not None and deciding not in VAGUE:
        return (deciding,)
    told = tuple(zone for zone in (evidence.explicit, evidence.device) if zone)
    places = _every_place(evidence) if any(zone in VAGUE for zone in told) else _placed(evidence)
    meant = tuple(place for zone in told for place in VAGUE.get(zone, ()))
    return tuple(dict.fromkeys((*places, *meant, *told)))


def _placed(evidence: Evidence) -> tuple[str, ...]:
    """The zones of the best source of places that there is."""
    by_state = zones_of_state(evidence.country, evidence.state) if evidence.state else ()
    if by_state:
        return by_state
    by_area = zones_of_area_code(evidence.area_code) if evidence.area_code else ()
    # A phone kept from another country says nothing about the country that the contact is known to live in.
    if by_area and (evidence.country is None or evidence.country == country_of_area_code(str(evidence.area_code))):
        return by_area
    if evidence.country:
        return zones_of_country(evidence.country)
    return ()


def _every_place(evidence: Evidence) -> tuple[str, ...]:
    """The zones of the state and of the area code together, or else of the country."""
    by_state = zones_of_state(evidence.country, evidence.state) if evidence.state else ()
    by_area = zones_of_area_code(evidence.area_code) if evidence.area_code else ()
    return tuple(dict.fromkeys((*by_state, *by_area))) or _placed(evidence)


def zones_of_state(country: str | None, state: str) -> tuple[str, ...]:
    """Zones of a state or province; without a country, of the one country that has such a state."""
    countries = [country] if country else sorted(_states())
    return next((_states()[one][state] for one in countries if one in _states() and state in _states()[one]), ())


def zones_of_area_code(area_code: str) -> tuple[str, ...]:
    """Zones that an area code of the North American plan touches; () for one without a place."""
    found = _area_codes().get(area_code)
    return () if found is None else found[1]


def zones_of_country(country: str) -> tuple[str, ...]:
    """Zones of a country; () for an unknown one."""
    if country in _states():
        states = [zones for state, zones in _states()[country].items() if state not in TERRITORIES]
        # Zones that more states keep come first: one of them is the reference.
        return tuple(zone for zone, _ in Counter(zone for zones in states for zone in zones).most_common())
    return _countries().get(country, ())


def state_of_area_code(area_code: str) -> str | None:
    """The state of an area code; None for one without a place, or that several states share."""
    found = _area_codes().get(area_code)
    return found[0][0] if found is not None and len(found[0]) == 1 else None


def country_of_area_code(area_code: str) -> str | None:
    """The country of an area code; None for one without a place."""
    found = _area_codes().get(area_code)
    return None if found is None else country_of_state(found[0][0])


def country_of_state(state: str) -> str | None:
    """The country that has a state or province of this code; no two of those that we know share one."""
    return next((country for country, states in _states().items() if state in states), None)


def states_of(country: str) -> frozenset[str]:
    """Codes of the states of a country; empty where we know none."""
    return frozenset(_states().get(country, {}))


def is_country(code: str) -> bool:
    """Whether a code is one of ISO 3166 that the tz database knows."""
    return code in _countries()


def _data(name: str) -> Any:
    return yaml.safe_load((resources.files("conf") / "zones" / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _states() -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        country: {state: tuple(zones) for state, zones in states.items()}
        for country, states in _data("states.yaml").items()
    }


@lru_cache(maxsize=1)
def _area_codes() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {code: (tuple(states), tuple(zones)) for code, (states, zones) in _data("area_codes.yaml").items()}


@lru_cache(maxsize=1)
def _countries() -> dict[str, tuple[str, ...]]:
    return {country: tuple(zones) for country, zones in _data("countries.yaml").items()}
