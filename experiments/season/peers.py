"""Peers that read more than the scenario's features: what a sender's own records add to the context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.decide.asking import unchecked_distribution
from engine.features import PRESENT, Column, ContextBlock, FeatureSchema, FeatureSpec
from engine.protocols import Policy
from engine.types import BoolArray, CodeArray, FloatArray
from experiments.season.rounds import CLICKED, REWARD_RANGE, Slice
from experiments.season.turns import SparingActor
from policies.peers.recovering_softmax import RecoveringSoftmax, Recovery, difference_scores
from policies.peers.send_time import SendTime, tune_send_time
from simulator.rollout import Turn

USUAL_HOUR: Final = "usual_hour"
QUARTERS: Final = ("night", "morning", "afternoon", "evening")
# Opens in each slot of the part of the day in which a contact usually opens; the prior weighs five.
_OPENS: Final = 10.0


def with_numbers(context: ContextBlock, schema: FeatureSchema, added: Mapping[str, FloatArray]) -> ContextBlock:
    """A context with further numeric columns, all present.

    Args:
        context: of n rows.
        schema: the wider one, of `wider`.
        added: name -> (n,).
    """
    known = np.full(context.n, PRESENT, dtype=np.uint8)
    columns = {**context.columns, **{name: Column(values, known) for name, values in added.items()}}
    return replace(context, schema=schema, columns=columns)


def wider(schema: FeatureSchema, names: tuple[str, ...], unit: str) -> FeatureSchema:
    """A schema with further numeric features out of the sender's own records."""
    made = tuple(
        FeatureSpec(
            name=name,
            type="numeric",
            unit=unit,
            source="send history and e-mail events",
            collected_where="messages sent to the contact",
            customer_benefit="Messages come when they suit",
        )
        for name in names
    )
    return FeatureSchema(features=(*schema.features, *made))


@dataclass(frozen=True)
class UsualHours:
    """Send-time optimisation, its opens by hour read from the part of the day in which a contact usually opens.

    Attributes:
        policy: tuned.
        schema: with the opens.
        slots: name of the added feature -> part of the day.
    """

    policy: SendTime
    schema: FeatureSchema
    slots: Mapping[str, str]
    name: str = "send_time"

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) one-hot."""
        column = context.columns[USUAL_HOUR]
        own = np.array([*column.levels, ""], dtype=object)[np.where(column.state == PRESENT, column.values, -1)]
        added = {name: np.where(own == part, _OPENS, 0.0) for name, part in self.slots.items()}
        return unchecked_distribution(self.policy, with_numbers(context, self.schema, added), eligible)


def send_time(slice_: Slice, metric: str) -> Policy:
    """Send-time optimisation, tuned on the slice; without a usual hour in the schema the population's hours decide."""
    labels = [hour for hour in slice_.catalog.hours if isinstance(hour, int)]
    if USUAL_HOUR not in slice_.features.names:
        labels = []
    names = {str(hour): f"opens_at_{hour}" for hour in labels}
    schema = wider(slice_.features, tuple(names.values()), "opens")
    tuned = tune_send_time(slice_.choices, metric, slice_.catalog, schema, names)
    return UsualHours(tuned, schema, {names[str(hour)]: QUARTERS[hour // 6] for hour in labels}) if labels else tuned


@dataclass(frozen=True)
class RecoveringActor:
    """The recovering difference softmax, its days since each arm read from what was sent.

    Attributes:
        policy: tuned.
        schema: with the days since each arm.
        days_since: (K,) names of these features, in the order of the arms.
    """

    policy: RecoveringSoftmax
    schema: FeatureSchema
    days_since: tuple[str, ...]

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities."""
        world = turn.world
        steps = world.moment.step - world.state.arm_step[turn.rows].astype(np.float64)
        days = np.maximum(steps * world.moment.step_days, 0.0)
        added = {name: days[:, arm] for arm, name in enumerate(self.days_since)}
        context = with_numbers(turn.contacts.context, self.schema, added)
        return SparingActor(self.policy).act(replace(turn, contacts=replace(turn.contacts, context=context)))


def recovering(slice_: Slice) -> RecoveringActor:
    """Tuned on clicks, for relative differences need rewards that are not negative.

    Penalty and temperature are in the paper's proportion (0.017 to 0.0025), scaled to the spread of the scores.
    """
    scores = difference_scores(slice_.choices, CLICKED, REWARD_RANGE[CLICKED], slice_.catalog)
    spread = float(scores[1:].std()) or 1.0
    names = tuple(f"days_since_{arm}" for arm in slice_.catalog.arm_ids)
    recovery = Recovery(
        temperature=spread * 0.0025 / 0.017,
        penalty=spread,
        days_since=dict(zip(slice_.catalog.arm_ids, names, strict=True)),
    )
    schema = wider(slice_.features, names, "days")
    return RecoveringActor(RecoveringSoftmax(slice_.catalog, schema, scores, recovery), schema, names)
