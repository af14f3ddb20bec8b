"""The practice that a safe policy of parts leaves, and whether contacts that were not learnt from show that to pay.

A bag leaves out about a third of the contacts. Each contact is decided by the bags that left it out, with their mean
and their spread in the place of those of all rows and bags, and the gain over the practice is read on what the log did
with that contact, doubly robust:

    gain_i = sum over a of d(a | x_i) score(x_i, a) + d(a_i | x_i) / propensity_i (what came - what was expected of a_i)

with d the difference of the two distributions. What came is the stage at its modelled worth, less what was lost. The
error of the mean has the contacts' part (a contact is a cluster) and that of the worth over the bags. The practice is
left only where the mean exceeds the normal quantile of the stated confidence of it (high confidence policy improvement,
Thomas, Theocharous & Ghavamzadeh, ICML 2015, with a normal in the place of a concentration bound).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import expit, ndtri, stdtrit

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.features import FeatureSchema
from engine.identity import unit_of
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, Float32Array, FloatArray, KeyArray
from policies.exploring.config import ExplorationConfig
from policies.parts.bags import bag_counts
from policies.parts.config import PartsConfig
from policies.parts.log import PartsLog
from policies.parts.surrogate import STAGE_WORTH, PartsOfStage, stage_worth
from policies.parts.tables import PartTables, own_scores
from policies.peers.segments import StaticSegments, tune_segments
from policies.vw.scoring.tables import BATCH_ROWS
from policies.wrappers.safe import SafePolicy, fast_scores, over_practice

# Bags that left a contact out, with fewer it has no spread.
_LEAST_OUT: Final = 2
# With fewer no normal distribution describes their sum.
_LEAST_EVENTS: Final = 20


@dataclass(frozen=True)
class Shown:
    """What leaving the practice brings to contacts that were not learnt from.

    Attributes:
        gain / stderr: per decision, in the unit of the scores.
        contacts: that were left out often enough.
        left: share of their decisions in which the practice is left.
        events: decisions in which the log did what only one of both does and something came: the stage, or any money.
        confidence: with which it has to be above nothing.
    """

    gain: float
    stderr: float
    contacts: int
    left: float
    events: int
    confidence: float

    @property
    def lower(self) -> float:
        """One-sided bound at the confidence."""
        return self.gain - float(ndtri(self.confidence)) * self.stderr

    def __bool__(self) -> bool:
        return self.events >= _LEAST_EVENTS and self.lower > 0.0


@dataclass(frozen=True)
class _Rows:
    """Batches that are handed out anew at each iteration."""

    batches: Callable[[], Iterable[RoundBatch]]

    def __iter__(self) -> Iterator[RoundBatch]:
        return iter(self.batches())


def tuned_practice(
    log: PartsLog, state: PartsOfStage, catalog: Catalog, schema: FeatureSchema, config: PartsConfig
) -> StaticSegments:
    """Segments on what the parts say that each decision brought: the money itself where they have no stage."""
    if not state.stage:
        return tune_segments(_Rows(log.batches), log.metric, catalog, schema, config.segments)

    def valued() -> Iterator[RoundBatch]:
        for batch in log.batches():
            worth = stage_worth(batch, state, catalog)
            known = np.flatnonzero(~np.isnan(worth))
            if len(known):
                yield replace(batch, rewards={STAGE_WORTH: worth}).take(known)

    return tune_segments(_Rows(valued), STAGE_WORTH, catalog, schema, config.segments)


def safe_policy(
    catalog: Catalog,
    encoder: Encoder,
    tables: PartTables,
    rounds: int,
    bags: tuple[PartTables, ...],
    practice: StaticSegments,
    config: PartsConfig,
) -> SafePolicy:
    """The safe policy without exploration."""
    greedy = ExplorationConfig(kind="greedy")
    return SafePolicy(
        catalog, encoder, tables, greedy, rounds, bags=bags, practice=practice, confidence=config.confidence
    )


def shown(policy: SafePolicy, tables: PartTables, log: PartsLog, config: PartsConfig) -> Shown:
    """What the bags that left a contact out bring to it, over all contacts that `choice_rows` holds.

    Args:
        policy: on `tables`, the parts of all rows.
        log / config: that it was learnt from.
    """
    share = min(1.0, config.choice_rows / log.tally.rounds)
    found = [
        _read(policy, tables, batch.take(slice(start, start + BATCH_ROWS)), log, config.seed)
        for batch in (
            whole.take(np.flatnonzero(unit_of(whole.cluster, f"parts/safety/{config.seed}") < share))
            for whole in log.batches()
        )
        for start in range(0, batch.n, BATCH_ROWS)
    ]
    cluster = np.concatenate([one.cluster for one in found])
    gain, left, came, worths = (np.concatenate([one.read[i] for one in found]) for i in range(4))
    if not len(gain):
        return Shown(0.0, np.inf, 0, 0.0, 0, policy.confidence)
    contacts, at = np.unique(cluster, return_inverse=True)
    apart = np.bincount(at, weights=gain - gain.mean())
    of_worth = float(worths.mean(axis=0).std(ddof=1))
    error = float(np.hypot(np.sqrt((apart**2).sum()) / len(gain), of_worth))
    return Shown(float(gain.mean()), error, len(contacts), float(left.mean()), int(came.sum()), policy.confidence)


@dataclass(frozen=True)
class _Read:
    """Rows that enough bags left out.

    Attributes:
        cluster: (n,) contacts.
        read: gains, whether the practice is left, whether something came that tells the two apart, and (n, B) the gain
            of the stages that came by the worth of each bag.
    """

    cluster: KeyArray
    read: tuple[FloatArray, BoolArray, BoolArray, FloatArray]


def _read(policy: SafePolicy, tables: PartTables, batch: RoundBatch, log: PartsLog, seed: int) -> _Read:
    """What leaving the practice brings to the rows of a batch."""
    out = np.column_stack([bag_counts(batch.cluster, bag, seed) == 0 for bag in range(len(policy.bags))])
    known = out.sum(axis=1) >= _LEAST_OUT
    known &= ~np.isnan(batch.propensity)
    for name in (tables.stage, *(loss.name for loss in tables.losses)):
        if name:
            known &= ~np.isnan(batch.rewards[name])
    rows = np.flatnonzero(known)
    batch, out = batch.take(rows), out[rows].astype(np.float64)
    may, own = batch.eligible_dense(), np.arange(batch.n)
    x, today = policy.encoder.encode(batch.context), policy.practice.distribution(batch.context, may)
    mean, spread = _left_out(policy, tables, x, out, today)
    lower = np.where(may, over_practice(mean, today) - spread, -np.inf)
    differs = np.zeros(today.shape)
    leaves = lower.max(axis=1) > 0.0
    differs[own[leaves], lower[leaves].argmax(axis=1)] = 1.0
    differs[leaves] -= today[leaves]
    ratio = differs[own, batch.action] / batch.propensity
    beyond, by_worth = _came(policy, tables, x, batch, out, mean[own, batch.action], log)
    came = (ratio != 0.0) & (batch.rewards[tables.stage or log.metric] != 0.0)
    gains = (differs * mean).sum(axis=1) + ratio * beyond
    return _Read(batch.cluster, (gains, leaves, came, ratio[:, None] * by_worth))


def _left_out(
    policy: SafePolicy, tables: PartTables, x: Float32Array, out: FloatArray, today: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(n, k) mean score of the bags that left a row out, losses taken off, and the width of the gain's bound."""
    total, gains, squares = (np.zeros(today.shape) for _ in range(3))
    for bag, own in zip(policy.bags, out.T, strict=True):
        scores = fast_scores(bag, x)
        gain = over_practice(scores, today)
        total += own[:, None] * scores
        gains += own[:, None] * gain
        squares += own[:, None] * gain**2
    count = out.sum(axis=1)[:, None]
    variance = np.maximum(squares - gains**2 / count, 0.0) / (count - 1.0)
    lost = fast_scores(tables, x) - fast_scores(replace(tables, losses=()), x)
    width = float(stdtrit(len(policy.bags) - 1, policy.confidence))
    return total / count + lost, width * np.sqrt(variance)


