"""What is on record of contacts beside their features: where they live, their phone, how they agreed, lists, due date.

Guardrail rules read this, policies do not. It is drawn once per contact, and only as far as a pack reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.contacts.attributes import LINE_TYPES
from engine.contacts.contacts import CONSENT_BASES, OBJECTIONS, UNKNOWN
from engine.errors import ParameterError
from engine.time.localtime import DAY_US, HOUR_US
from engine.time.zones import states_of, zones_of_country, zones_of_state
from engine.types import CodeArray, IntArray
from simulator.numbers import SHARE, number
from simulator.people.people import Draws, People, pick

Shares = dict[str, float]
NO_STATE: Final = ""
LISTS: Final = ("", "employee", "litigator", "minor")
# Countries whose states we know, then those of the zones that scenarios use; the first one that keeps a zone has it.
_COUNTRIES: Final = ("US", "CA", "DE", "FR", "GB", "NL", "ES", "IT", "AT", "CH", "IN", "AU", "BR", "JP")


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How complete and how troublesome the records are.

    Attributes:
        line_types: mobile, voip, landline, "none" -> share of phones.
        unknown_line: share of contacts of whose line nobody knows the kind.
        other_area: share of phones with the area code of another state.
        unknown_state: share of contacts of whom only the zone is known.
        bases: channel ("*" for the others) -> how a promotional consent was given -> share.
        listed: share of contacts on a blocking list.
        objects: share of contacts who object to profiling.
    """

    line_types: Annotated[Shares, number("share", "assumed", "US adults: most lines are mobile")] = msgspec.field(
        default_factory=lambda: {"mobile": 0.88, "voip": 0.05, "landline": 0.03, "none": 0.04}
    )
    unknown_line: Annotated[float, number("share", "assumed", "look-ups that failed", **SHARE)] = 0.02
    other_area: Annotated[float, number("share", "assumed", "people move and keep their number", **SHARE)] = 0.1
    unknown_state: Annotated[float, number("share", "assumed", "sign-up without an address", **SHARE)] = 0.05
    bases: Annotated[
        dict[str, Shares], number("share", "assumed", "double opt-in for texts, checkout boxes for e-mail")
    ] = msgspec.field(
        default_factory=lambda: {
            "sms": {"express_written": 0.93, "express": 0.07},
            "*": {"express": 0.8, "implied_purchase": 0.15, "soft_opt_in": 0.05},
        }
    )
    listed: Annotated[float, number("share", "assumed", "employees, minors, litigators", **SHARE)] = 0.003
    objects: Annotated[float, number("share", "assumed", "few object to profiling as such", **SHARE)] = 0.005

    def __post_init__(self) -> None:
        kinds = {name or "none" for name in LINE_TYPES}
        _require(self.line_types, kinds, "line_types")
        for channel, shares in self.bases.items():
            _require(shares, set(CONSENT_BASES), f"bases[{channel!r}]")
        if "*" not in self.bases:
            raise ParameterError("bases", "Register", allowed='with "*" for channels without an entry', got=self.bases)


def _require(shares: Shares, names: set[str], field: str) -> None:
    wrong = set(shares) - names
    if wrong or not shares or min(shares.values()) < 0.0 or sum(shares.values()) <= 0.0:
        raise ParameterError(field, "Register", allowed=f"shares >= 0 of {sorted(names)}, not all 0", got=shares)


@dataclass(frozen=True)
class Records:
    """Columns of a batch of n contacts that never change: name -> (n, ...), and the levels of coded ones."""

    columns: dict[str, NDArray[Any]]
    levels: dict[str, tuple[str, ...]]


def records_of(
    register: Register, people: People, channels: tuple[str, ...], start_at: int, reads: frozenset[str]
) -> Records:
    """The records of a batch.

    Args:
        register: how complete they are.
        people: the batch.
        channels: names on the catalog's axis.
        start_at: first instant of the world, microseconds.
        reads: names that the pack's rules read.
    """
    draw = people.draw
    makers: dict[str, Callable[[], tuple[NDArray[Any], tuple[str, ...]]]] = {
        "country": lambda: _countries(people),
        "state": lambda: _states(register, people, draw),
        "area_state": lambda: _area_states(register, people, draw),
        "line_type": lambda: (_lines(register, draw), LINE_TYPES),
        "lists": lambda: (_lists(register, draw), LISTS),
        "profiling_objection": lambda: ((draw("objects") < register.objects).astype(np.int32), OBJECTIONS),
        "consent_at": lambda: (_given_at(people, start_at), ()),
        "consent_basis": lambda: (_bases(register, people, channels, draw), ()),
    }
    made = {name: make() for name, make in makers.items() if name in reads}
    return Records(
        {name: column for name, (column, _) in made.items()},
        {name: known for name, (_, known) in made.items() if known},
    )


