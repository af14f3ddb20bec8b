"""Which places' laws may hold for a contact, and in which zones the contact may be (catalogue Q10, Q11).

The law of a state holds for residents and for phones with its area code, the stricter of both; what is unknown may be
anywhere. Contacts with the same zone, plausible zones and laws are one group and are judged once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.contacts.contacts import UNKNOWN, ContactBatch
from engine.errors import ParameterError
from engine.time.zones import country_of_state, is_country, states_of
from engine.types import CodeArray, IntArray

MOST_PLACES: Final = 62  # one bit each
_DENSE: Final = 1 << 18


@dataclass(frozen=True)
class Place:
    """A country, or some of its states."""

    country: str
    states: tuple[str, ...] = ()

    def check(self, owner: str) -> None:
        """Refuse codes that no contact can have.

        Raises:
            ParameterError: an unknown country, or a state that it does not have.
        """
        if not is_country(self.country):
            raise ParameterError("country", owner, allowed="a country code of ISO 3166", got=self.country)
        unknown = sorted(set(self.states) - states_of(self.country))
        if unknown:
            raise ParameterError("states", owner, allowed=f"states of {self.country}", got=unknown)


@dataclass(frozen=True)
class Whereabouts:
    """Contacts of one kind.

    Attributes:
        zone: the reference zone, from which slots are planned; None where unknown.
        zones: every zone in which the contact may be, the reference zone among them; () where unknown.
        laws: positions of the places whose laws may hold.
    """

    zone: str | None
    zones: tuple[str, ...]
    laws: tuple[int, ...]


def whereabouts_of(contacts: ContactBatch, places: Sequence[Place] = ()) -> tuple[list[Whereabouts], IntArray]:
    """The groups that occur, and the (n,) group of each contact."""
    masks, mask_code = _law_masks(contacts, tuple(places))
    zones = contacts.zones
    plausible = contacts.extra.get("plausible_zones", np.full(1, UNKNOWN, dtype=np.int32))
    levels = contacts.levels.get("plausible_zones", ())
    radix = (len(zones) + 1, len(levels) + 1, len(masks))
    key = ((contacts.zone_code.astype(np.int64) + 1) * radix[1] + plausible + 1) * radix[2] + mask_code
    distinct, code = _distinct(key, radix[0] * radix[1] * radix[2])
    groups = []
    for one in distinct.tolist():
        rest, mask = divmod(one, radix[2])
        zone_code, plausible_code = divmod(rest, radix[1])
        zone = zones[zone_code - 1] if zone_code else None
        also = levels[plausible_code - 1].split(",") if plausible_code else []
        around = () if zone is None else tuple(dict.fromkeys((zone, *also)))
        groups.append(Whereabouts(zone, around, _bits(masks[mask])))
    return groups, code


def _bits(mask: int) -> tuple[int, ...]:
    return tuple(position for position in range(MOST_PLACES) if mask >> position & 1)


def _distinct(key: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Distinct keys and each key's position among them; by a table where it is small, because sorting is slower."""
    if size > max(_DENSE, len(key)):
        found, inverse = np.unique(key, return_inverse=True)
        return found, inverse.reshape(-1).astype(np.int64)
    seen = np.zeros(size, dtype=np.bool_)
    seen[key] = True
    positions = np.cumsum(seen, dtype=np.int64) - 1
    return np.flatnonzero(seen), positions[key]


def _law_masks(contacts: ContactBatch, places: tuple[Place, ...]) -> tuple[list[int], IntArray | int]:
    """Distinct sets of places as bits, and the (n,) set of each contact."""
    if not places:
        return [0], 0
    codes: list[CodeArray] = []
    tables: list[NDArray[np.int64]] = []
    for name, bits in (("country", _country_bits), ("state", _state_bits), ("area_state", _area_bits)):
        levels = contacts.levels.get(name, ())
        codes.append(contacts.extra.get(name, np.full(contacts.n, UNKNOWN, dtype=np.int32)))
        tables.append(np.array([bits(places, level) for level in (None, *levels)], dtype=np.int64))
    area_levels = contacts.levels.get("area_state", ())
    sure = np.array([0, *(_area_bits(places, level) for level in area_levels)], dtype=np.int64)
    radix = [len(table) for table in tables]
    key = ((codes[0].astype(np.int64) + 1) * radix[1] + codes[1] + 1) * radix[2] + codes[2] + 1
    distinct, of_place = _distinct(key, radix[0] * radix[1] * radix[2])
    rest, area = np.divmod(distinct, radix[2])
    country, state = np.divmod(rest, radix[1])
    # An area code of a state counts wherever the contact is said to live; an unknown one only in the country.
    held = (tables[0][country] & (tables[1][state] | tables[2][area])) | sure[area]
    masks, mask_of_place = np.unique(held, return_inverse=True)
    return masks.tolist(), mask_of_place.reshape(-1)[of_place]


@lru_cache(maxsize=4096)
def _country_bits(places: tuple[Place, ...], country: str | None) -> int:
    return sum(1 << at for at, place in enumerate(places) if country is None or place.country == country)


@lru_cache(maxsize=4096)
def _state_bits(places: tuple[Place, ...], state: str | None) -> int:
    return sum(1 << at for at, place in enumerate(places) if not place.states or state is None or state in place.states)


@lru_cache(maxsize=4096)
def _area_bits(places: tuple[Place, ...], state: str | None) -> int:
    """Places that an area code's state belongs to; unknown may be any."""
    if state is None:
        return sum(1 << at for at, _ in enumerate(places))
    country = country_of_state(state)
    return sum(
        1 << at
        for at, place in enumerate(places)
        if (state in place.states if place.states else place.country == country)
    )
