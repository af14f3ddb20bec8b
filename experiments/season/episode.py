"""One policy through one season: every contact's total, and what happened on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from engine.types import HOLD, CodeArray, FloatArray, IntArray
from experiments.season.variants import Restriction
from simulator.expected import gains_of, organic_rewards
from simulator.rollout import Actor, HoldActor, Turn, acted
from simulator.world.happened import Happened
from simulator.world.world import World


@runtime_checkable
class Watching(Protocol):
    """An actor that learns on from what its decisions brought."""

    def watch(self, turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened) -> None: ...


@dataclass(frozen=True)
class Played:
    """What a season brought.

    Attributes:
        total: (n,) expected reward given the latents and the actions, summed over steps, USD.
        sends / left / complained: (n,) messages, lost permissions and complaints.
        by_step: prefix of contacts -> (T,) mean reward of each step.
        sends_by_step: (T,) mean messages.
        counts: orders, delivered: how often, over all contacts.
        money: revenue, discounted (revenue of orders at a discount), discount, cost, drawn (reward as drawn): USD.
    """

    total: FloatArray
    sends: IntArray
    left: IntArray
    complained: IntArray
    by_step: dict[int, FloatArray]
    sends_by_step: FloatArray
    counts: dict[str, int]
    money: dict[str, float]


def play_season(world: World, actor: Actor, steps: int, prefixes: Sequence[int], restriction: Restriction) -> Played:
    """Play a world from its first step with an actor.

    Args:
        world: is used up; all sums run over its contacts in their order.
        actor: decides.
        steps: T.
        prefixes: numbers of first contacts whose means by step are kept; those above n are left out.
        restriction: restriction of the variant.
    """
    n = world.n
    rows, total = np.arange(n), np.zeros(n)
    sends, left, complained = (np.zeros(n, dtype=np.int64) for _ in range(3))
    kept = {size: np.zeros(steps) for size in {*prefixes, n} if size <= n}
    sends_by_step = np.zeros(steps)
    counts = dict.fromkeys(("orders", "delivered"), 0)
    money = dict.fromkeys(("revenue", "discounted", "discount", "cost", "drawn"), 0.0)
    for step in range(steps):
        action = np.full(n, HOLD, dtype=np.int32)
        turn, chosen, propensity = None, action[:0], np.ones(0)
        if not isinstance(actor, HoldActor):
            turn = restriction.turn(world)
            chosen, propensity = acted(actor, turn)
            action[turn.rows] = chosen
        reward = organic_rewards(world, rows) + gains_of(world, rows, action)
        happened = world.advance(action)
        if turn is not None and isinstance(actor, Watching):
            actor.watch(turn, chosen, propensity, happened)
        total += reward
        sends[happened.rows] += 1
        left[happened.rows] += happened.unsubscribed
        complained[happened.rows] += happened.complained
        for size, means in kept.items():
            means[step] = reward[:size].mean()
        sends_by_step[step] = len(happened.rows) / n
        _count(counts, money, happened)
    return Played(total, sends, left, complained, kept, sends_by_step, counts, money)


def _count(counts: dict[str, int], money: dict[str, float], happened: Happened) -> None:
    counts["delivered"] += int(np.count_nonzero(happened.delivered))
    counts["orders"] += int(np.count_nonzero(happened.ordered)) + int(np.count_nonzero(happened.organic))
    ordered = np.flatnonzero(happened.ordered | happened.organic)
    value = happened.order_usd[ordered] + happened.organic_usd[ordered]
    discount = happened.discount_usd[ordered]
    money["revenue"] += float(value.sum())
    money["discounted"] += float(value[discount > 0.0].sum())
    money["discount"] += float(discount.sum())
    money["cost"] += float(happened.cost_usd[happened.rows].sum())
    money["drawn"] += float(happened.reward_usd.sum())
