"""Rewards that are not known: how many, and whether knowing them depends on the action.

A window that is still open is no fault. But where rewards are known for some actions only (sends that somebody reacted
to, say), the known rows are no sample of the draws: E[known (w - target)] is then above 0 for some group of actions,
which is tested as in `independence`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.audit.block import AuditBlock
from engine.audit.evidence import smallest, upper_p
from engine.audit.findings import FAIL, Finding, graded, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.types import FloatArray

NAME, BY_ACTION = "maturity", "outcomes_by_action"


class Maturity:
    """Known and unknown rewards, and their sums of weights, by metric.

    Args:
        groups: of actions.
        metrics: by name.
    """

    def __init__(self, groups: ActionGroups, metrics: Sequence[str]) -> None:
        self._groups = groups
        self._rows = 0
        self._unknown = dict.fromkeys(metrics, 0)
        self._sums: dict[str, FloatArray] = {name: np.zeros((2, 3, len(groups.names))) for name in metrics}

    def add(self, block: AuditBlock) -> None:
        usable = block.rounds.usable
        self._rows += int(usable.sum())
        parts = np.stack([block.weight, block.weight * block.weight, block.target])
        for name in self._unknown:
            unknown = np.isnan(block.rounds.rewards[name])
            self._unknown[name] += int((unknown & usable).sum())
            own = unknown[block.rows]
            self._sums[name] += np.stack([parts[:, own].sum(axis=1), parts[:, ~own].sum(axis=1)])

    def merge(self, other: Maturity) -> None:
        self._rows += other._rows
        for name, count in other._unknown.items():
            self._unknown[name] += count
            self._sums[name] = self._sums[name] + other._sums[name]

    def finding(self, rule: AuditRule) -> Finding:
        """Share of usable rows without a reward, of the metric with most."""
        if not self._unknown:
            return not_applicable(NAME, "the log has no rewards yet: join outcomes first (`tactful join`)")
        if not self._rows:
            return not_applicable(NAME, "no row is usable")
        worst = max(self._unknown, key=lambda name: self._unknown[name])
        share = self._unknown[worst] / self._rows
        what = f"{self._unknown[worst]} of {self._rows} usable rows have no {worst} yet"
        advice = "wait until the windows have closed, or join with a later --now"
        return graded(NAME, share, rule.immature, what, advice)

    def by_action(self, drawn: Finding, rule: AuditRule) -> Finding:
        """Whether a reward is known depends on the action: the worst metric and group."""
        if drawn.verdict == FAIL:
            return not_applicable(BY_ACTION, f"{drawn.check} fails: nothing more can be said of the draw")
        names = [name for name, count in self._unknown.items() if 0 < count < self._rows]
        if not names:
            return not_applicable(BY_ACTION, "every usable row has its reward, or none has")
        table = np.stack([self._sums[name] for name in names])
        total, squares, target = np.moveaxis(table, 2, 0)
        p_values = upper_p(total - target, squares - 2.0 * total + target)
        metric, known, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        which = "known" if known else "unknown"
        what = f"{names[metric]} is {which} unevenly for {self._groups.names[group]}; {p_values.size} means tested"
        advice = "rewards are known for some actions only: give every decision its reward, zeros among them"
        return tested(BY_ACTION, smallest(p_values), rule, what, advice)
