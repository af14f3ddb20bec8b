"""The scenario of a variant: its own changes, and the cap that the guardrail pack keeps."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any, Final

import msgspec

from engine.errors import ConfigError
from engine.guardrails.pack import pack_from, read_pack
from experiments.season.config import Variant
from simulator.scenario import Scenario, load_scenario

MONTH_S: Final = 30 * 86_400


def varied(name: str, variant: Variant) -> Scenario:
    """A scenario of conf/scenario under a variant.

    Raises:
        ConfigError: no such scenario, a change that it cannot have, or no cap of a month to change.
    """
    return _varied(name, msgspec.json.encode(variant, order="sorted"))


# A scenario is read from a dozen files, and a sweep asks for the same ones again and again.
@cache
def _varied(name: str, encoded: bytes) -> Scenario:
    variant = msgspec.json.decode(encoded, type=Variant)
    scenario = load_scenario(name, variant.changes)
    if variant.monthly_cap is None:
        return scenario
    return replace(scenario, pack=pack_from(_capped(scenario.spec.guardrails, variant.monthly_cap)))


def _capped(pack: str, most: int) -> Any:
    data = copy.deepcopy(read_pack(pack))
    rules = [rule for rule in data["rules"] if rule["rule"] == "frequency"]
    caps = [cap for rule in rules for cap in rule["params"]["caps"] if "channels" not in cap]
    monthly = [cap for cap in caps if cap["window_s"] == MONTH_S]
    if not monthly:
        raise ConfigError(
            f"the guardrail pack {pack!r} has no cap over 30 days and all channels", hint="leave monthly_cap out"
        )
    for cap in monthly:
        cap["max"] = most
    data["name"] = f"{data['name']}, {most} in 30 days"
    return data
