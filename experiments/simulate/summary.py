"""The days of a run as a table, and as the object that the command prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from experiments.outputs import MetricJoin
from experiments.simulate.daily import CONTACT_GROUPS, MILLIONTHS, SCALED, columns
from experiments.simulate.outputs import GroupTotals
from experiments.simulate.parts import Day
from simulator.scenario import Scenario


def day_table(days: Sequence[Day], scenario: Scenario) -> pd.DataFrame:
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


def removed_pairs(days: Sequence[Day]) -> dict[str, int]:
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
