"""Sample-ratio mismatch: are actions drawn as often as they should be, overall, by month, by day and by arm?

Where the whole distribution of a row is known (the uniform slice; a log whose propensities are all even; one whose
actions have each a constant propensity), counts are held against exact binomial tests, which see smaller faults than
weights do. Learned policies log the probability of one action only: their rows are judged by `mean_weight`.
"""

from __future__ import annotations

import numpy as np

from engine.audit.block import AuditBlock
from engine.audit.evidence import count_p, smallest
from engine.audit.findings import Finding, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.audit.support import Support
from engine.audit.windows import DaySums
from engine.numeric.matmul import matmul
from engine.records.schema import UNIFORM_SLICE

NAME = "sample_ratio"
ADVICE = (
    "actions do not come in the ratio that they were drawn in: rows are lost or doubled by action, or something else "
    "than the logged draw decided; compare sends handed over with decisions logged in the window named"
)


class SampleRatio:
    """Counts and expectations by day and group, of all rows and of the uniform slice.

    Args:
        groups: of actions.
    """

    def __init__(self, groups: ActionGroups) -> None:
        self._groups = groups
        self._every, self._slice = DaySums(), DaySums()

    def add(self, block: AuditBlock) -> None:
        rows = block.rows
        hit = self._groups.member[block.rounds.action[rows]].astype(np.float64)
        table = np.stack([hit, block.share, np.ones_like(hit)], axis=1)
        self._every.add(block.day[rows], lambda some: table[some].sum(axis=0))
        own = np.flatnonzero(block.group[rows] == UNIFORM_SLICE)
        sliced = table[own]
        self._slice.add(block.day[rows][own], lambda some: sliced[some].sum(axis=0))

    def merge(self, other: SampleRatio) -> None:
        self._every.merge(other._every)
        self._slice.merge(other._slice)

    def finding(self, support: Support, rule: AuditRule) -> Finding:
        """The worst window and group."""
        constant = support.constant
        if support.even or constant is not None:
            sums, what = self._every, "all rows"
        elif support.slice_rows:
            sums, what = self._slice, "the uniform slice"
        else:
            return not_applicable(
                NAME, "no row's whole distribution is known: there is no uniform slice; see mean_weight"
            )
        windows = list(sums.windows())
        names = [name for name, _ in windows]
        count, expected, rows = np.moveaxis(np.stack([one for _, one in windows]), 1, 0)
        if not support.even and constant is not None:
            expected = rows * matmul(constant, self._groups.member)
        p_values = count_p(count, rows, expected)
        window, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        said = (
            f"{self._groups.names[group]}, {names[window]}: {count[window, group]:.0f} of {rows[window, group]:.0f}, "
            f"expected {expected[window, group]:.1f}; {p_values.size} counts of {what} tested"
        )
        return tested(NAME, smallest(p_values), rule, said, ADVICE, rows=float(rows[0, 0]))
