"""What a log never showed: actions that were never taken for some contacts although they might often have been.

A model extrapolates there. A policy does not choose such an action as if it were known: by exploring alone, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import ArtefactError
from engine.features import ContextBatch, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from policies.peers.segmentation import Cut, fit_cuts

# Numeric features are cut into about so many bins, missing and stale values beside them.
BINS: Final = 4
# An action counts as never taken where so many contacts would have got it by its share everywhere: by chance none of
# them does once in three million (exp(-15)), and a log has some thousand pairs of bin and action.
EXPECTED: Final = 15.0


@dataclass(frozen=True)
class Unseen:
    """Pairs of a bin of a feature and an action that a log never showed.

    Attributes:
        cuts: the features, each cut into bins.
        never: for each cut, (cells, k) whether an action was never taken there.
    """

    cuts: tuple[Cut, ...]
    never: tuple[BoolArray, ...]

    @cached_property
    def pairs(self) -> int:
        """How many pairs there are."""
        return int(sum(table.sum() for table in self.never))

    def of(self, context: ContextBatch) -> BoolArray:
        """(n, k) actions that were never taken for such contacts.

        Raises:
            DataError: the context lacks a feature.
        """
        out = np.zeros((context.n, self.never[0].shape[1] if self.never else 0), dtype=np.bool_)
        for cut, table in zip(self.cuts, self.never, strict=True):
            out |= table[cut.cell_of(context)]
        return out

    def known_first(self, scores: FloatArray, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) scores in which what was never taken is behind all that was.

        Where nothing else may be sent, hold is the safe action, if it is eligible.
        """
        unseen = self.of(context)
        stuck = ~(eligible & ~unseen).any(axis=1)
        unseen[stuck, HOLD] = False
        span = scores.max(axis=1) - scores.min(axis=1) + 1.0
        return scores - np.where(unseen, span[:, None], 0.0)

    def chosen_instead(self, scores: FloatArray, context: ContextBatch, eligible: BoolArray) -> BoolArray:
        """(n,) rows in which the best by the scores was never taken, so that another action is."""
        best = np.where(eligible, scores, -np.inf).argmax(axis=1)
        shown = np.where(eligible, self.known_first(scores, context, eligible), -np.inf).argmax(axis=1)
        changed: BoolArray = best != shown
        return changed

    def without(self, rounds: Iterable[RoundBatch]) -> Unseen:
        """What further rounds do not show either."""
        left = [table.copy() for table in self.never]
        for batch in rounds:
            for cut, table in zip(self.cuts, left, strict=True):
                table[cut.cell_of(batch.context), batch.action] = False
        return _kept(self.cuts, left)

    def to_builtins(self) -> list[dict[str, Any]]:
        """As json: a feature, how it is cut, and the actions that each of its bins lacks."""
        return [
            {**msgspec.to_builtins(cut), "never": _actions(table)}
            for cut, table in zip(self.cuts, self.never, strict=True)
        ]


def unseen_of(said: Any, k: int) -> Unseen | None:
    """What `Unseen.to_builtins` wrote, for k actions; None for nothing.

    Raises:
        ArtefactError: something else.
    """
    if not said:
        return None
    cuts, never = [], []
    try:
        for one in said:
            cut = msgspec.convert({name: value for name, value in one.items() if name != "never"}, Cut)
            table = np.zeros((cut.cells, k), dtype=np.bool_)
            for cell, actions in one["never"].items():
                table[int(cell), np.array(actions, dtype=np.int64)] = True
            cuts.append(cut)
            never.append(table)
    except (msgspec.ValidationError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"what the manifest says of actions that were never taken cannot be read: {error}", hint="train again"
        ) from error
    return Unseen(tuple(cuts), tuple(never))


def unseen_in(
    rounds: Iterable[RoundBatch], schema: FeatureSchema, k: int, decisions_per_contact: float = 1.0
) -> Unseen | None:
    """The pairs that a log never showed; None where it showed all that could be expected.

    Decisions with one eligible action were none and are left out. A pair counts where the decisions of a bin for which
    an action was eligible, times the action's share of the decisions for which it was eligible anywhere, are `EXPECTED`
    contacts or more, and none of them got it. An action that was never taken at all is expected as often as any other.

    Args:
        rounds: may be read more than once.
        schema: of the contexts.
        k: number of actions.
        decisions_per_contact: decisions about one contact tell as little as one of them, where all are alike.
    """
    cuts = fit_cuts(schema, schema.names, (batch.context for batch in rounds), BINS)
    taken = [np.zeros((cut.cells, k)) for cut in cuts.cuts]
    offered = [np.zeros((cut.cells, k)) for cut in cuts.cuts]
    total, could, each = np.zeros(k), np.zeros(k), 0.0
    for whole in rounds:
        every = whole.eligible_dense()
        free = every.sum(axis=1) > 1
        batch, eligible = whole.take(free), every[free]
        if not batch.n:
            continue
        total += np.bincount(batch.action, minlength=k)
        could += eligible.sum(axis=0)
        each += float((1.0 / eligible.sum(axis=1)).sum())
        for cut, own, may in zip(cuts.cuts, taken, offered, strict=True):
            cell = cut.cell_of(batch.context)
            np.add.at(own, (cell, batch.action), 1.0)
            may += _by_cell(cell, eligible, cut.cells)
    rows = total.sum()
    if not rows:
        return None
    share = np.where(total > 0, total / np.maximum(could, 1.0), each / rows)
    share /= decisions_per_contact
    never = [(own == 0) & (may * share >= EXPECTED) for own, may in zip(taken, offered, strict=True)]
    found = _kept(cuts.cuts, never)
    return found if found.pairs else None


def _by_cell(cell: IntArray, values: BoolArray, cells: int) -> FloatArray:
    """(cells, k) sums of (n, k) flags by cell."""
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(cells))
    padded = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values[order], axis=0)])
    ends = np.append(starts[1:], len(cell))
    out: FloatArray = padded[ends] - padded[starts]
    return out


def _kept(cuts: Iterable[Cut], never: Iterable[BoolArray]) -> Unseen:
    """The cuts that lack something."""
    some = [(cut, table) for cut, table in zip(cuts, never, strict=True) if table.any()]
    return Unseen(tuple(cut for cut, _ in some), tuple(table for _, table in some))


def _actions(table: BoolArray) -> dict[str, list[int]]:
    return {str(cell): np.flatnonzero(row).tolist() for cell, row in enumerate(table) if row.any()}
