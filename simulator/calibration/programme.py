"""A fixed programme of messages in a world, measured in expectation: what a published figure is compared with.

Every probability is summed before the dice are thrown, so a few thousand contacts give smooth moments. Guardrails other
than permission are left out on purpose: publishers report what senders did, not what our rules would have let through.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.errors import ParameterError
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.world.happened import Money
from simulator.world.response import Chances
from simulator.world.world import World


@dataclass(frozen=True)
class Programme:
    """Messages on one channel at even spaces.

    Attributes:
        channel: by name.
        per_week: messages a week and contact; at most one per step.
        warm_up_days: days before the sums begin.
        days: days of the sums.
        hours: hour slots that are used, by position; empty is all, drawn evenly.
    """

    channel: str
    per_week: float
    warm_up_days: float = 28.0
    days: float = 56.0
    hours: tuple[int, ...] = ()


@dataclass
class Sums:
    """Expected counts over the messages of a programme.

    Attributes:
        by_name: sent, hard_bounced, soft_bounced, delivered, seen, clicked, ordered, unsubscribed, complained.
        by_hour: (H, 2) sent and seen by hour slot.
        unopened: (n,) chance that none of the first six messages was seen; NaN where fewer were sent.
        reward_usd: expected per contact over the summed days, organic orders included (see `simulator.world.happened`).
        contacts: number of contacts.
    """

    by_name: dict[str, float] = field(default_factory=dict)
    by_hour: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    unopened: FloatArray = field(default_factory=lambda: np.zeros(0))
    reward_usd: float = 0.0
    contacts: int = 0

    def rate(self, event: str, of: str) -> float:
        """Expected share of one event among another; NaN where the other never happens."""
        return self.by_name[event] / self.by_name[of] if self.by_name.get(of) else float("nan")


def run_programme(scenario: Scenario, programme: Programme, contacts: int, seed: int) -> Sums:
    """Send, and sum what is to be expected of each message.

    Args:
        scenario: the world.
        programme: what is sent.
        contacts: number of contacts.
        seed: seed of the world.

    Raises:
        ParameterError: an unknown channel, or more messages than steps.
    """
    catalog = scenario.catalog
    if programme.channel not in catalog.channels:
        raise ParameterError("channel", "Programme", allowed=f"one of {catalog.channels}", got=programme.channel)
    per_step = programme.per_week / 7.0 * scenario.step_days
    if not 0.0 <= per_step <= 1.0:
        raise ParameterError("per_week", "Programme", allowed="at most one message a step", got=programme.per_week)
    world = World(scenario, contacts, seed)
    channel = catalog.channels.index(programme.channel)
    phase = world.draw("phase")
    sums = Sums(by_hour=np.zeros((catalog.shape[1], 2)), unopened=np.ones(contacts))
    messages = np.zeros(contacts, dtype=np.int64)
    steps = round((programme.warm_up_days + programme.days) / scenario.step_days)
    for step in range(steps):
        due = np.floor((step + 1) * per_step + phase) > np.floor(step * per_step + phase)
        rows = np.flatnonzero(due & _may(world, channel))
        action = np.full(contacts, HOLD, dtype=np.int32)
        chosen = _actions(world, programme, channel, rows)
        action[rows] = chosen
        if step * scenario.step_days >= programme.warm_up_days:
            _add(sums, world, rows, chosen)
        _first_six(sums, world, rows, chosen, messages)
        world.advance(action)
    sums.contacts = contacts
    sums.reward_usd /= contacts
    sums.unopened = np.where(messages >= 6, sums.unopened, np.nan)
    return sums


def _may(world: World, channel: int) -> BoolArray:
    state = world.state
    allowed: BoolArray = world.deciding() & (state.consent[:, channel, 0] == 1) & (state.suppressed[:, channel] == 0)
    return allowed


def _actions(world: World, programme: Programme, channel: int, rows: IntArray) -> IntArray:
    """Arms in turn, so that content is as mixed as a sender's year; hours evenly."""
    _, hours, arms = world.catalog.shape
    slots = np.array(programme.hours or range(hours), dtype=np.int64)
    hour = slots[(world.draw("programme hour", world.state.step, rows) * len(slots)).astype(np.int64)]
    arm = (world.draw("programme arm", world.state.step, rows) * arms).astype(np.int64)
    return 1 + (channel * hours + hour) * arms + arm


def _add(sums: Sums, world: World, rows: IntArray, action: IntArray) -> None:
    chances = world.chances(world.cells(rows, action))
    delivered = chances.delivered
    seen = delivered * chances.seen
    clicked = seen * chances.clicked
    for name, expected in {
        "sent": np.ones(len(rows)),
        "hard_bounced": chances.hard_bounced,
        "soft_bounced": chances.soft_bounced,
        "delivered": delivered,
        "seen": seen,
        "clicked": clicked,
        "ordered": clicked * chances.ordered,
        "unsubscribed": delivered * chances.unsubscribed,
        "complained": delivered * chances.complained,
    }.items():
        sums.by_name[name] = sums.by_name.get(name, 0.0) + float(expected.sum())
    sums.reward_usd += _expected_usd(world, rows, action, chances)
    slot = world.catalog.split(action)[1]
    hours = len(sums.by_hour)
    sums.by_hour[:, 0] += np.bincount(slot, weights=delivered, minlength=hours)
    sums.by_hour[:, 1] += np.bincount(slot, weights=seen, minlength=hours)


def _expected_usd(world: World, rows: IntArray, sent: IntArray, chances: Chances) -> float:
    """Expected reward of one step over all contacts: orders with and without a message, less what was spent on them."""
    money, people, state, catalog = world.scenario.spec.money, world.people, world.state, world.catalog
    channel, _, arm = catalog.split(sent)
    depths = np.array([one.discount_depth for one in catalog.arms])
    coupon = np.where(state.coupon_until >= state.step, state.coupon_depth, 0.0)
    free = world.organic() * _worth(people.basket_usd, coupon, money)
    sold = chances.orders * _worth(people.basket_usd[rows], np.maximum(depths[arm], coupon[rows]), money)
    cost = np.array([money.send_cost_usd.get(name, 0.0) for name in catalog.channels])[channel]
    lost = money.unsubscribe_usd * chances.unsubscribed + money.complaint_usd * chances.complained
    return float(free.sum() + (sold - cost - chances.delivered * lost).sum())


def _worth(basket_usd: FloatArray, depth: FloatArray, money: Money) -> FloatArray:
    """Expected margin of an order at a discount, refunds taken off."""
    back = np.where(depth > 0.0, money.discount_refund_share, money.refund_share)
    worth: FloatArray = basket_usd * (money.margin_share - depth) * (1.0 - back)
    return worth


def _first_six(sums: Sums, world: World, rows: IntArray, action: IntArray, messages: IntArray) -> None:
    few = messages[rows] < 6
    early = rows[few]
    if len(early):
        chances = world.chances(world.cells(early, action[few]))
        sums.unopened[early] *= 1.0 - chances.delivered * chances.seen
        messages[early] += 1
