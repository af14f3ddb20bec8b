"""A bound that no policy can pass, whatever it knows: the value of a world in which messages cost nothing later.

For the shipped parts (`ShopperResponse`, `ShopperDynamics`). Proof sketch. Compare the life of a contact under any
policy that keeps to consent with that of an optimistic twin.

1. The reward of a step, given the state and the action, is at most organic* + gain* if something is sent and organic*
   if not, where organic* and gain* are those of the state with fatigue, pressure, discount habit and coupons at zero,
   every arm new, every address working and nothing finished: each of these enters the chances with one sign, a coupon
   in hand only makes an order worth less, and pressure only raises the harm of a message. gain* is the most that a
   send which consent on record at the start allows is worth; consent is never given again, and rules only take sends
   away.
2. What is left of the state is intent, lifecycle stage, motive and due day. Intent and motive move by themselves, but
   that an order switches intent off, which the twin is spared; due days of a cycle count as near on every day. A click
   or an order brings a lapsed contact back: the twin comes back with the chance of an order without a message and, if
   something is sent, of a click on the send that is clicked most. Orders never end the twin's relation, and a click
   never ends its time as a newcomer. Its value function rises with intent and stage, because chances do and because
   their steps are stochastically monotone (Stoyan 1983); so by induction from the last step back the contact's best
   value is at most the twin's, and the twin's is found by dynamic programming over (intent, stage, motive), exactly.
3. With at most N sends in the horizon (`most_sends`, e.g. what a frequency cap leaves) the value is at most
   min over p >= 0 of the twin's value at a price p per send, plus p N (weak duality); the minimum is taken over a
   grid, contact by contact, which keeps it a bound.

What it does NOT say: it is no value of any policy, and how far above the best one it lies is not known; without caps it
grows with every day, because the twin never tires. It bounds the expected value, not the value that was drawn, and only
in the scenario as configured: a part of your own is refused, because the proof does not know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.ope.sums.exact import add_pairs
from engine.types import FloatArray
from simulator.expected import message_outlook, organic_rewards, row_parts
from simulator.metrics import exact_sum
from simulator.people.people import ACTIVE, GONE, LAPSED, LAPSING, MOTIVES, NEVER, ONBOARDING, STAGES
from simulator.scenario import Scenario
from simulator.world.dynamics import BoundShopperDynamics, ShopperDynamics
from simulator.world.shopper_response import ShopperResponse
from simulator.world.world import World

ALIVE: Final = (LAPSED, LAPSING, ACTIVE, ONBOARDING)
# Prices per send, as multiples of the contact's best gain; any of them gives a bound.
_PRICES: Final = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5])
_BLOCK: Final = 2048


@dataclass(frozen=True)
class UpperBound:
    """Mean over contacts of the bound of each, and its error as an estimate for the whole population.

    Attributes:
        mean: usd per contact: no policy's expected value for these contacts is higher.
        stderr: Monte Carlo error of the mean over the draw of contacts.
        silent: the twins' value without any message.
        contacts: n.
    """

    mean: float
    stderr: float
    silent: float
    contacts: int


def upper_bound(
    scenario: Scenario,
    *,
    contacts: int,
    steps: int,
    seed: int = 0,
    discount: float = 1.0,
    most_sends: int | None = None,
) -> UpperBound:
    """No policy has a higher expected value; see the module's proof.

    Args:
        scenario: one whose parts ship.
        contacts: n, at least 2.
        steps: horizon.
        seed: seed of the world.
        discount: factor per day, in (0, 1].
        most_sends: most messages per contact in the horizon that the rules leave; None is one a step.

    Raises:
        ParameterError: parts for which the proof does not hold.
    """
    _require_monotone(scenario)
    first = second = organic = (np.zeros(1), np.zeros(1))
    for start in range(0, contacts, _BLOCK):
        n = min(_BLOCK, contacts - start)
        bounds, free = _bounds(World(scenario, n, seed, first=start), steps, discount, most_sends)
        first = add_pairs(*first, *_pair(bounds))
        second = add_pairs(*second, *_pair(bounds**2))
        organic = add_pairs(*organic, *_pair(free))
    mean = float(first[0][0] + first[1][0]) / contacts
    variance = max(float(second[0][0]) / contacts - mean**2, 0.0) / (contacts - 1)
    return UpperBound(mean, float(np.sqrt(variance)), float(organic[0][0]) / contacts, contacts)


def _pair(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    high, low = exact_sum(values)
    return np.array([high]), np.array([low])


def _bounds(world: World, steps: int, discount: float, most_sends: int | None) -> tuple[FloatArray, FloatArray]:
    """(n,) bounds of the contacts of a batch, and what is in them without any send."""
    first = (world.state.intent.astype(np.int64), world.state.stage.copy(), world.state.motive.copy())
    twin, steps_back = _Twin(world), _Backward(world)
    price = np.append(_PRICES[:, None] * twin.best[None, :], np.full((1, world.n), np.inf), axis=0)
    value = np.zeros((len(price), world.n, 2, len(ALIVE), len(MOTIVES)))
    for step in range(steps - 1, -1, -1):
        twin.move_to(step)
        value = steps_back.value(value, twin, price, discount**world.moment.day, world)
    rows, alive = np.arange(world.n), first[1] != GONE
    stage = np.array([ALIVE.index(one) if one != GONE else 0 for one in first[1]], dtype=np.int64)
    start = value[:, rows, first[0], stage, first[2]] * alive
    limit = float(steps if most_sends is None else min(most_sends, steps))
    return (start[:-1] + price[:-1] * limit).min(axis=0), start[-1]


class _Twin:
    """The optimistic contacts of a batch in each intent, stage and motive.

    Attributes:
        best: (n,) highest gain of the first step over all of them.
        gain: (n, 2, S, M) most that a send is worth, at least 0.
        organic: (n, 2, S) worth of orders without messages.
        clicks: (n, 2, S, M) chance of a click on the send that is clicked most.
        orders: (n, 2, S) chance of an order without a message.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        state, catalog = world.state, world.catalog
        channel, _, arm = catalog.split(np.arange(1, catalog.k))
        purpose = catalog.purpose_codes[arm]
        self._allowed = state.consent[:, channel, purpose] == 1
        self._due = state.due_day.copy()
        state.arm_step[:] = -NEVER
        self._kept: dict[float, tuple[FloatArray, FloatArray]] = {}
        self.gain, self.clicks = self._messages()
        self.best = self.gain.max(axis=(1, 2, 3))
        self._calm = bool(np.isnan(self._due).all()) and all(isinstance(hour, int) for hour in catalog.hours)
        self.organic, self.orders = np.zeros(0), np.zeros(0)

    def move_to(self, step: int) -> None:
        """Judge the messages and orders of a step."""
        world = self._world
        world.state.step = step
        world.resume(world.state)
        cycles = np.isfinite(world.people.cycle_days)
        world.state.due_day[:] = np.where(cycles, world.moment.day, self._due)
        faults = any(fault.on(world.moment.day) for fault in world.scenario.spec.faults)
        key = world.moment.attention
        if key not in self._kept or not self._calm or faults:
            self._kept = {**self._kept, key: self._messages()} if self._calm and not faults else {}
            self.gain, self.clicks = self._kept.get(key) or self._messages()
        else:
            self.gain, self.clicks = self._kept[key]
        self._orders()

    def _messages(self) -> tuple[FloatArray, FloatArray]:
        """(n, 2, S, M) gains and chances of a click."""
        world, state = self._world, self._world.state
        gain = np.zeros((world.n, 2, len(ALIVE), len(MOTIVES)))
        clicks = np.zeros_like(gain)
        for intent in range(2):
            for position, stage in enumerate(ALIVE):
                for motive in range(len(MOTIVES)):
                    state.intent[:], state.stage[:], state.motive[:] = bool(intent), stage, motive
                    for part in row_parts(world.n, world.catalog.k):
                        rows = np.arange(part.start, part.stop)
                        worth, clicked = message_outlook(world, rows)
                        allowed = self._allowed[part]
                        gain[part, intent, position, motive] = np.where(allowed, worth, 0.0).max(axis=1).clip(min=0.0)
                        clicks[part, intent, position, motive] = np.where(allowed, clicked, 0.0).max(axis=1)
        return gain, clicks

    def _orders(self) -> None:
        world, state = self._world, self._world.state
        self.organic = np.zeros((world.n, 2, len(ALIVE)))
        self.orders = np.zeros_like(self.organic)
        rows = np.arange(world.n)
        for intent in range(2):
            for position, stage in enumerate(ALIVE):
                state.intent[:], state.stage[:] = bool(intent), stage
                self.organic[:, intent, position] = organic_rewards(world, rows)
                self.orders[:, intent, position] = world.organic()


