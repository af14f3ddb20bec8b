"""A policy in a world: who acts, and one step of acting. Truth, environments and benchmarks all step through here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.decide.asking import checked_choice, choice_of, distribution_of
from engine.eligibility import Eligibility
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.protocols import FusedPolicy, Policy
from engine.sampling import draw
from engine.sealing import sealed
from engine.types import HOLD, CodeArray, FloatArray, IntArray
from simulator.world.faults import broken_at
from simulator.world.happened import Happened
from simulator.world.world import World

# Rows whose (rows, k) distribution is built at once for a policy without a fused path.
_DENSE_CELLS = 4_000_000


@dataclass(frozen=True)
class Turn:
    """Everything that a decision may depend on.

    Attributes:
        world: for actors that know the latents (oracles); a policy never reads it.
        rows: (m,) contacts that are decided for.
        contacts: the m rows as contacts, as the sender knows them.
        eligibility: what the guardrails left.
        uniform: (m,) the one uniform of each decision.
    """

    world: World
    rows: IntArray
    contacts: ContactBatch
    eligibility: Eligibility
    uniform: FloatArray

    def sealed(self) -> Turn:
        """The same for an actor's hands: what was judged lies in arrays that nobody can write to."""
        return replace(
            self,
            rows=sealed(self.rows),
            contacts=self.contacts.sealed(),
            eligibility=self.eligibility.sealed(),
            uniform=sealed(self.uniform),
        )


class Actor(Protocol):
    """Chooses an action for each row of a turn."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]: ...


@dataclass(frozen=True)
class HoldActor:
    """Never sends."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) holds, with propensity 1."""
        return np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))


@dataclass(frozen=True)
class PolicyActor:
    """A policy that sees contexts and eligible actions, nothing else; the fault of broken randomisation acts here."""

    policy: Policy

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities.

        Raises:
            ParameterError: the policy's answer is no distribution over the eligible set, or it writes to what it is
                given.
        """
        context, eligibility = turn.contacts.context, turn.eligibility
        policy = broken_at(self.policy, turn.world.scenario.spec.faults, turn.world.moment.day)
        if isinstance(policy, FusedPolicy):
            return choice_of(policy, context, eligibility, turn.uniform)
        action, propensity = np.zeros(len(turn.rows), dtype=np.int32), np.ones(len(turn.rows))
        size = max(1, _DENSE_CELLS // eligibility.k)
        for start in range(0, len(turn.rows), size):
            part = slice(start, min(start + size, len(turn.rows)))
            eligible = eligibility.take(part).dense()
            probabilities = distribution_of(self.policy, context.take(part), eligible)
            action[part], propensity[part] = draw(probabilities, turn.uniform[part])
        return action, propensity


def turn_of(world: World, conditions: Conditions = NOTHING_SAID) -> Turn:
    """What is to be decided in this step, under the guardrails."""
    rows = np.flatnonzero(world.deciding())
    contacts = world.contacts(rows)
    eligibility = world.eligibility(contacts, conditions)
    return Turn(world, rows, contacts, eligibility, world.draw("decision", world.state.step, rows))


def acted(actor: Actor, turn: Turn) -> tuple[CodeArray, FloatArray]:
    """(m,) an actor's actions and propensities, held against what the guardrails left.

    Raises:
        ParameterError: an action that was removed, or a propensity outside (0, 1].
    """
    # A draw without a closed-form propensity says NaN: no learner that needs one accepts it.
    return checked_choice(actor.act(turn.sealed()), turn.eligibility, type(actor).__name__, may_be_unknown=True)


def choose(world: World, actor: Actor, conditions: Conditions = NOTHING_SAID) -> CodeArray:
    """(n,) actions of one step; hold for everyone who is not decided for."""
    action = np.full(world.n, HOLD, dtype=np.int32)
    # Without a message nothing has to be observed or judged: the value of silence is that of the world alone.
    if not isinstance(actor, HoldActor):
        turn = turn_of(world, conditions)
        action[turn.rows], _ = acted(actor, turn)
    return action


def play(world: World, actor: Actor, conditions: Conditions = NOTHING_SAID) -> Happened:
    """One step: decide for everyone who is to be decided for, send, and let happen."""
    return world.advance(choose(world, actor, conditions))
