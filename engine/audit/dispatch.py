"""What was drawn and did not leave: estimates see rows that left, so a loss that depends on the action biases them."""

from __future__ import annotations

import numpy as np

from engine.audit.block import AuditBlock
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule

NAME = "undispatched"
ADVICE = (
    "sends were drawn but not handed over (failed, suppressed, or no dispatch report was joined yet): join the "
    "reports; where sends really fail, estimates hold for a world in which those decisions do not count"
)


class Dispatch:
    """Drawn and unusable rows by group of actions.

    Args:
        groups: of actions.
    """

    def __init__(self, groups: ActionGroups) -> None:
        self._groups = groups
        self._sums = np.zeros((2, len(groups.names)))

    def add(self, block: AuditBlock) -> None:
        rows = np.flatnonzero(block.available)
        member = self._groups.member[block.rounds.action[rows]].astype(np.float64)
        self._sums += np.stack([member.sum(axis=0), member[~block.rounds.usable[rows]].sum(axis=0)])

    def merge(self, other: Dispatch) -> None:
        self._sums = self._sums + other._sums

    def finding(self, rule: AuditRule) -> Finding:
        """Share of all drawn rows, with the group that lost most."""
        drawn, lost = self._sums
        if not drawn[0]:
            return not_applicable(NAME, "nothing was drawn in any row")
        shares = np.divide(lost, drawn, out=np.zeros_like(lost), where=drawn > 0)
        worst = int(np.argmax(shares))
        what = f"{lost[0]:.0f} of {drawn[0]:.0f} drawn decisions did not leave"
        what += f"; most of {self._groups.names[worst]}: {shares[worst]:.1%}" if lost[0] else ""
        return graded(NAME, float(lost[0] / drawn[0]), rule.undispatched, what, ADVICE)
