"""What the days add up to, by group of contacts: sums of one day, the table of all days, what the command prints.

Money and fatigue are summed as whole millionths, so that the sums are the same in whatever order they are taken: by
batch, by process, or at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

from engine.records import schema as records
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from experiments.outputs import MetricJoin
from experiments.simulate.outputs import GroupTotals
from simulator.people.people import GONE, present_mask
from simulator.scenario import Scenario
from simulator.world.happened import Happened
from simulator.world.sender import Counts
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


class FinishedDay(msgspec.Struct, frozen=True, kw_only=True):
    """A day that is over for all batches.

    Attributes:
        sums: column -> one whole number per group (`experiments.simulate.daily`).
        removed: rule id -> (rule, pairs, contacts).
        held: contacts with no send left.
        policy: version that decided.
        sent: what the sender sent and heard (`simulator.world.sender.Counts`), as plain data.
        cells: sends by channel and arm, the arms of the first channel first.
        prices: that the day was decided under, as plain data (`policies.prices.pricing.Prices`).
    """

    sums: Sums
    removed: dict[str, tuple[str, int, int]]
    held: int
    policy: str
    sent: dict[str, Any]
    cells: list[int] = []
    prices: dict[str, Any] | None = None

    @property
    def counts(self) -> Counts:
        return msgspec.convert(self.sent, Counts)


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
    """Add the sums of another batch, in place."""
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


def day_table(days: Sequence[FinishedDay], scenario: Scenario) -> pd.DataFrame:
    """One row per day and group of contacts; money in USD, `fatigue` as the sum of the contacts' stocks."""
    rows: list[dict[str, Any]] = []
    for step, day in enumerate(days):
        for position, group in enumerate(CONTACT_GROUPS):
            row: dict[str, Any] = {"day": step, "at": scenario.calendar.now(step), "group": group}
            for name in columns(scenario.catalog.channels):
                value = day.sums[name][position]
                row[name] = value / MILLIONTHS if name in SCALED else value
            rows.append(row | {"policy_version": day.policy})
    return pd.DataFrame(rows)


def group_totals(table: pd.DataFrame) -> dict[str, GroupTotals]:
    """The groups that have contacts."""
    found = {}
    for group, rows in table.groupby("group", sort=False):
        contact_days = int(rows["contacts"].sum())
        if not contact_days:
            continue
        reward = float(rows["reward_usd"].sum())
        counts = {
            name: int(rows[name].sum())
            for name in ("sends", "orders_by_message", "orders_organic", "unsubscribed", "complained")
        }
        found[str(group)] = GroupTotals(
            contact_days=contact_days,
            reward_usd=reward,
            reward_per_contact_day_usd=reward / contact_days,
            **counts,
        )
    return found


def nothing_sent(table: pd.DataFrame, scenario: Scenario) -> tuple[str, ...]:
    """A sentence where no message left on any day."""
    if any(table[f"sends_{name}"].sum() for name in scenario.catalog.channels):
        return ()
    return (f"nothing was sent on any of {table['day'].nunique()} days: see which rules removed what",)


def removed_pairs(days: Sequence[FinishedDay]) -> dict[str, int]:
    """Rule id -> (contact, action) pairs that it removed."""
    total: dict[str, int] = {}
    for day in days:
        for name, (_, pairs, _contacts) in day.removed.items():
            total[name] = total.get(name, 0) + pairs
    return total


class JoinTotals:
    """Sums of the reports of many joins."""

    def __init__(self) -> None:
        self.decisions = self.outcomes = self.duplicates = self.after_end = 0
        self._metrics: dict[str, dict[str, int]] = {}

    def add(self, report: dict[str, Any]) -> None:
        """Add one report, as plain data."""
        self.decisions += report["decisions"]
        self.outcomes += report["outcomes"]
        self.duplicates += report["duplicates"]
        self.after_end += report["after_now"]
        for name, counts in report["metrics"].items():
            known = self._metrics.setdefault(name, {})
            for key, value in counts.items():
                known[key] = known.get(key, 0) + value

    def metrics(self) -> dict[str, MetricJoin]:
        """By metric."""
        keys = ("credited", "late", "matured", "pending")
        return {name: MetricJoin(**{key: counts[key] for key in keys}) for name, counts in self._metrics.items()}
