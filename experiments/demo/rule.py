"""The learned rule in words: the few groups that tell most of it, what each gets, what it got before, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.features import ContextBatch
from engine.log.selection import Selection
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from experiments.judge.backtest import Prepared
from experiments.judge.launch.treatment import cell_names
from experiments.outputs import Output
from experiments.report.launch_details import readable
from experiments.report.words import percent
from policies.horizon.panel import stacked
from policies.parts.tables import PartTables
from policies.peers.segmentation import Cut
from policies.vw.scoring.compiled import CompiledPolicy

# Decisions with a choice that are looked at.
_ROWS: Final = 20_000
_FEATURES: Final = 2
_SHOWN: Final = 8
# A smaller group is an anecdote.
_LEAST: Final = 0.02


class RuleRow(Output, frozen=True, kw_only=True):
    """One group of contacts.

    Attributes:
        who: the group, by what is known of it.
        share: of the decisions that have a choice.
        gets / gets_share: what the learned policy thinks best for most of it, and for which share.
        segments_send: what the segments send to most of it.
        gain: USD a decision over the segments, by the model that was learnt: an opinion, not an estimate from the log.
        why: the worth of what it gets, by its parts.
    """

    who: str
    share: float
    gets: str
    gets_share: float
    segments_send: str
    gain: float
    why: str


@dataclass(frozen=True)
class _Seen:
    """Decisions with a choice: scores (n, k), -inf where not eligible, and what both policies do."""

    context: ContextBatch
    scores: FloatArray
    best: IntArray
    today: IntArray

    @property
    def n(self) -> int:
        return len(self.best)


def learned_rule(prepared: Prepared) -> tuple[RuleRow, ...]:
    """The groups by at most two features under which one action a group keeps most of what the policy expects.

    Args:
        prepared: of a backtest; the groups are read off contacts that nothing was learnt from.
    """
    policy = prepared.policy
    seen = _seen(prepared, policy)
    if not isinstance(policy, CompiledPolicy) or seen is None:
        return ()
    chosen, cell = _grouped(seen, prepared.groups.cuts)
    rows = [
        _row(_name(chosen, int(one)), np.flatnonzero(cell == one), seen, policy)
        for one in np.unique(cell)
        if np.mean(cell == one) >= _LEAST
    ]
    return tuple(sorted(rows, key=lambda row: (-row.share, row.who))[:_SHOWN])


def _seen(prepared: Prepared, policy: object) -> _Seen | None:
    if not isinstance(policy, CompiledPolicy):
        return None
    contexts, scores, today, left = list[ContextBatch](), list[FloatArray](), list[IntArray](), _ROWS
    for batch in Selection(prepared.reader, prepared.metric, side=prepared.judge):
        eligible: BoolArray = batch.eligible_dense()
        some = np.flatnonzero(eligible[:, HOLD + 1 :].any(axis=1))[:left]
        if not len(some):
            continue
        part, may = batch.context.take(some), eligible[some]
        contexts.append(part)
        scores.append(np.where(may, policy.scores(part), -np.inf))
        today.append(prepared.segments.distribution(part, may).argmax(axis=1))
        left -= len(some)
        if not left:
            break
    if not contexts:
        return None
    every = np.concatenate(scores)
    return _Seen(stacked(contexts), every, every.argmax(axis=1), np.concatenate(today))


def _grouped(seen: _Seen, cuts: Sequence[Cut]) -> tuple[list[Cut], IntArray]:
    """The features, one after the other, and the group of every decision; the plainest groups that lose least."""
    cells = {cut.feature: cut.cell_of(seen.context).astype(np.int64) for cut in cuts}
    # What is not eligible falls back to hold.
    worth = np.where(np.isfinite(seen.scores), seen.scores, seen.scores[:, [HOLD]])
    chosen, group = list[Cut](), np.zeros(seen.n, dtype=np.int64)
    kept = _kept(group, worth)
    for _ in range(_FEATURES):
        tried = [(_kept(group * cut.cells + cells[cut.feature], worth), cut) for cut in cuts if cut not in chosen]
        if not tried or max(value for value, _ in tried) <= kept:
            break
        kept, best = max(tried, key=lambda pair: pair[0])
        group = group * best.cells + cells[best.feature]
        chosen.append(best)
    return chosen, group


def _kept(group: IntArray, worth: FloatArray) -> float:
    """What is kept of the expected worth where every group gets one action."""
    places = np.unique(group, return_inverse=True)[1]
    sums = np.stack([np.bincount(places, column) for column in worth.T], axis=1)
    return float(sums.max(axis=1).sum())


def _name(cuts: Sequence[Cut], cell: int) -> str:
    said = list[str]()
    for cut in reversed(cuts):
        cell, own = divmod(cell, cut.cells)
        said.insert(0, f"{readable(cut.feature)} {readable(cell_names(cut)[own])}")
    return ", ".join(said) or "everybody"


def _row(who: str, rows: IntArray, seen: _Seen, policy: CompiledPolicy) -> RuleRow:
    catalog = policy.catalog
    best, count = _most(seen.best[rows])
    today, _ = _most(seen.today[rows])
    gain = seen.scores[rows, seen.best[rows]] - seen.scores[rows, seen.today[rows]]
    may = rows[np.isfinite(seen.scores[rows, best])]
    return RuleRow(
        who=who,
        share=len(rows) / seen.n,
        gets=_action(catalog, best),
        gets_share=count / len(rows),
        segments_send=_action(catalog, today),
        gain=float(gain.mean()),
        why=_why(policy, seen.context.take(may), best),
    )


def _most(actions: IntArray) -> tuple[int, int]:
    counts = np.bincount(actions)
    return int(counts.argmax()), int(counts.max())


def _action(catalog: Catalog, action: int) -> str:
    return "no message" if action == HOLD else readable(catalog.action_names[action].replace("|", " "))


def _why(policy: CompiledPolicy, context: ContextBatch, action: int) -> str:
    """The mean of each part over the group; the product of two means is no mean, so no sum is claimed."""
    if action == HOLD:
        return "no message is worth more than none"
    if not isinstance(policy.tables, PartTables):
        return ""
    parts = policy.tables.parts(policy.encoder.encode(context), action)
    mean = {name: float(value.mean()) for name, value in parts.items()}
    said = []
    if "chance" in mean:
        said.append(f"{percent(mean.pop('chance'))} {policy.tables.stage}, worth {mean.pop('worth'):.2f} USD each")
    said += [f"{name} {value:+.3f} USD" for name, value in mean.items() if abs(value) >= 5e-4]
    return "; ".join(said)
