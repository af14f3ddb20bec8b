"""One chunk of a log as the checks read it: everything that several of them need is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.audit.bins import FeatureBins
from engine.audit.groups import ActionGroups
from engine.content.eligibility import modular_of
from engine.eligibility import unpack
from engine.log.parquet import LogReader
from engine.numeric.matmul import matmul
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, BoolArray, Float32Array, FloatArray, IntArray, ObjectArray

NO_DAY = -1
EXTRA = ("available", "group", "contact_id", "rule_inputs")


@dataclass(frozen=True)
class AuditBatch:
    """n rows of a log.

    Attributes:
        rounds: with every metric.
        available: (n,) something was drawn for the row.
        group: (n,) treatment, control or uniform.
        day: (n,) days since 1970, UTC; `NO_DAY` where the log does not say.
        rows: (m,) positions of the drawn rows, those with a propensity.
        weight: (m, G) weights of "a uniform action of the group" for the drawn rows: 0 where the action is of another.
        target: (m, G) 1 where the group has an eligible action, else 0: the mean that the weight should have.
        share: (m, G) share of the eligible actions that are of the group.
        eligible_count: (m,) eligible actions.
        features: (n, F) 0 or 1, see `FeatureBins`.
    """

    rounds: RoundBatch
    available: BoolArray
    group: ObjectArray
    day: IntArray
    rows: IntArray
    weight: FloatArray
    target: FloatArray
    share: FloatArray
    eligible_count: FloatArray
    features: Float32Array

    @property
    def n(self) -> int:
        return self.rounds.n


def batches_of(
    reader: LogReader, groups: ActionGroups, bins: FeatureBins, metrics: tuple[str, ...]
) -> Iterator[AuditBatch]:
    """The chunks of a log.

    Raises:
        LogFormatError: rows that break the schema.
        DataError: unknown metric.
    """
    for rounds in reader.rounds(rewards=metrics, extra=EXTRA):
        yield batch_of(rounds, groups, bins)


def batch_of(rounds: RoundBatch, groups: ActionGroups, bins: FeatureBins) -> AuditBatch:
    """Compute what the checks share; `bins` sees its first rows here."""
    available = rounds.extra["available"].astype(np.bool_)
    known = rounds.decided_at != NOT_AN_INSTANT
    day = np.where(known, np.where(known, rounds.decided_at, 0) // DAY_US, NO_DAY)
    rows = np.flatnonzero(available & ~np.isnan(rounds.propensity))
    counts, code = _eligible_counts(rounds.take(rows), groups)
    weight = np.zeros((len(rows), len(groups.names)))
    per_row, action, propensity = counts[code], rounds.action[rows], rounds.propensity[rows]
    for axis in range(groups.of.shape[1]):
        at = groups.of[action, axis]
        own = np.flatnonzero(at >= 0)
        of = per_row[own, at[own]]
        weight[own, at[own]] = np.divide(1.0, propensity[own] * of, out=np.zeros(len(own)), where=of > 0)
    return AuditBatch(
        rounds=rounds,
        available=available,
        group=rounds.extra["group"],
        day=day.astype(np.int64),
        rows=rows,
        weight=weight,
        target=(per_row > 0).astype(np.float64),
        share=per_row / np.maximum(per_row[:, :1], 1.0),
        eligible_count=per_row[:, 0],
        features=bins.indicators(rounds.context),
    )


def _eligible_counts(rounds: RoundBatch, groups: ActionGroups) -> tuple[FloatArray, IntArray]:
    """(u, G) eligible actions by group of each distinct eligible set, and (m,) which set a row has."""
    packed = rounds.eligible
    if not len(packed):
        return np.zeros((1, len(groups.names))), np.zeros(0, dtype=np.int64)
    whole = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, code = np.unique(whole, return_index=True, return_inverse=True)
    if rounds.modular is not None:
        return _modular_counts(rounds.take(first)), np.asarray(code, dtype=np.int64).ravel()
    dense = unpack(np.ascontiguousarray(packed[first]), rounds.k).astype(np.float64)
    return matmul(dense, groups.member.astype(np.float64)), np.asarray(code, dtype=np.int64).ravel()


def _modular_counts(rounds: RoundBatch) -> FloatArray:
    """(u, G) the same of a modular catalog, from factors: any action, hold, then the axes that have several values."""
    eligible = rounds.eligible_blocks()
    channels, hours, blocks = eligible.marginal_counts()
    modular = modular_of(eligible.catalog)
    slots = [blocks[:, first : first + size] for first, size in zip(modular.first, modular.sizes, strict=True)]
    axes = [axis for axis in (channels, hours, *slots) if axis.shape[1] > 1]
    counts = eligible.counts()
    # A catalog of one channel, one hour and one block per slot tells sends from holds alone.
    parts = [counts[:, None], np.ones((len(counts), 1)), *(axes or [counts[:, None] - 1])]
    return np.concatenate(parts, axis=1).astype(np.float64)