class _Backward:
    """One step back of the twin's dynamic programme."""

    def __init__(self, world: World) -> None:
        numbers, step_days = _dynamics(world.scenario), world.moment.step_days
        self._numbers, self._step_days = numbers, step_days
        self._due, self._cycle = world.state.due_day.copy(), np.isfinite(world.people.cycle_days)
        rates = np.zeros(len(STAGES))
        rates[[ONBOARDING, ACTIVE, LAPSING, LAPSED]] = (
            numbers.onboarding_ends, numbers.lapses, numbers.lapses_further, numbers.leaves,
        )  # fmt: skip
        self._falls = -np.expm1(-rates * step_days)

    def value(self, after: FloatArray, twin: _Twin, price: FloatArray, weight: float, world: World) -> FloatArray:
        """(L, n, 2, S, M) value before a step.

        Args:
            after: the same after it.
            twin: moved to the step.
            price: (L, n) per send; infinite where nothing is sent.
            weight: weight of the step's reward.
            world: in the step.
        """
        here = world.people.join_day <= world.moment.day
        later = self._drift(after, world.moment.day)
        stay, back = self._stages(later)
        free = twin.orders[None, ..., None]
        hold = (1.0 - free) * stay + free * back
        comes = 1.0 - (1.0 - free) * (1.0 - twin.clicks[None])
        with np.errstate(invalid="ignore"):
            sent = weight * twin.gain[None] - price[:, :, None, None, None] + (1.0 - comes) * stay + comes * back
        lived: FloatArray = weight * twin.organic[None, ..., None] + np.maximum(hold, sent)
        return np.where(here[None, :, None, None, None], lived, later)

    def _drift(self, after: FloatArray, day: float) -> FloatArray:
        """Expectation over the step of intent and motive."""
        numbers = self._numbers
        near = self._cycle | (np.abs(self._due - day) <= numbers.due_window_days)
        comes = -np.expm1(-numbers.intent_on * np.where(near, numbers.due_intent, 1.0) * self._step_days)
        comes = comes[None, :, None, None]
        goes = float(-np.expm1(-numbers.intent_off * self._step_days))
        off, on = after[:, :, 0], after[:, :, 1]
        moved = np.stack([off + comes * (on - off), on - goes * (on - off)], axis=2)
        changes = numbers.motive_changes * self._step_days
        drifted: FloatArray = (1.0 - changes) * moved + changes * moved.mean(axis=4, keepdims=True)
        return drifted

    def _stages(self, later: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values where nothing brings the contact back, and where something does."""
        stay, back = np.empty_like(later), later.copy()
        active = ALIVE.index(ACTIVE)
        for position, stage in enumerate(ALIVE):
            # A newcomer who grows out of it becomes active, and the last stage is followed by nothing at all.
            lower = later[:, :, :, position - 1] if position else np.zeros_like(later[:, :, :, 0])
            falls = self._falls[stage]
            stay[:, :, :, position] = (1.0 - falls) * later[:, :, :, position] + falls * lower
            back[:, :, :, position] = np.maximum(
                later[:, :, :, active] if stage != ONBOARDING else stay[:, :, :, position], stay[:, :, :, position]
            )
        return stay, back


def _dynamics(scenario: Scenario) -> ShopperDynamics:
    bound = scenario.dynamics.bind(scenario.catalog)
    if not isinstance(bound, BoundShopperDynamics):
        raise ParameterError("dynamics", "upper_bound", allowed="the shipped part", got=type(bound).__name__)
    return bound.numbers


def _require_monotone(scenario: Scenario) -> None:
    """The proof needs the shipped parts with stages in order and intent that helps."""
    response, dynamics = scenario.response, _dynamics(scenario)
    if not isinstance(response, ShopperResponse):
        raise ParameterError("response", "upper_bound", allowed="the shipped part", got=type(response).__name__)
    names = [STAGES[stage] for stage in ALIVE]
    for name, table in (("stage_attention", response.stage_attention), ("stage_demand", dynamics.stage_demand)):
        levels = [table[stage] for stage in names]
        if levels != sorted(levels):
            raise ParameterError(name, "upper_bound", allowed=f"rising along {names}", got=levels)
    rates = [
        ("intent_demand", dynamics.intent_demand >= 1.0),
        ("due_intent", dynamics.due_intent >= 1.0),
        ("intent_off", dynamics.intent_off + dynamics.intent_on * dynamics.due_intent <= 1.0),
    ]
    for name, holds in rates:
        if not holds:
            raise ParameterError(
                name, "upper_bound", allowed="such that intent helps and does not swing", got=getattr(dynamics, name)
            )
