"""What is to be decided in a step, under a variant's restrictions, and how a policy answers it at array speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.decide.asking import distribution_of
from engine.eligibility import Eligibility
from engine.errors import ConfigError
from engine.features import MISSING, Column, ContextBlock, FeatureSchema
from engine.protocols import Policy
from engine.sampling import draw
from engine.types import HOLD, BoolArray, CodeArray, FloatArray, IntArray
from experiments.season.config import Variant
from simulator.rollout import Turn, turn_of
from simulator.world.world import World

# Rows whose (rows, k) distribution is built at once.
_DENSE_CELLS: Final = 1_000_000


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

    def _shown(self, context: ContextBlock) -> ContextBlock:
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


@dataclass(frozen=True)
class SparingActor:
    """A policy, asked about those contacts alone who may be sent something: for the others hold is certain.

    Attributes:
        policy: any; conformance says that it holds with certainty where hold alone is eligible.
    """

    policy: Policy

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities.

        Raises:
            ParameterError: the policy's answer is no distribution over the eligible set.
        """
        some = sendable_rows(turn)
        action, propensity = np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))
        size = max(1, _DENSE_CELLS // turn.eligibility.k)
        for start in range(0, len(some), size):
            part = some[start : start + size]
            eligible = turn.eligibility.take(part).dense()
            probabilities = distribution_of(self.policy, turn.contacts.context.take(part), eligible)
            action[part], propensity[part] = draw(probabilities, turn.uniform[part])
        return action, propensity


def sendable_rows(turn: Turn) -> IntArray:
    """Positions in the turn of those who may be sent something."""
    return np.flatnonzero(turn.eligibility.sendable())
