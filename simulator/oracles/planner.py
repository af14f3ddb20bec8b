"""A clairvoyant planner: knows the latents and the world's laws, but not the luck; found by simulating ahead.

Send now costs later: fatigue, pressure on orders that come by themselves, lost permissions, habits of discounts. The
planner sums all of that up in one price of sending per contact: the best eligible send goes out if and only if its
expected reward of the step exceeds the price. A price is a multiple of what the contact's best send is worth at the
start, from a grid; each is tried by rollouts of the same contacts with other luck (`World`), counted by conditional
expectations (Rao & Blackwell) under common random numbers, and the best one of each contact is kept. Towards the end
of the horizon the price falls to zero, because nothing comes after it: `taper_days`. A price of zero for everybody is
the myopic oracle, an infinite one is silence, so that up to the noise of the rollouts neither beats the planner.

What it does NOT bound: it is one policy, found by search within one family. Its value is a lower bound of what a
clairvoyant could reach, and no upper bound for anybody: a policy outside of the family (a price that moves with the
state, a send that is worth little now and opens something later) may be worth more. What nobody can pass is in
`simulator.oracles.bound`. A policy that sees observations alone will as a rule stay well below the planner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.types import HOLD, CodeArray, FloatArray
from simulator.expected import gains_of, message_gains, organic_rewards, row_parts
from simulator.oracles.myopic import best_sends
from simulator.rollout import Turn, choose
from simulator.world.world import World

PRICES: Final = (0.0, 0.15, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, np.inf)


@dataclass(frozen=True)
class PricedActor:
    """Sends the best eligible send where it is worth more than its price.

    Attributes:
        price_usd: (n,) by row of the batch, at least 0.
        ends_day: day on which the horizon ends.
        taper_days: within so many days before it, prices fall to zero in a straight line.
    """

    price_usd: FloatArray
    ends_day: float = np.inf
    taper_days: float = 0.0

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions, with propensity 1."""
        action, gain = best_sends(turn)
        price = self.price_usd[turn.rows]
        left = self.ends_day - turn.world.moment.day
        if left < self.taper_days:
            # An infinite price stays infinite: who is never written to is not written to on the last day either.
            price = price * (left / self.taper_days)
        return np.where(gain > price, action, HOLD).astype(np.int32), np.ones(len(action))


@dataclass(frozen=True)
class PricePlanner:
    """Makes a `PricedActor` for a batch of contacts.

    Attributes:
        steps: horizon that is planned for.
        rollouts: futures per contact and price.
        prices: multiples of the contact's best gain at the start, at least 0.
        taper_days: see `PricedActor`.
        discount: factor per day on later rewards, as of the value that is asked for.
        conditions: the sender's side of the rules.
    """

    steps: int
    rollouts: int = 6
    prices: tuple[float, ...] = PRICES
    taper_days: float = 14.0
    discount: float = 1.0
    conditions: Conditions = NOTHING_SAID

    def __post_init__(self) -> None:
        for name in ("steps", "rollouts"):
            if getattr(self, name) < 1:
                raise ParameterError(name, "PricePlanner", allowed="at least 1", got=getattr(self, name))
        if not self.prices or min(self.prices) < 0.0:
            raise ParameterError("prices", "PricePlanner", allowed="at least one, none below 0", got=self.prices)

    def for_batch(self, world: World) -> PricedActor:
        """The best prices of the contacts of a batch; uses futures 1, 2, ..., never the world's own."""
        scale = start_gains(world)
        values = np.zeros((len(self.prices), world.n))
        for luck in range(1, self.rollouts + 1):
            future = World(
                world.scenario, world.n, world.seed, first=world.first, guardrails=world.guardrails, luck=luck
            )
            for position, price in enumerate(self.prices):
                values[position] += self._rollout(future, self._actor(world, np.full(world.n, price), scale))
        best = np.array(self.prices)[values.argmax(axis=0)]
        return self._actor(world, best, scale)

    def _actor(self, world: World, multiple: FloatArray, scale: FloatArray) -> PricedActor:
        price = np.where(np.isinf(multiple), np.inf, np.where(np.isinf(multiple), 0.0, multiple) * scale)
        return PricedActor(price, self.steps * world.moment.step_days, self.taper_days)

    def _rollout(self, world: World, actor: PricedActor) -> FloatArray:
        """(n,) conditional value of each contact."""
        world.reset()
        total, rows = np.zeros(world.n), np.arange(world.n)
        for _ in range(self.steps):
            action = choose(world, actor, self.conditions)
            weight = self.discount**world.moment.day
            total += weight * (organic_rewards(world, rows) + gains_of(world, rows, action))
            world.advance(action)
        return total


def start_gains(world: World) -> FloatArray:
    """(n,) what the best send would be worth to each contact in the present step, eligible or not; at least 0."""
    best = np.zeros(world.n)
    for part in row_parts(world.n, world.catalog.k):
        rows = np.arange(part.start, part.stop)
        best[part] = np.maximum(message_gains(world, rows).max(axis=1), 0.0)
    return best
