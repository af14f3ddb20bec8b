"""Was every logged action in the eligible set of its row? Nothing that is estimated from such a row means anything."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.audit.block import AuditBlock
from engine.audit.findings import FAIL, PASS, Finding, not_applicable

NAME: Final = "logged_action"
ADVICE: Final = "eligible set and action of a row contradict each other: log the set that the action was drawn from"


class LoggedAction:
    """Counts of drawn rows; mergeable."""

    def __init__(self) -> None:
        self._drawn = 0
        self._removed = 0

    def add(self, block: AuditBlock) -> None:
        self._drawn += int(np.count_nonzero(block.available))
        self._removed += int(np.count_nonzero(block.available & ~block.rounds.was_eligible()))

    def merge(self, other: LoggedAction) -> None:
        self._drawn += other._drawn
        self._removed += other._removed

    def finding(self) -> Finding:
        """The share of drawn rows whose action is not in their eligible set; any fails."""
        if not self._drawn:
            return not_applicable(NAME, "nothing was drawn in any row")
        what = f"{self._removed} of {self._drawn} drawn rows took an action that is not in their eligible set"
        failed = self._removed > 0
        share = self._removed / self._drawn
        return Finding(NAME, FAIL if failed else PASS, share, None, 0.0, what, ADVICE if failed else "")
