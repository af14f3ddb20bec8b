"""Are actions drawn as the log says that they were, over all, by month, by day and by arm?

Weights: for the policy "a uniform eligible action of the group", the weight 1{action in group} / (propensity x eligible
actions of the group) has mean 1 given the past, wherever the log could draw each of them, and below 1 where it could
not. A mean above 1 is therefore wrong in any log: the actions of the group come more often than their propensities say.
A mean below 1 is wrong only where every eligible action had a chance (`Support`); elsewhere it is lack of support.

Counts (sample-ratio mismatch): where the whole distribution of a row is known (the uniform slice; a log whose
propensities are all even; one whose actions have each a constant propensity), counts are held against exact binomial
tests, which see smaller faults than weights do. Learned policies log the probability of one action only: their rows are
judged by `mean_weight`.
"""

from __future__ import annotations

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.checks.support import Support
from engine.audit.evidence import count_p, smallest, upper_p
from engine.audit.findings import Finding, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.audit.windows import DaySums, day_name
from engine.numeric.matmul import matmul
from engine.records.schema import UNIFORM_SLICE
from engine.types import FloatArray, IntArray

MEAN_WEIGHT = "mean_weight"
_MEAN_WEIGHT_ADVICE = (
    "the logged propensities are not the probabilities with which the actions were drawn, or rows are missing: find "
    "out what drew the actions in the window named, and leave it out or mend its propensities"
)


class MeanWeight:
    """Sums of w, w^2 and their target by day and group.

    Args:
        groups: groups of actions whose draws are counted.
    """

    def __init__(self, groups: ActionGroups) -> None:
        self._groups = groups
        self._sums = DaySums()

    def add(self, batch: AuditBatch) -> None:
        weight, target = batch.weight, batch.target

        def sums(rows: slice | IntArray) -> FloatArray:
            own, mean = weight[rows], target[rows]
            return np.stack([own.sum(axis=0), (own * own).sum(axis=0), mean.sum(axis=0)])

        self._sums.add(batch.day[batch.rows], sums)

    def merge(self, other: MeanWeight) -> None:
        self._sums.merge(other._sums)

    def finding(self, support: Support, rule: AuditRule) -> Finding:
        """The worst window and group."""
        windows = list(self._sums.windows())
        if not windows:
            return not_applicable(MEAN_WEIGHT, "no row has a propensity: nothing says how likely each choice was")
        names = [name for name, _ in windows]
        total, squares, target = np.moveaxis(np.stack([sums for _, sums in windows]), 1, 0)
        off, spread = total - target, squares - 2.0 * total + target
        sides = [upper_p(off, spread)]
        if support.full:
            sides.append(upper_p(-off, spread, np.maximum(support.largest_weight() - 1.0, 1.0)))
        p_values = np.minimum(1.0, len(sides) * np.min(sides, axis=0))
        p_values = np.where(target > 0, p_values, 1.0)
        window, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        mean = total[window, group] / max(target[window, group], 1.0)
        worst = f"{self._groups.names[group]}, {names[window]}: mean weight {mean:.4g}, it should be 1"
        scope = "from both sides" if support.full else "from above (actions may lack support)"
        what = f"{worst}; {p_values.size} means tested {scope}"
        over = [name for name, row in zip(names, p_values, strict=True) if row.min() < rule.error / p_values.size]
        return tested(
            *(MEAN_WEIGHT, smallest(p_values), rule, what, _MEAN_WEIGHT_ADVICE),
            mean_weight=float(total[0, 0] / max(target[0, 0], 1.0)),
            full_support=support.full,
            windows=over[:40],
            by_day=self._by_day(),
        )

    def _by_day(self) -> dict[str, list[float]]:
        """Day -> mean weight of "any action" and its standard error."""
        out = {}
        for day in self._sums.days:
            total, squares, target = self._sums.of(day)[:, 0]
            mean = total / max(target, 1.0)
            variance = max(squares - 2.0 * mean * total + mean * mean * target, 0.0)
            out[day_name(day)] = [round(float(mean), 6), round(float(np.sqrt(variance)) / max(target, 1.0), 6)]
        return out


SAMPLE_RATIO = "sample_ratio"
_SAMPLE_RATIO_ADVICE = (
    "actions do not come in the ratio that they were drawn in: rows are lost or doubled by action, or something else "
    "than the logged draw decided; compare sends handed over with decisions logged in the window named"
)


class SampleRatio:
    """Counts and expectations by day and group, of all rows and of the uniform slice.

    Args:
        groups: groups of actions whose draws are counted.
    """

    def __init__(self, groups: ActionGroups) -> None:
        self._groups = groups
        self._every, self._slice = DaySums(), DaySums()

    def add(self, batch: AuditBatch) -> None:
        rows = batch.rows
        hit = self._groups.member[batch.rounds.action[rows]].astype(np.float64)
        table = np.stack([hit, batch.share, np.ones_like(hit)], axis=1)
        self._every.add(batch.day[rows], lambda some: table[some].sum(axis=0))
        own = np.flatnonzero(batch.group[rows] == UNIFORM_SLICE)
        sliced = table[own]
        self._slice.add(batch.day[rows][own], lambda some: sliced[some].sum(axis=0))

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
                SAMPLE_RATIO, "no row's whole distribution is known: there is no uniform slice; see mean_weight"
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
        return tested(SAMPLE_RATIO, smallest(p_values), rule, said, _SAMPLE_RATIO_ADVICE, rows=float(rows[0, 0]))
