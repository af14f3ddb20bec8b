"""Which names are zones of people: places with a clock of their own; and what a name that is none may have meant.

The tz database also has names that are no place. `localtime` and `posixrules` are whatever the machine says, `Factory`
is nothing, `posix/` and `right/` repeat all names (the latter with leap seconds), and `Etc/GMT+2` is two hours behind
UTC, not ahead of it as people write it: none of them is a zone of a person. Abbreviations (`EST`) and UTC are accepted
as what somebody wrote down, but they say little of where a person is, so they never decide alone
(engine/time/zones.py).
"""

from __future__ import annotations

import zoneinfo
from functools import lru_cache
from typing import Final

# The first part of names that are a region and a city, or a country and one of its regions.
AREAS: Final = frozenset(
    {
        *("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"),
        *("Brazil", "Canada", "Chile", "Mexico", "US"),
    }
)
# Older names of whole countries, and of two nations within one; each is the clock of one place.
COUNTRIES: Final = frozenset(
    {
        *("Cuba", "Egypt", "Eire", "GB", "GB-Eire", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan"),
        *("Kwajalein", "Libya", "NZ", "NZ-CHAT", "Navajo", "PRC", "Poland", "Portugal", "ROC", "ROK", "Singapore"),
        *("Turkey", "W-SU"),
    }
)
_NEW_YORK, _DENVER, _LONDON = "America/New_York", "America/Denver", "Europe/London"
# Names that are no place -> the places whose clock people mostly mean. EST is UTC-5 all the year; New York is not.
VAGUE: Final[dict[str, tuple[str, ...]]] = {
    "EST": (_NEW_YORK,),
    "EST5EDT": (_NEW_YORK,),
    "CST6CDT": ("America/Chicago",),
    "MST": (_DENVER,),
    "MST7MDT": (_DENVER,),
    "PST8PDT": ("America/Los_Angeles",),
    "HST": ("Pacific/Honolulu",),
    "WET": ("Europe/Lisbon",),
    "CET": ("Europe/Brussels",),
    "MET": ("Europe/Brussels",),
    "EET": ("Europe/Athens",),
    **dict.fromkeys(("UTC", "UCT", "Universal", "Zulu", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu"), ()),
    **dict.fromkeys(("GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich"), (_LONDON,)),
    **{f"Etc/{name}": (_LONDON,) for name in ("GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich")},
}
# Spaces and hyphens are written for underscores, and all three left out.
_SEPARATORS: Final = str.maketrans("", "", " _-")
_SHORTEST: Final = 5


@lru_cache(maxsize=1)
def names_of_people() -> frozenset[str]:
    """Names that may be a contact's zone: places, and those of `VAGUE`."""
    every = zoneinfo.available_timezones()
    return frozenset(name for name in every if name.partition("/")[0] in AREAS or name in COUNTRIES or name in VAGUE)


@lru_cache(maxsize=1)
def names_of_logs() -> frozenset[str]:
    """Names that may be the zone of a log: also fixed offsets, which a machine may well keep."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=1024)
def meant(name: str) -> str | None:
    """The name that surely was meant, or None: rather none than one with another clock.

    That is the same name in another spelling (case, spaces, hyphens), or a place of the same area whose name differs by
    one slip of the finger. A last letter more or less does not count (St_John is not St_Johns), nor does a first one.
    """
    by_fold = _by_fold()
    fold = _fold(name)
    if fold in by_fold:
        return by_fold[fold]
    area, _, city = fold.partition("/")
    if area.capitalize() not in AREAS or len(city) < _SHORTEST:
        return None
    close = [by_fold[other] for other in by_fold if other.startswith(f"{area}/") and _one_slip(fold, other)]
    return close[0] if len(close) == 1 else None


def _fold(name: str) -> str:
    area, slash, rest = name.strip().casefold().partition("/")
    # Of abbreviations a sign is no hyphen: GMT-2 is not GMT2.
    return f"{area}/{rest.translate(_SEPARATORS)}" if slash and area != "etc" else f"{area}{slash}{rest}"


@lru_cache(maxsize=1)
def _by_fold() -> dict[str, str]:
    return {_fold(name): name for name in sorted(names_of_people(), reverse=True)}


def _one_slip(typed: str, name: str) -> bool:
    """Whether two names differ by one letter within, or by two neighbours that changed places."""
    longer, shorter = (typed, name) if len(typed) > len(name) else (name, typed)
    at = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    first, last = name.index("/") + 1, len(longer) - 1
    if at <= first:
        return False
    if len(longer) == len(shorter) + 1:
        return at < last and longer[at + 1 :] == shorter[at:]
    if len(longer) != len(shorter):
        return False
    swapped = longer[at : at + 2] == shorter[at : at + 2][::-1] and longer[at + 2 :] == shorter[at + 2 :]
    return swapped or (at < last and longer[at + 1 :] == shorter[at + 1 :])


def zone_hint(name: str) -> str:
    """What to do about a name that is no zone: the one that was meant, if that is sure, and how names look."""
    known = meant(name)
    asked = "" if known is None else f"did you mean {known}? "
    return f"{asked}a zone is named by region and city, like America/New_York or Europe/Berlin, not by an offset"
