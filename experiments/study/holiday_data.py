"""Print the parameters `days` and `covers` of a `holidays` rule, from the package `holidays`.

Tactful itself does not need that package; the rule reads the dates from the pack.

    python -m experiments.study.holiday_data 2026 2031 US US-LA FR > days.yaml
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import yaml


def holiday_days(first: int, end: int, places: Sequence[str]) -> dict[str, Any]:
    """Dates by place in the years [first, end); of a state, only those that its country does not have."""
    package = importlib.import_module("holidays")
    days: dict[str, Any] = {}
    for place in places:
        country, _, state = place.partition("-")
        national = set(package.country_holidays(country, years=range(first, end)))
        found = set(package.country_holidays(country, subdiv=state, years=range(first, end))) if state else national
        days[place] = sorted(found - national if state else national)
    return {"covers": [f"{first}-01-01", f"{end}-01-01"], "days": days}


def main(arguments: Sequence[str]) -> str:
    """The yaml of the named years and places."""
    first, end, *places = arguments
    return yaml.safe_dump(holiday_days(int(first), int(end), places), default_flow_style=None, width=110)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
