"""What one day of one block adds up to, by group of contacts.

Money and fatigue are summed as whole millionths, so that the sums are the same in whatever order they are taken: by
block, by process, or at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.records import schema as records
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from simulator.people.people import GONE, present_mask
from simulator.world.happened import Happened
from simulator.world.world import World

MILLIONTHS: Final = 1e6
# What is counted at the start of the day, before anything is sent.
BEFORE: Final = ("contacts", "reachable", "fatigue")
COUNTS: Final = (
    "decided",
    "sends",
    "bounced",
    "delivered",
    "opened",
    "clicked",
    "replied",
    "unsubscribed",
    "complained",
    "orders_by_message",
    "orders_organic",
)
MONEY: Final = ("order_usd", "discount_usd", "refund_usd", "cost_usd", "reward_usd")
# In these columns a sum stands for millionths.
SCALED: Final = ("fatigue", *MONEY)

# What a contact can be in for good: the uniform slice is drawn by decision, among the treated.
CONTACT_GROUPS: Final = (records.TREATMENT, records.CONTROL)

# Column -> one whole number per group.
Sums = dict[str, list[int]]


def contact_groups(held_out: BoolArray) -> CodeArray:
    """(n,) positions in `CONTACT_GROUPS`."""
    return held_out.astype(np.int32)


def before_sums(world: World, group: CodeArray) -> Sums:
    """Contacts on the list, of them those who may be sent advertising on some channel, and their stock of messages."""
    state, people = world.state, world.people
    here = present_mask(people, world.moment.day) & (state.stage != GONE)
    reachable = here & ((state.consent[:, :, 0] == 1) & (state.suppressed == 0)).any(axis=1)
    return {
        "contacts": _by_group(group, here),
        "reachable": _by_group(group, reachable),
        "fatigue": _by_group(group, _millionths(state.pressure * reachable)),
    }


def day_sums(world: World, group: CodeArray, decided: IntArray, happened: Happened) -> Sums:
    """Counts and money of the day.

    Args:
        world: for the names of its channels.
        group: (n,) positions in `CONTACT_GROUPS`.
        decided: rows that were decided for.
        happened: what the day brought.
    """
    sent = group[happened.rows]
    flags: dict[str, BoolArray] = {
        "bounced": happened.bounced_hard | happened.bounced_soft,
        "delivered": happened.delivered,
        "opened": happened.seen,
        "clicked": happened.clicked,
        "replied": happened.replied,
        "unsubscribed": happened.unsubscribed,
        "complained": happened.complained,
        "orders_by_message": happened.message_order,
    }
    money: dict[str, FloatArray] = {
        "order_usd": happened.order_usd + happened.organic_usd,
        "discount_usd": happened.discount_usd,
        "refund_usd": happened.refund_usd,
        "cost_usd": happened.cost_usd,
        "reward_usd": happened.reward_usd,
    }
    sums = {"decided": _by_group(group[decided], None), "sends": _by_group(sent, None)}
    sums |= {name: _by_group(sent, flag) for name, flag in flags.items()}
    sums["orders_organic"] = _by_group(group, happened.organic)
    sums |= {name: _by_group(group, _millionths(usd)) for name, usd in money.items()}
    for position, channel in enumerate(world.catalog.channels):
        sums[f"sends_{channel}"] = _by_group(sent, happened.channel == position)
    return sums


def columns(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Every column of a day, in the order of the table."""
    return (*BEFORE, *COUNTS, *(f"sends_{name}" for name in channels), *MONEY)


def add(total: Sums, more: Mapping[str, list[int]]) -> None:
    """Add the sums of another block, in place."""
    for name, values in more.items():
        known = total.get(name, [0] * len(values))
        total[name] = [a + b for a, b in zip(known, values, strict=True)]


def _millionths(values: FloatArray) -> IntArray:
    return np.rint(values * MILLIONTHS).astype(np.int64)


def _by_group(group: CodeArray, values: BoolArray | IntArray | None) -> list[int]:
    found = []
    for position in range(len(CONTACT_GROUPS)):
        own = group == position
        found.append(int(np.count_nonzero(own)) if values is None else int(values[own].sum(dtype=np.int64)))
    return found
