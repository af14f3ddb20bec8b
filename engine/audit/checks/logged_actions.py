"""Is each row's action the one that its name says, and was it in the row's eligible set?

Nothing that is estimated from rows of another kind means anything.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.findings import FAIL, PASS, Finding, not_applicable
from engine.errors import MisnamedActionError
from engine.log.parquet import LogReader

ACTIONS: Final = "actions"


def actions(reader: LogReader) -> Finding:
    """Fails where a row's index, name and catalog version contradict each other or the footer.

    Nothing else can then be said of the log: a reader refuses rows whose actions may be other ones.

    Raises:
        LogFormatError: rows that break the schema.
    """
    try:
        for _ in reader.batches(["action"]):
            pass
    except MisnamedActionError as error:
        return Finding(ACTIONS, FAIL, 1.0, None, 0.0, error.message, error.hint)
    return Finding(ACTIONS, PASS, 0.0, None, 0.0, f"{reader.rows} rows name their actions as their catalog does")


LOGGED_ACTION: Final = "logged_action"
_LOGGED_ACTION_ADVICE: Final = (
    "eligible set and action of a row contradict each other: log the set that the action was drawn from"
)


class LoggedAction:
    """Counts of drawn rows; mergeable."""

    def __init__(self) -> None:
        self._drawn = 0
        self._removed = 0

    def add(self, batch: AuditBatch) -> None:
        self._drawn += int(np.count_nonzero(batch.available))
        self._removed += int(np.count_nonzero(batch.available & ~batch.rounds.was_eligible()))

    def merge(self, other: LoggedAction) -> None:
        self._drawn += other._drawn
        self._removed += other._removed

    def finding(self) -> Finding:
        """The share of drawn rows whose action is not in their eligible set; any fails."""
        if not self._drawn:
            return not_applicable(LOGGED_ACTION, "nothing was drawn in any row")
        what = f"{self._removed} of {self._drawn} drawn rows took an action that is not in their eligible set"
        failed = self._removed > 0
        share = self._removed / self._drawn
        return Finding(
            LOGGED_ACTION, FAIL if failed else PASS, share, None, 0.0, what, _LOGGED_ACTION_ADVICE if failed else ""
        )
