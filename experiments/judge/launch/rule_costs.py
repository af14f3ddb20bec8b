"""What each guardrail rule takes away from a policy: actions, decisions, sends, value by a model's opinion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from engine.features import ContextBatch
from engine.guardrails.conditions import conditions_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.legal import LEGAL
from engine.guardrails.pack import pack_from
from engine.guardrails.replay.log import COLUMNS, LogRules
from engine.log.parquet import LogReader
from engine.ope.target import Target
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import HOLD, BoolArray, ByteArray, FloatArray
from experiments.outputs import Output

# Judging a record anew costs more than reading it: a log is sampled in whole chunks beyond this many.
MAX_CHUNKS: Final = 16
OPINION: Final = "a reward model's opinion: what a rule removes was never sent, so no log can confirm it"
_RIGHTS: Final = ("consent", "suppression")
Scores = Callable[[ContextBatch], FloatArray]


class RuleCost(Output, frozen=True, kw_only=True):
    """What one guardrail rule takes away from the policy.

    Attributes:
        removed: share of (decision, send action) pairs that it removes.
        silenced: share of decisions that it alone leaves without any send.
        sends: sends per decision that the policy would make more without it.
        value: what a reward model thinks that those are worth, per decision; an opinion: nothing that the rule removes
            was ever sent, so no log can confirm it. Null where it is not a choice (legal) or no model knows.
        note: reservations.
    """

    id: str
    rule: str
    kind: str
    removed: float
    silenced: float
    sends: float | None = None
    value: float | None = None
    note: str = ""


@dataclass
class _Sums:
    """Sums over decisions of what one rule takes away."""

    removed: int = 0
    silenced: int = 0
    sends: float = 0.0
    value: float = 0.0


@dataclass
class RuleCosts:
    """Sums over the blocks of a log of ours.

    Attributes:
        rules: the rules of the pack that held.
        target: the policy whose sends are counted.
        scores: predicted reward of every action, or None.
        stride: one chunk in so many is judged.
    """

    rules: LogRules
    target: Target
    scores: Scores | None
    stride: int
    rows: int = 0
    sums: dict[str, _Sums] = field(default_factory=dict)

    def add(self, batch: RoundBatch) -> None:
        """Judge a batch, if it is in the sample."""
        if batch.chunk % self.stride or not batch.n:
            return
        self.rows += batch.n
        verdicts = self.rules.verdicts(batch)
        eligible = batch.eligible_dense()
        gone = {name: verdicts.of(name)[:, 1:] for name in verdicts.removed}
        reasons = np.sum([flags.astype(np.int16) for flags in gone.values()], axis=0)
        before = self.target.probabilities(batch).full
        scores = None if self.scores is None else self.scores(batch.context)
        for name, flags in gone.items():
            own = self.sums.setdefault(name, _Sums())
            own.removed += int(np.count_nonzero(flags))
            alone = flags & (reasons == 1)
            own.silenced += int(np.count_nonzero(alone.any(axis=1) & ~eligible[:, 1:].any(axis=1)))
            if before is not None:
                self._without(own, batch, eligible, alone, before, scores)

    def _without(
        self,
        own: _Sums,
        batch: RoundBatch,
        eligible: BoolArray,
        alone: BoolArray,
        before: FloatArray,
        scores: FloatArray | None,
    ) -> None:
        """What the policy would do were the rule not there, where that frees anything."""
        freed = np.column_stack([np.zeros(batch.n, dtype=np.bool_), alone]) & ~eligible
        rows = np.flatnonzero(freed.any(axis=1))
        if not len(rows):
            return
        part = batch.take(rows)
        wider = np.packbits(eligible[rows] | freed[rows], axis=1, bitorder="little")
        after = self.target.probabilities(_with_eligible(part, wider)).full
        if after is None:
            return
        own.sends += float((before[rows, HOLD] - after[:, HOLD]).sum())
        if scores is not None:
            own.value += float(((after - before[rows]) * scores[rows]).sum())

    def result(self) -> tuple[RuleCost, ...]:
        """One row a rule, in the order of the pack."""
        if not self.rows:
            return ()
        sends = self.rows * (self.rules.guardrails.catalog.k - 1)
        sampled = f"judged on {self.rows:,} decisions, one chunk of {CHUNK_ROWS:,} in {self.stride}"
        note = sampled if self.stride > 1 else ""
        return tuple(
            self._row(entry.id, entry.rule, entry.kind, sends, note) for entry, _ in self.rules.guardrails.rules
        )

    def _row(self, name: str, rule: str, kind: str, sends: int, note: str) -> RuleCost:
        own = self.sums.get(name, _Sums())
        legal = kind == LEGAL or rule in _RIGHTS
        priced = self.scores is not None and not legal
        said = "not priced: the law and the contact's own word are no choice" if legal else OPINION if priced else ""
        return RuleCost(
            id=name,
            rule=rule,
            kind=kind,
            removed=own.removed / sends,
            silenced=own.silenced / self.rows,
            sends=own.sends / self.rows,
            value=own.value / self.rows if priced else None,
            note="; ".join(part for part in (said, note) if part),
        )


def _with_eligible(batch: RoundBatch, eligible: ByteArray) -> RoundBatch:
    return replace(batch, eligible=eligible)


def rule_costs(reader: LogReader, target: Target, scores: Scores | None) -> RuleCosts | None:
    """Sums for the pack that held on a log; None where the log does not keep what its rules read."""
    if reader.meta.pack is None or not set(COLUMNS) <= set(reader.schema.names):
        return None
    if not _has_inputs(reader):
        return None
    guardrails = Guardrails(pack_from(reader.meta.pack, source=str(reader.path)), reader.meta.catalog)
    conditions = conditions_from(reader.meta.conditions or {}, source=f"the footer of {reader.path}")
    chunks = -(-reader.rows // CHUNK_ROWS)
    return RuleCosts(LogRules(guardrails, conditions), target, scores, max(1, -(-chunks // MAX_CHUNKS)))


def _has_inputs(reader: LogReader) -> bool:
    return all(batch.column("rule_inputs").null_count == 0 for batch in reader.batches(["rule_inputs"]))
