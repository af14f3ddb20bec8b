"""Who is treated differently by a new policy, and how: shares of decisions from the policies' own probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.features import ContextBatch
from engine.numeric.matmul import matmul
from engine.ope.sums.exact import add_pairs
from engine.types import BoolArray, FloatArray
from experiments.outputs import Output
from policies.peers.segmentation import Cut, Segmentation

BANDS: Final = (
    ("night, 0-5 h", 0, 6),
    ("morning, 6-11 h", 6, 12),
    ("afternoon, 12-16 h", 12, 17),
    ("evening, 17-23 h", 17, 24),
)
# Catalogs with few hour slots are shown slot by slot.
MANY_HOURS: Final = 4
SHOWN_GROUPS: Final = 8
# A group this small is an anecdote.
MIN_SHARE: Final = 0.02


class ShareRow(Output, frozen=True, kw_only=True):
    """Share of decisions that get something, under the baseline and under the policy.

    Attributes:
        kind: treatment | channel | hours | arm.
        shares: expected, from the policies' own probabilities: no outcome is in them and so no error either.
    """

    kind: str
    level: str
    baseline: float
    policy: float


class GroupRow(Output, frozen=True, kw_only=True):
    """How a group of contacts is treated.

    Attributes:
        feature / level: who.
        share: the group's share of the decisions.
        distance: mean total variation between the two policies' distributions over actions, in [0, 1].
        shares: how the group is treated, hold first.
    """

    feature: str
    level: str
    share: float
    distance: float
    shares: tuple[ShareRow, ...]


class TreatmentOutput(Output, frozen=True, kw_only=True):
    """Who is treated differently, and how.

    Attributes:
        distance: mean total variation distance between the two policies' distributions over actions, in [0, 1].
        overall: shares of all decisions.
        groups: the most different ones first.
    """

    policy: str
    baseline: str
    rows: int
    distance: float
    overall: tuple[ShareRow, ...]
    groups: tuple[GroupRow, ...]


@dataclass(frozen=True)
class Kinds:
    """What a decision can be, as cells of a few kinds: hold, each channel, each band of hours, each arm.

    Attributes:
        names: (kind, level) of each cell.
        member: (k, cells) whether an action is in a cell.
    """

    names: tuple[tuple[str, str], ...]
    member: FloatArray


def kinds_of(catalog: Catalog) -> Kinds:
    """The cells of a catalog; an axis of one slot is left out."""
    channel, hour, arm = catalog.split(np.arange(catalog.k))
    cells: list[tuple[str, str, BoolArray]] = [("treatment", "no message", channel < 0)]
    if len(catalog.channels) > 1:
        cells += [("channel", name, channel == i) for i, name in enumerate(catalog.channels)]
    hours = np.array(catalog.hours)
    if MANY_HOURS >= len(hours) > 1:
        cells += [("hours", f"{slot} h", hour == i) for i, slot in enumerate(catalog.hours)]
    elif len(hours) > MANY_HOURS:
        sent = hour >= 0
        cells += [("hours", name, sent & (hours[hour] >= low) & (hours[hour] < high)) for name, low, high in BANDS]
    if len(catalog.arms) > 1:
        cells += [("arm", one.id, arm == i) for i, one in enumerate(catalog.arms)]
    return Kinds(
        tuple((kind, level) for kind, level, _ in cells), np.stack([flags for *_, flags in cells], axis=1).astype(float)
    )


class TreatmentSums:
    """Shares by group of contacts over a stream of blocks; mergeable, memory is that of the groups.

    Args:
        catalog: the log's catalog.
        groups: cuts by single features, fitted elsewhere.
    """

    def __init__(self, catalog: Catalog, groups: Segmentation) -> None:
        self.kinds, self.groups = kinds_of(catalog), groups
        cells = self.kinds.member.shape[1]
        self._starts = np.cumsum([0, 1, *(cut.cells for cut in groups.cuts)])
        # Per group: rows, total variation, and the cells under each of the two policies.
        self._high = np.zeros((int(self._starts[-1]), 2 + 2 * cells))
        self._low = np.zeros_like(self._high)

    def add(self, context: ContextBatch, baseline: FloatArray, policy: FloatArray) -> None:
        """Add (n, k) distributions of the two policies for the same n contacts."""
        distance = np.abs(baseline - policy).sum(axis=1) / 2.0
        values = np.column_stack(
            [np.ones(context.n), distance, matmul(baseline, self.kinds.member), matmul(policy, self.kinds.member)]
        )
        sums = np.zeros_like(self._high)
        sums[0] = values.sum(axis=0)
        for start, cut in zip(self._starts[1:], self.groups.cuts, strict=False):
            cells = cut.cell_of(context)
            for place in range(values.shape[1]):
                sums[start : start + cut.cells, place] = np.bincount(cells, values[:, place], cut.cells)
        self._high, self._low = add_pairs(self._high, self._low, sums, np.zeros_like(sums))

    def merge(self, other: TreatmentSums) -> None:
        """Add what another has summed over other blocks of the same log."""
        self._high, self._low = add_pairs(self._high, self._low, other._high, other._low)

    def result(self, policy: str, baseline: str) -> TreatmentOutput:
        """Overall shares, and the groups whose treatment changes most, one a feature first."""
        total = self._high + self._low
        rows = total[0, 0]
        found: list[tuple[float, GroupRow]] = []
        for start, cut in zip(self._starts[1:], self.groups.cuts, strict=False):
            for cell, label in enumerate(cell_names(cut)):
                own = total[start + cell]
                if own[0] >= MIN_SHARE * rows:
                    group = GroupRow(
                        feature=cut.feature,
                        level=label,
                        share=float(own[0] / rows),
                        distance=float(own[1] / own[0]),
                        shares=self._shares(own),
                    )
                    found.append((self._contrast(own, total[0]), group))
        return TreatmentOutput(
            policy=policy,
            baseline=baseline,
            rows=int(rows),
            distance=float(total[0, 1] / rows) if rows else 0.0,
            overall=self._shares(total[0]),
            groups=_picked(found),
        )

    def _contrast(self, own: FloatArray, all_rows: FloatArray) -> float:
        """How differently from everybody the group's treatment changes, weighted by the root of its size."""
        cells = len(self.kinds.names)
        changes = [(sums[2 + cells :] - sums[2 : 2 + cells]) / sums[0] for sums in (own, all_rows)]
        return float(np.abs(changes[0] - changes[1]).max() * np.sqrt(own[0] / all_rows[0]))

    def _shares(self, sums: FloatArray) -> tuple[ShareRow, ...]:
        cells = len(self.kinds.names)
        today, new = sums[2 : 2 + cells] / max(sums[0], 1.0), sums[2 + cells :] / max(sums[0], 1.0)
        return tuple(
            ShareRow(kind=kind, level=level, baseline=float(a), policy=float(b))
            for (kind, level), a, b in zip(self.kinds.names, today, new, strict=True)
        )


def _picked(found: Sequence[tuple[float, GroupRow]]) -> tuple[GroupRow, ...]:
    """The strongest contrasts, at most two groups a feature."""
    chosen: list[GroupRow] = []
    taken: dict[str, int] = {}
    for _, group in sorted(found, key=lambda pair: (-pair[0], pair[1].feature, pair[1].level)):
        if taken.get(group.feature, 0) < 2 and len(chosen) < SHOWN_GROUPS:
            chosen.append(group)
            taken[group.feature] = taken.get(group.feature, 0) + 1
    return tuple(chosen)


def cell_names(cut: Cut) -> tuple[str, ...]:
    """Names of a cut's cells for people, in their order."""
    if not cut.numeric:
        return (*cut.levels, "other", "not known", "out of date")
    edges = [f"{edge:.4g}" for edge in cut.edges]
    if not edges:
        return ("any", "not known", "out of date")
    inner = [f"{low} to below {high}" for low, high in pairwise(edges)]
    return (f"below {edges[0]}", *inner, f"{edges[-1]} or more", "not known", "out of date")