def _came(
    policy: SafePolicy,
    tables: PartTables,
    x: Float32Array,
    batch: RoundBatch,
    out: FloatArray,
    score: FloatArray,
    log: PartsLog,
) -> tuple[FloatArray, FloatArray]:
    """(n,) what came of each row's own action beyond what the bags that left it out expected; (n, B) by their worth."""
    action = batch.action
    if tables.chance is None or tables.worth is None:
        return batch.rewards[log.metric] - score, np.zeros(out.shape)
    reached = batch.rewards[tables.stage] > 0.0
    expected, worths = np.zeros(batch.n), np.zeros(out.shape)
    for number, bag in enumerate(policy.bags):
        worths[:, number] = bag.own_worth(x, action, policy.catalog)
        expected += out[:, number] * bag.own_stage(x, action, policy.catalog)
    count = out.sum(axis=1)
    came = reached * (out * worths).sum(axis=1) / count - expected / count
    channel = np.maximum(policy.catalog.split(action)[0], 0)
    for loss in tables.losses:
        beyond = (batch.rewards[loss.name] > 0.0) - expit(own_scores(loss.odds, x, action, policy.catalog))
        came -= np.where(action > 0, loss.price[channel] * beyond, 0.0)
    return came, reached[:, None] * worths


def left_words(policy: SafePolicy, practice: StaticSegments, sample: Sequence[RoundBatch], found: Shown) -> str:
    """How often a safe policy leaves its practice, and what that brings, in sentences."""
    by = " and ".join(cut.feature for cut in practice.segmentation.cuts) or "nothing, so one message for all"
    kept = np.concatenate([policy.kept(batch.context, batch.eligible_dense()) for batch in sample])
    sure = f"{found.gain:+.4f} a decision, with {100 * policy.confidence:g} % confidence {found.lower:+.4f} at least"
    said = f"The practice is segments by {by}, tuned on this log."
    said += f" To contacts that were not learnt from, leaving it brings {sure}"
    if not found:
        return f"{said}, so it stays everywhere."
    return f"{said}; it is left in {100 * float((~kept).mean()):.0f} % of the decisions."
