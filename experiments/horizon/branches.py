"""What one send does to all that follows, by simulating twice: with it and without, under the same luck.

Each contact has one moment at random, among those in which something may be sent to it. Up to there the policy acts;
there one run sends and the other holds; from there on the policy acts again in both. Every draw is keyed by contact and
step (`simulator.world.world`), so the two runs differ by what the send changed alone, and the difference of their
conditional rewards (`simulator.expected`) is an unbiased value of send over hold with little noise: a rollout of
Tesauro & Galperin (NIPS 1996), with common random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.features import ContextBatch
from engine.guardrails.layer import Guardrails
from engine.types import HOLD, BoolArray, CodeArray, FloatArray, IntArray
from policies.vw.scoring.compiled import CompiledPolicy
from simulator.expected import gains_of, message_gains, organic_rewards, row_parts
from simulator.rollout import Actor, Turn, acted, turn_of
from simulator.scenario import Scenario
from simulator.world.world import World

# Told of every turn and what was chosen; may change the choice.
Look = Callable[[Turn, CodeArray], CodeArray]


@dataclass(frozen=True)
class Branches:
    """n contacts, each at its moment.

    Attributes:
        contexts: what a policy saw, in blocks.
        action: (n,) the send.
        gains: (n, k - 1) expected money of every send over hold in that step.
        later: (n,) expected money of all later steps with the send, less that without.
        weight: (n,) moments that the contact had; a contact with many stands for more decisions.
    """

    contexts: list[ContextBatch]
    action: IntArray
    gains: FloatArray
    later: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class BranchPlan:
    """What is simulated.

    Attributes:
        scenario: the world.
        contacts / first / seed: who.
        steps: horizon.
        luck: which future; 0 is the world itself.
        random_share: moments at which any eligible send is tried, in place of the policy's best.
    """

    scenario: Scenario
    contacts: int
    first: int
    seed: int
    steps: int
    luck: int = 0
    random_share: float = 0.3


def simulate_branches(plan: BranchPlan, actor: Actor, policy: CompiledPolicy | None) -> Branches | None:
    """Branch once per contact.

    Args:
        plan: what is simulated.
        actor: acts before and after.
        policy: whose best send is tried; any eligible one where None.

    Returns:
        None where nobody had a moment.
    """
    scenario = plan.scenario
    guardrails = Guardrails(scenario.pack, scenario.catalog, scenario.packages, scenario.features)
    world = World(scenario, plan.contacts, plan.seed, first=plan.first, guardrails=guardrails, luck=plan.luck)
    generator = np.random.default_rng([plan.seed, plan.first, plan.luck])
    count = np.zeros(world.n, dtype=np.int64)
    moment = np.full(world.n, -1, dtype=np.int64)

    def choose_moment(turn: Turn, action: CodeArray) -> CodeArray:
        rows = turn.rows[turn.eligibility.sendable()]
        count[rows] += 1
        # The last of c moments is kept with chance 1 / c: each is as likely as any other (Vitter's reservoir).
        kept = rows[generator.random(len(rows)) * count[rows] < 1.0]
        moment[kept] = turn.world.state.step
        return action

    _play(world, actor, plan.steps, choose_moment)
    if not count.any():
        return None
    found = _Moments(world, moment, policy, generator, plan.random_share)
    sent = _play(world, actor, plan.steps, found.send)
    held = _play(world, actor, plan.steps, found.hold)
    rows = np.concatenate(found.rows)
    return Branches(
        contexts=found.contexts,
        action=found.action[rows].astype(np.int64),
        gains=np.concatenate(found.gains),
        later=(sent - held)[rows] - found.now[rows],
        weight=count[rows] / count[rows].mean(),
    )


class _Moments:
    """Sends at the moments, remembers what was seen there; then holds at them."""

    def __init__(
        self,
        world: World,
        moment: IntArray,
        policy: CompiledPolicy | None,
        generator: np.random.Generator,
        random_share: float,
    ) -> None:
        self._moment, self._policy, self._generator, self._share = moment, policy, generator, random_share
        self.rows: list[IntArray] = []
        self.contexts: list[ContextBatch] = []
        self.gains: list[FloatArray] = []
        self.action = np.zeros(world.n, dtype=np.int32)
        self.now = np.zeros(world.n)

    def send(self, turn: Turn, action: CodeArray) -> CodeArray:
        at = self._at(turn)
        if not len(at):
            return action
        rows, context = turn.rows[at], turn.contacts.context.take(at)
        chosen = self._tried(context, turn.eligibility.take(at).dense())
        self.rows.append(rows)
        self.contexts.append(context)
        self.gains.append(_all_gains(turn.world, rows))
        self.action[rows], self.now[rows] = chosen, gains_of(turn.world, rows, chosen)
        out = action.copy()
        out[at] = chosen
        return out

    def hold(self, turn: Turn, action: CodeArray) -> CodeArray:
        out = action.copy()
        out[self._at(turn)] = HOLD
        return out

    def _at(self, turn: Turn) -> IntArray:
        return np.flatnonzero(self._moment[turn.rows] == turn.world.state.step)

    def _tried(self, context: ContextBatch, eligible: BoolArray) -> CodeArray:
        value = self._generator.random(eligible.shape)
        if self._policy is not None:
            best = self._generator.random(len(value)) >= self._share
            value[best] = self._policy.scores(context.take(np.flatnonzero(best)))
        value = np.where(eligible, value, -np.inf)
        value[:, HOLD] = -np.inf
        chosen: CodeArray = value.argmax(axis=1).astype(np.int32)
        return chosen


def _play(world: World, actor: Actor, steps: int, look: Look) -> FloatArray:
    """(n,) conditional reward of all steps."""
    world.reset()
    total, everybody = np.zeros(world.n), np.arange(world.n)
    for _ in range(steps):
        turn = turn_of(world)
        action = np.full(world.n, HOLD, dtype=np.int32)
        if len(turn.rows):
            action[turn.rows] = look(turn, acted(actor, turn)[0])
        total += organic_rewards(world, everybody) + gains_of(world, everybody, action)
        world.advance(action)
    return total


def _all_gains(world: World, rows: IntArray) -> FloatArray:
    out = np.empty((len(rows), world.catalog.k - 1))
    for part in row_parts(len(rows), world.catalog.k):
        out[part] = message_gains(world, rows[part])
    return out
