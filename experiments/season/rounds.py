"""Decisions of a simulated step as logged rounds: the randomised slice, and learning on from a policy's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.records.rounds import RoundBatch
from engine.time.localtime import instant_of
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from experiments.season.actors import SparingActor
from experiments.season.config import SliceConfig
from experiments.season.variants import Restriction
from policies.parts.memory.sums import Memory
from simulator.rollout import Actor, Turn, acted
from simulator.scenario import Scenario
from simulator.world.happened import Happened, reported
from simulator.world.world import World

MARGIN: Final = "margin"
MESSAGE: Final = "message"
CLICKED: Final = "clicked"
# What a sender's systems report beside the money.
REPORTED: Final = ("revenue", "send_cost", "opened", CLICKED, "unsubscribed", "complained")
REWARD_RANGE: Final = {MARGIN: (-1e5, 1e6), MESSAGE: (-1e5, 1e6), CLICKED: (0.0, 1.0)}
# Days until a click counts as known: the last of the published delays of e-mails.
KNOWN_DAYS: Final = 7.0
# Contacts of the slice are numbered from here on: nobody of a cell is among them.
SLICE_FIRST: Final = 50_000_000


@dataclass(frozen=True)
class Slice:
    """Logged rounds of a randomised slice.

    Attributes:
        scenario: scenario of the world.
        seed: seed of the world.
        batches: one per step: every decision, also those in which hold alone was eligible (`usable` is false there).
    """

    scenario: Scenario
    seed: int
    batches: tuple[RoundBatch, ...]

    @property
    def catalog(self) -> Catalog:
        return self.scenario.catalog

    @property
    def features(self) -> FeatureSchema:
        return self.scenario.features

    @cached_property
    def choices(self) -> tuple[RoundBatch, ...]:
        """The decisions that had a choice, step by step."""
        return tuple(kept for batch in self.batches if (kept := batch.take(batch.usable)).n)

    def only(self, arms: BoolArray, hold_share: float) -> tuple[RoundBatch, ...]:
        """The decisions for some of the arms alone, as if no other had been eligible.

        Args:
            arms: (K,) that stay.
            hold_share: with which the slice was decided.
        """
        cells = self.catalog.k - 1
        stays = np.concatenate([[True], np.tile(arms, cells // len(arms))])
        kept = []
        for batch in self.choices:
            sends = batch.eligible_dense()[:, HOLD + 1 :]
            # A hold stays, and so does that share of the sends: propensities are those among what stays.
            share = (sends & stays[HOLD + 1 :]).sum(axis=1) / sends.sum(axis=1)
            among = hold_share + (1.0 - hold_share) * share
            one = replace(
                batch,
                propensity=batch.propensity / among,
                eligible=pack(batch.eligible_dense() & stays),
                usable=stays[batch.action] & (share > 0.0),
            )
            kept.append(one.take(one.usable))
        return tuple(one for one in kept if one.n)


@dataclass(frozen=True)
class HalfHold:
    """Hold with a fixed probability, every eligible send alike with the rest."""

    hold_share: float
    name: str = "randomised slice"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) probabilities."""
        sends = eligible[:, HOLD + 1 :].sum(axis=1)
        share = np.where(sends > 0, (1.0 - self.hold_share) / np.maximum(sends, 1), 0.0)
        out = np.where(eligible, share[:, None], 0.0)
        out[:, HOLD] = np.where(sends > 0, self.hold_share, 1.0)
        return out


def randomised_slice(
    scenario: Scenario, config: SliceConfig, seed: int, restriction: Restriction, guardrails: Guardrails
) -> Slice:
    """Decide at random for other contacts of the same world, and keep what a sender would know of it.

    Args:
        scenario: the world.
        config: size and shares.
        seed: seed of the world.
        restriction: restriction of the variant.
        guardrails: the layer.
    """
    world = World(scenario, config.contacts, seed, first=SLICE_FIRST, guardrails=guardrails)
    actor, batches = SparingActor(HalfHold(config.hold_share)), list[RoundBatch]()
    for _ in range(int(np.ceil(config.days / scenario.step_days))):
        turn = restriction.turn(world)
        action, propensity = acted(actor, turn)
        everybody = np.full(world.n, HOLD, dtype=np.int32)
        everybody[turn.rows] = action
        at = instant_of(world.now, owner="randomised_slice")
        batches.append(logged(turn, action, propensity, world.advance(everybody), at, len(batches)))
    return Slice(scenario, seed, tuple(batches))


