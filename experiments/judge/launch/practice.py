"""What a backtest holds the learned policy against: the log, a rule, a column of actions, or tuned segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.ope.target import PolicyTarget, Target
from engine.records.rounds import RoundBatch
from experiments.judge.contenders import LOGGED, NAMED
from experiments.judge.specs import ACTION_SUFFIX, COLUMN, parse_spec
from experiments.outputs import Output
from policies.peers.config import is_rule
from policies.peers.rule import RulePolicy, in_words, read_rule, segment_conditions
from policies.peers.segments import StaticSegments

_FORMS: Final = f"always:ACTION, {COLUMN}NAME{ACTION_SUFFIX}, or a file of rules (.yaml)"


class SegmentRow(Output, frozen=True, kw_only=True):
    """One segment of a rule.

    Attributes:
        who: what its contacts have in common, in words.
        action: that they get where it may be sent.
        share: of the decisions, in (0, 1].
    """

    who: str
    action: str
    share: float


def practice_of(practice: Path, baseline: str) -> str:
    """The baseline that `--practice` means.

    Raises:
        ParameterError: no file of rules, or another baseline was named beside it.
    """
    if not is_rule(str(practice)):
        raise ParameterError("practice", "backtest", allowed="a file of rules, .yaml or .yml", got=str(practice))
    if baseline != LOGGED:
        hint = "give one of them"
        raise ParameterError("baseline", "backtest", allowed="left out beside --practice", got=baseline, hint=hint)
    return str(practice)


def own_practice(baseline: str, reader: LogReader, peers: Sequence[str]) -> tuple[Target | None, tuple[str, ...]]:
    """The user's own practice, None for a baseline by name, with the stored columns that it reads.

    Raises:
        DataError: neither a name, a rule nor a column of actions; refused before any work is done.
    """
    if is_rule(baseline):
        return PolicyTarget(read_rule(Path(baseline), reader.meta.catalog, reader.meta.features), baseline), ()
    if baseline.startswith(COLUMN) and baseline.endswith(ACTION_SUFFIX):
        return parse_spec(baseline, reader)
    if baseline.startswith("always:"):
        reader.meta.catalog.resolve(baseline.removeprefix("always:"))
    elif baseline not in (*NAMED, *peers):
        named = ", ".join((*NAMED, *peers))
        raise DataError(f"unknown baseline {baseline!r}", hint=f"one of {named}, {_FORMS}")
    return None, ()


def unmatched(practice: Target | None, rounds: Iterable[RoundBatch]) -> tuple[str, ...]:
    """A sentence for every rule of the practice that decides for nobody: a misspelt level says nothing else."""
    policy = practice.policy if isinstance(practice, PolicyTarget) else None
    if not isinstance(policy, RulePolicy):
        return ()
    count = np.zeros(len(policy.rule.rules) + 1, dtype=np.int64)
    for batch in rounds:
        count += np.bincount(policy.matched(batch.context), minlength=len(count))
    return tuple(
        f"Rule {number} of {policy.name!r} ({in_words(clause.when)}) decides for nobody in this log."
        for number, (clause, rows) in enumerate(zip(policy.rule.rules, count[:-1], strict=True), 1)
        if not rows
    )


def segment_rows(segments: StaticSegments, catalog: Catalog, rounds: Iterable[RoundBatch]) -> tuple[SegmentRow, ...]:
    """Who gets what by tuned segments, the largest first; segments that nobody belongs to are left out."""
    count = np.zeros(segments.segmentation.segments, dtype=np.int64)
    for batch in rounds:
        count += np.bincount(segments.segmentation.segment_of(batch.context), minlength=len(count))
    conditions, best = segment_conditions(segments.segmentation), segments.preference.argmax(axis=1)
    return tuple(
        SegmentRow(
            who=in_words(conditions[one]), action=catalog.action_names[best[one]], share=float(count[one] / count.sum())
        )
        for one in np.argsort(-count, kind="stable")
        if count[one]
    )