@lru_cache(maxsize=512)
def country_of_zone(zone: str) -> str | None:
    """The country that a zone stands for in these records; None for a zone of which we do not know it."""
    return next((country for country in _COUNTRIES if zone in zones_of_country(country)), None)


@lru_cache(maxsize=512)
def states_of_zone(zone: str) -> tuple[str, ...]:
    """States whose clocks the zone keeps, in alphabetical order; a country without states of ours has none."""
    country = country_of_zone(zone)
    names = sorted(states_of(country)) if country else []
    return tuple(name for name in names if zones_of_state(country, name)[:1] == (zone,)) or (NO_STATE,)


def _countries(people: People) -> tuple[CodeArray, tuple[str, ...]]:
    levels = tuple(sorted({found for zone in people.zones if (found := country_of_zone(zone)) is not None}))
    of_zone = [UNKNOWN if (found := country_of_zone(zone)) is None else levels.index(found) for zone in people.zones]
    return np.array([*of_zone, UNKNOWN], dtype=np.int32)[people.zone_code], levels


def _state_levels(people: People) -> tuple[str, ...]:
    return tuple(sorted({NO_STATE, *(state for zone in people.zones for state in states_of_zone(zone))}))


def _places(people: People, uniform: NDArray[np.float64], levels: tuple[str, ...]) -> CodeArray:
    """A state of each contact's zone, all of them alike; unknown where the zone is."""
    code = np.full(people.n, UNKNOWN, dtype=np.int32)
    for zone_code, zone in enumerate(people.zones):
        rows = np.flatnonzero(people.zone_code == zone_code)
        names = states_of_zone(zone)
        table = np.array([levels.index(name) for name in names], dtype=np.int32)
        code[rows] = table[(uniform[rows] * len(names)).astype(np.int64)]
    return code


def _states(register: Register, people: People, draw: Draws) -> tuple[CodeArray, tuple[str, ...]]:
    levels = _state_levels(people)
    lives = _places(people, draw("state"), levels)
    return np.where(draw("no state") < register.unknown_state, UNKNOWN, lives).astype(np.int32), levels


def _area_states(register: Register, people: People, draw: Draws) -> tuple[CodeArray, tuple[str, ...]]:
    """As the state, but for those who moved; none without a phone."""
    levels = _state_levels(people)
    moved = draw("other area") < register.other_area
    code = np.where(moved, _places(people, draw("area"), levels), _places(people, draw("state"), levels))
    return np.where(_lines(register, draw) == LINE_TYPES.index(""), levels.index(NO_STATE), code).astype(
        np.int32
    ), levels


def _lines(register: Register, draw: Draws) -> CodeArray:
    names = ["" if name == "none" else name for name in register.line_types]
    code = np.array([LINE_TYPES.index(name) for name in names], dtype=np.int32)[pick(draw("line"), register.line_types)]
    return np.where(draw("no line look-up") < register.unknown_line, UNKNOWN, code).astype(np.int32)


def _lists(register: Register, draw: Draws) -> CodeArray:
    which = 1 + (draw("which list") * (len(LISTS) - 1)).astype(np.int32)
    return np.where(draw("listed") < register.listed, which, 0).astype(np.int32)


def _given_at(people: People, start_at: int) -> IntArray:
    """(n, C, P) a refusal dates from the sign-up form, a grant from the confirmation an hour later."""
    joined = start_at + np.minimum(people.join_day, 1e5).astype(np.int64) * DAY_US
    at: IntArray = joined[:, None, None] + np.where(people.consent == 1, HOUR_US, 0)
    return at


def _bases(register: Register, people: People, channels: tuple[str, ...], draw: Draws) -> NDArray[np.int8]:
    """(n, C, P) positions in `CONSENT_BASES`; service messages are agreed to in the contract, expressly."""
    basis = np.full(people.consent.shape, CONSENT_BASES.index("express"), dtype=np.int8)
    for position, channel in enumerate(channels):
        shares = register.bases.get(channel, register.bases["*"])
        table = np.array([CONSENT_BASES.index(name) for name in shares], dtype=np.int8)
        basis[:, position, 0] = table[pick(draw(f"basis {channel}"), shares)]
    return basis
