"""What a variant changes: the scenario, and what may be decided in each step."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.eligibility import Eligibility
from engine.errors import ConfigError
from engine.features import MISSING, Column, ContextBatch, FeatureSchema
from engine.guardrails.pack import pack_from, read_pack
from engine.types import BoolArray
from experiments.season.config import Variant
from simulator.rollout import Turn, turn_of
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

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


@dataclass(frozen=True)
class Restriction:
    """A variant's part that acts in every step, for one catalog and schema.

    Attributes:
        channels: (C,) that may carry a first message.
        arms: (K,) that may be a first message.
        hours: (H,) that may be used at all.
        hidden: features that nobody sees.
    """

    channels: BoolArray
    arms: BoolArray
    hours: BoolArray
    hidden: tuple[str, ...]

    @property
    def idle(self) -> bool:
        """Whether nothing is restricted."""
        return bool(self.channels.all() and self.arms.all() and self.hours.all()) and not self.hidden

    def turn(self, world: World) -> Turn:
        """What is to be decided in this step."""
        turn = turn_of(world)
        if self.idle:
            return turn
        eligibility = turn.eligibility
        first = (world.state.sends.count[turn.rows] == 0)[:, None, None]
        allowed = ~first | (self.channels[:, None] & self.arms)
        restricted = Eligibility(
            eligibility.channel_arm & allowed, eligibility.channel_hour & self.hours, eligibility.purpose_codes
        )
        contacts = replace(turn.contacts, context=self._shown(turn.contacts.context))
        return replace(turn, contacts=contacts, eligibility=restricted)

    def _shown(self, context: ContextBatch) -> ContextBatch:
        columns = {name: _blank(one) if name in self.hidden else one for name, one in context.columns.items()}
        return replace(context, columns=columns)


def restriction(variant: Variant, catalog: Catalog, schema: FeatureSchema) -> Restriction:
    """A variant's restriction.

    Raises:
        ConfigError: a channel, an hour or a signal group that the scenario does not have, or no arm is left.
    """
    depth = np.array([arm.discount_depth for arm in catalog.arms]) > 0.0
    arms = np.ones(len(depth), dtype=np.bool_) if variant.first_discount is None else depth == variant.first_discount
    if not arms.any():
        raise ConfigError("no arm of the catalog may be the first message", hint="leave first_discount out")
    groups = {spec.signal_group for spec in schema.features}
    unknown = sorted(set(variant.without) - groups)
    if unknown:
        raise ConfigError(f"there are no signal groups {unknown}", hint=f"the features have {sorted(groups)}")
    return Restriction(
        channels=_only(variant.first_channel, catalog.channels, "channel"),
        arms=arms,
        hours=_only(variant.hour, tuple(str(hour) for hour in catalog.hours), "hour"),
        hidden=tuple(spec.name for spec in schema.features if spec.signal_group in variant.without),
    )


def _only(name: str, names: tuple[str, ...], what: str) -> BoolArray:
    if name and name not in names:
        raise ConfigError(f"the catalog has no {what} {name!r}", hint=f"one of {', '.join(names)}")
    return np.array([not name or one == name for one in names])


def _blank(column: Column) -> Column:
    values: Any = np.full(len(column.values), -1 if column.levels else np.nan, dtype=column.values.dtype)
    return Column(values, np.full(len(column.state), MISSING, dtype=np.uint8), column.levels)
