"""The recovering difference softmax in a season: it reads the days since each arm from what was sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.features import PRESENT, Column, FeatureSchema, FeatureSpec
from engine.types import CodeArray, FloatArray
from experiments.season.actors import SparingActor
from experiments.season.rounds import CLICKED, REWARD_RANGE, Slice
from policies.peers.recovering_softmax import RecoveringSoftmax, Recovery, difference_scores
from simulator.rollout import Turn


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
        known = np.full(len(days), PRESENT, dtype=np.uint8)
        added = {name: Column(days[:, arm], known) for arm, name in enumerate(self.days_since)}
        context = turn.contacts.context
        context = replace(context, schema=self.schema, columns={**context.columns, **added})
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
    schema = FeatureSchema(features=(*slice_.features.features, *map(_days_feature, names)))
    return RecoveringActor(RecoveringSoftmax(slice_.catalog, schema, scores, recovery), schema, names)


def _days_feature(name: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        type="numeric",
        unit="days",
        source="send history and e-mail events",
        collected_where="messages sent to the contact",
        customer_benefit="Messages come when they suit",
    )
