"""Make `conf/zones/area_codes.yaml` and `conf/zones/countries.yaml` anew.

Needs the package `phonenumbers` (metadata of Google's libphonenumber), which Tactful itself does not need:

    python -m experiments.shipped_data.zone_data conf/zones

States and zones of an area code are those of every longer prefix in the metadata together: an area code that touches
two zones has both, and so have the codes that are laid over it (`overlays.py`). Countries are those of `zone.tab` of
the tz database.
"""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from experiments.shipped_data.overlays import with_twins

_WORLD = "001"
# Names in the metadata that are no plain state names.
_NAMES = {"Washington D.C.": "DC", "Washington State": "WA", "New York": "NY", "District of Columbia": "DC"}
_STATES = (
    "AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware|FL Florida|"
    "GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas|KY Kentucky|LA Louisiana|ME Maine|"
    "MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada|"
    "NH New Hampshire|NJ New Jersey|NM New Mexico|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|"
    "PA Pennsylvania|RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|"
    "VA Virginia|WA Washington|WV West Virginia|WI Wisconsin|WY Wyoming|AB Alberta|BC British Columbia|MB Manitoba|"
    "NB New Brunswick|NL Newfoundland and Labrador|NT Northwest Territories|NS Nova Scotia|NU Nunavut|ON Ontario|"
    "PE Prince Edward Island|QC Quebec|SK Saskatchewan|YT Yukon"
)
# Codes that the metadata give to whole territories, to two provinces, or to no place; NANPA's assignments.
_BY_HAND = {
    "203": ["CT"], "340": ["VI"], "670": ["MP"], "671": ["GU"], "684": ["AS"], "713": ["TX"], "718": ["NY"],
    "787": ["PR"], "939": ["PR"], "905": ["ON"], "902": ["NS", "PE"], "782": ["NS", "PE"], "867": ["YT", "NT", "NU"],
}  # fmt: skip


def main(folder: Path) -> None:
    """Write both files into a folder."""
    zones = importlib.import_module("phonenumbers.tzdata").TIMEZONE_DATA
    places = importlib.import_module("phonenumbers.geodata").GEOCODE_DATA
    version = importlib.import_module("phonenumbers").__version__
    _write(
        folder / "area_codes.yaml",
        "# Area code of the North American plan -> [states, zones]. Made by experiments/shipped_data/zone_data.py\n"
        f"# from the metadata of libphonenumber (phonenumbers {version}) and the list of overlays\n"
        "# (overlays.py); without codes of no place.\n",
        area_codes(zones, places),
    )
    _write(
        folder / "countries.yaml",
        "# Country (ISO 3166 alpha-2) -> zones, from zone.tab. Made by experiments/shipped_data/zone_data.py.\n",
        countries(),
    )


def area_codes(zones: Mapping[str, Iterable[str]], places: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """{"212": [["NY"], ["America/New_York"]]} of all codes with a state or province."""
    names = {name: code for code, _, name in (entry.partition(" ") for entry in _STATES.split("|"))} | _NAMES
    found: dict[str, Any] = {}
    for number in range(200, 1000):
        code, prefix = str(number), f"1{number}"
        inside = [text for key, one in places.items() if key.startswith(prefix) for text in one.values()]
        named = places.get(prefix, {}).get("en", "")
        states = _BY_HAND.get(code) or ([names[named]] if named in names else _tails(inside, set(names.values())))
        if not states:
            continue
        its_zones = sorted({zone for key, many in zones.items() if key.startswith(prefix) for zone in many})
        found[code] = [states, its_zones]
    return with_twins(found)


def _tails(texts: Iterable[str], known: set[str]) -> list[str]:
    """States that "Brampton, ON" and the like end in."""
    return sorted({text.rpartition(", ")[2] for text in texts} & known)


def countries() -> dict[str, list[str]]:
    """Zones by country, in the order of zone.tab (which puts the most populous first)."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (resources.files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found[country].append(zone)
    return dict(sorted(found.items()))


def _write(path: Path, head: str, data: Mapping[str, Any]) -> None:
    lines = [
        f'"{key}": {yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()}'
        for key, value in data.items()
    ]
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
