"""What never sending is worth, exactly: the expected reward of a contact who gets no message, without any draw.

Without messages only intent and lifecycle stage move, so that the expectation is a sum over their distribution, stepped
forward from the contact's state at the start:

    orders with the chance 1 - exp(-rate dt) of its intent and stage; after one, intent is off, the contact is active,
    and gone with `gone_per_order`; else intent and stage move at their own rates

It is written from the equations of `simulator.world.dynamics`, not from its code, and is there to be compared with:
a world
that is stepped without messages must average to it.
"""

from __future__ import annotations

import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray
from simulator.people.people import ACTIVE, GONE, LAPSED, LAPSING, ONBOARDING, STAGES
from simulator.world.dynamics import ShopperDynamics
from simulator.world.world import World


def value_of_silence(world: World, steps: int, discount: float = 1.0) -> FloatArray:
    """(n,) expected reward over the next steps if nothing is ever sent, usd.

    Args:
        world: world of the shipped dynamics, before its first step.
        steps: horizon.
        discount: factor per day.

    Raises:
        ParameterError: dynamics that are not the shipped ones, or due days that move with orders.
    """
    numbers = world.scenario.dynamics
    if not isinstance(numbers, ShopperDynamics):
        raise ParameterError("dynamics", "value_of_silence", allowed="the shipped part", got=type(numbers).__name__)
    if np.isfinite(world.people.cycle_days).any():
        raise ParameterError("population.due", "value_of_silence", allowed="none, date or trial", got="cycle")
    money, people = world.scenario.spec.money, world.people
    worth = people.basket_usd * money.margin_share * (1.0 - money.refund_share)
    share = np.zeros((world.n, 2, len(STAGES)))
    share[np.arange(world.n), world.state.intent.astype(np.int64), world.state.stage] = 1.0
    days = world.scenario.step_days
    total = np.zeros(world.n)
    for step in range(steps):
        day, demand = step * days, world.scenario.calendar.levels(step)[0]
        here = people.join_day <= day
        chance = _order_chance(numbers, people.order_rate * demand * days) * here[:, None, None]
        total += discount**day * worth * (share * chance).sum(axis=(1, 2))
        bought = (share * chance).sum(axis=(1, 2))
        share = _without_order(numbers, share * (1.0 - chance), here, world.state.due_day - day, days)
        if not numbers.once:
            share[:, 0, ACTIVE] += bought * (1.0 - numbers.gone_per_order)
            share[:, 0, GONE] += bought * numbers.gone_per_order
    return total


def _order_chance(numbers: ShopperDynamics, rate: FloatArray) -> FloatArray:
    """(n, 2, stages) chance of an order in a step."""
    intent = np.array([1.0, numbers.intent_demand])
    stage = np.array([numbers.stage_demand[name] for name in STAGES])
    chance: FloatArray = 1.0 - np.exp(-rate[:, None, None] * intent[:, None] * stage)
    return chance


def _without_order(
    numbers: ShopperDynamics, share: FloatArray, here: BoolArray, due_in: FloatArray, days: float
) -> FloatArray:
    """Intent and stage one step later, of contacts who did not order; stages wait until the contact has joined."""
    near = np.abs(due_in) <= numbers.due_window_days
    on = 1.0 - np.exp(-numbers.intent_on * np.where(near, numbers.due_intent, 1.0) * days)[:, None]
    off = 1.0 - np.exp(-numbers.intent_off * days)
    idle, keen = share[:, 0], share[:, 1]
    moved = np.stack([idle * (1.0 - on) + keen * off, idle * on + keen * (1.0 - off)], axis=1)
    rates = {ONBOARDING: numbers.onboarding_ends, ACTIVE: numbers.lapses, LAPSING: numbers.lapses_further}
    rates[LAPSED] = numbers.leaves
    out = moved.copy()
    for stage, rate in rates.items():
        leaving = moved[:, :, stage] * (1.0 - np.exp(-rate * days)) * here[:, None]
        out[:, :, stage] -= leaving
        out[:, :, stage + 1] += leaving
    return out
