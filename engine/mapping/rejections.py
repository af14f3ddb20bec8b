"""Whether the rows that an import rejected were a sample of all rows, or were lost by what they say.

A row that is rejected because of its outcome (a reward that is no number, or outside its range) takes its outcome with
it, and every figure of what is left is wrong in a direction that nobody knows. A row that is rejected for another
reason does no harm where its action had nothing to do with it; whether it had is tested action by action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats

from engine.mapping.rows import About, Reject
from engine.records.schema import RejectedReason, Rejections
from engine.types import FloatArray, IntArray

# Under so many rows in a cell the distribution of chi-square is not that of its formula.
_LEAST_EXPECTED: Final = 5.0
_MOST_ACTIONS: Final = 20
_SIGNIFICANT: Final = 0.001


class RejectTally:
    """Counts the rows of an import, kept and rejected, by action and reason.

    Args:
        action_names: the names of the catalog's actions.
        even: whether each action has one probability in all rows; else the test by action sees the context too.
    """

    def __init__(self, action_names: Sequence[str], *, even: bool) -> None:
        self._names, self._even = tuple(action_names), even
        # The last place counts rows whose action the catalog does not have.
        self._kept: IntArray = np.zeros(len(self._names) + 1, dtype=np.int64)
        self._rejected: dict[str, IntArray] = {}
        self._about: dict[str, About] = {}
        self.rows: Counter[str] = Counter()
        self.kept = 0

    @property
    def rejected(self) -> int:
        return self.rows.total()

    def add(self, actions: IntArray, rejects: Sequence[Reject]) -> None:
        """Count a batch.

        Args:
            actions: (n,) of the kept rows.
            rejects: the others.
        """
        self.kept += len(actions)
        self._kept += np.bincount(actions, minlength=len(self._kept))
        for reject in rejects:
            self.rows[reject.reason] += 1
            self._about[reject.reason] = reject.about
            counts = self._rejected.setdefault(reject.reason, np.zeros_like(self._kept))
            if reject.action is not None:
                counts[reject.action] += 1

    def result(self) -> Rejections:
        """What the log's footer says."""
        reasons = [self._reason(reason) for reason, _ in self.rows.most_common()]
        return Rejections(rows_read=self.kept + self.rejected, even=self._even, reasons=tuple(reasons))

    def _reason(self, reason: str) -> RejectedReason:
        counts = self._rejected[reason]
        shown = [int(place) for place in np.argsort(-counts, kind="stable")[:_MOST_ACTIONS] if counts[place]]
        names = (*self._names, "unknown")
        return RejectedReason(
            reason=reason,
            rows=self.rows[reason],
            about=self._about[reason],
            actions={names[place]: (int(counts[place]), int(self._kept[place])) for place in shown},
            p_value=dependence_p(counts, self._kept),
        )


def dependence_p(rejected: IntArray, kept: IntArray) -> float:
    """The p-value of the test that rejection does not depend on the action.

    Pearson's chi-square where every cell is expected to hold enough rows, else the exact (hypergeometric) probability
    of the most unlikely action, by Bonferroni over actions.

    Args:
        rejected / kept: (k,) rows by action.
    """
    there = rejected + kept > 0
    lost, total = rejected[there], (rejected + kept)[there]
    if len(total) < 2 or not lost.sum():
        return 1.0
    expected: FloatArray = total * (lost.sum() / total.sum())
    if min(expected.min(), (total - expected).min()) >= _LEAST_EXPECTED:
        distance = ((lost - expected) ** 2 * (1 / expected + 1 / (total - expected))).sum()
        return float(stats.chi2.sf(distance, len(total) - 1))
    law = stats.hypergeom(int(total.sum()), int(lost.sum()), total)
    tails = 2 * np.minimum(law.cdf(lost), law.sf(lost - 1))
    return float(min(1.0, tails.min() * len(total)))


def sentences(found: Rejections) -> tuple[str, ...]:
    """What every report of a log must repeat about its rejected rows; nothing where they did no harm."""
    out = []
    if found.by_outcome:
        out.append(
            f"{found.by_outcome} of {found.rows_read} rows were rejected because of their outcome "
            f"({_listed(found.reasons, 'reward')}): every figure of this log is biased, nobody knows in which direction"
        )
    if found.unread:
        out.append(
            f"{found.unread} of {found.rows_read} rows could not be read or had the id of an earlier row "
            f"({_listed(found.reasons, 'row')}): their outcome may be why"
        )
    if found.action_p < _SIGNIFICANT:
        least = min(found.reasons, key=lambda one: one.p_value)
        out.append(
            f"which rows were rejected depends on their action (p = {found.action_p:.2g}, {_words(least)}): "
            "actions are compared on rows that are not alike"
        )
    return tuple(out)


def _listed(reasons: Sequence[RejectedReason], about: str) -> str:
    return "; ".join(_words(one) for one in reasons if one.about == about)


def _words(one: RejectedReason) -> str:
    shown = ", ".join(f"{name} {lost} of {lost + kept}" for name, (lost, kept) in list(one.actions.items())[:3])
    return f"{one.reason}: {one.rows}{f' ({shown})' if shown else ''}"