def logged(
    turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened, decided_at: int, chunk: int
) -> RoundBatch:
    """The rounds of a step.

    `margin` is all money of the contact's day; `message` what the message brought and cost, 0 for a hold; `revenue` and
    `send_cost` (not above 0) parts of `margin`; events whether that happened to it. All are those of the step:
    nothing is late.

    Args:
        turn: that was decided.
        action / propensity: (m,) of its rows.
        happened: in the step.
        decided_at: instant.
        chunk: number of the step.
    """
    rows, m = turn.rows, len(turn.rows)
    by_contact = reported(happened, len(happened.reward_usd))
    numbers = turn.world.first + rows
    ids = np.array([f"{turn.world.seed}-{chunk}-{number}" for number in numbers.tolist()], dtype=object)
    return RoundBatch(
        chunk=chunk,
        decision_id=ids,
        context=turn.contacts.context,
        action=action,
        propensity=propensity,
        eligible=turn.eligibility.packed(),
        k=turn.eligibility.k,
        cluster=numbers.astype(np.uint64),
        rewards={
            MARGIN: happened.reward_usd[rows],
            MESSAGE: message_reward(happened, turn.world.scenario)[rows],
            **{name: by_contact[name][rows] for name in REPORTED},
        },
        usable=turn.eligibility.sendable(),
        decided_at=np.full(m, decided_at, dtype=np.int64),
        extra={},
    )


def message_reward(happened: Happened, scenario: Scenario) -> FloatArray:
    """(n,) what messages brought and cost: the reward without orders that came by themselves.

    Where a contact ordered by itself and after a message in one step, discount and refund are split by value.
    """
    both = happened.order_usd + happened.organic_usd
    share = np.divide(happened.organic_usd, both, out=np.zeros(len(both)), where=both > 0.0)
    margin = scenario.spec.money.margin_share
    organic = margin * (happened.organic_usd - share * happened.refund_usd) - share * happened.discount_usd
    left: FloatArray = happened.reward_usd - organic
    return left


class RememberingActor:
    """An actor whose contexts hold what its contacts answered to its own messages before.

    Args:
        actor: decides on contexts with these counts.
        memory: empty at the start of the season.
    """

    def __init__(self, actor: Actor, memory: Memory) -> None:
        self._actor, self._memory = actor, memory

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities of the actor."""
        at = np.full(len(turn.rows), instant_of(turn.world.now, owner="RememberingActor"), dtype=np.int64)
        who = (turn.world.first + turn.rows).astype(np.uint64)
        context = self._memory.context(turn.contacts.context, who, at)
        return self._actor.act(replace(turn, contacts=replace(turn.contacts, context=context)))

    def watch(self, turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened) -> None:
        """Remember the step's messages; they count once their clicks are known."""
        at = instant_of(turn.world.scenario.calendar.now(happened.step), owner="RememberingActor")
        self._memory.add(logged(turn, action, propensity, happened, at, happened.step))


def remembering(batches: Sequence[RoundBatch], memory: Memory) -> list[RoundBatch]:
    """Rounds in the order of time with the counts of their contacts' own past."""
    found = []
    for batch in batches:
        found.append(replace(batch, context=memory.context(batch.context, batch.cluster, batch.decided_at)))
        memory.add(batch)
    return found


# Takes new rounds, in the order in which they were decided, and gives who decides from now on.
Learn = Callable[[Sequence[RoundBatch]], Actor]


class LearningActor:
    """An actor that is replaced by what was learnt from its decisions.

    Args:
        actor: at the start.
        learn: from the new rounds to the next actor.
        every_steps: between two updates, at least 1.
    """

    def __init__(self, actor: Actor, learn: Learn, every_steps: int) -> None:
        self._actor, self._learn, self._every = actor, learn, every_steps
        self._new: list[RoundBatch] = []
        self._steps = 0

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities of whoever decides now."""
        return self._actor.act(turn)

    def watch(self, turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened) -> None:
        """Keep the decisions that had a choice; learn when it is time.

        Raises:
            LearnError: the learner failed; the actor is then as it was.
        """
        calendar = turn.world.scenario.calendar
        at = instant_of(calendar.now(happened.step), owner="LearningActor")
        batch = logged(turn, action, propensity, happened, at, happened.step)
        kept = batch.take(batch.usable)
        if kept.n:
            self._new.append(kept)
        self._steps += 1
        if self._steps % self._every == 0 and self._new:
            self._actor = self._learn(self._new)
            self._new = []
