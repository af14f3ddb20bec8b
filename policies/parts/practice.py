"""The practice that a safe policy of parts leaves only where its bags agree: segments on the same rows and charges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.records.rounds import RoundBatch
from engine.types import HOLD, FloatArray
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.tables import Loss, PartTables
from policies.peers.segments import StaticSegments
from policies.wrappers.safe import SafePolicy


@dataclass(frozen=True)
class Charged:
    """The rows of a log with what the parts charge taken from the money, so that both are tuned on the same terms.

    Attributes:
        batches: hands out the rows, anew at each call.
        metric: the money.
        catalog: the actions.
        charge: (K,) USD of each arm's discount, per send that is seen.
        opened: (C,) share of sends that are seen.
        losses: what ends a permission, with its price.
    """

    batches: Callable[[], Iterable[RoundBatch]]
    metric: str
    catalog: Catalog
    charge: FloatArray
    opened: FloatArray
    losses: tuple[Loss, ...]

    def __iter__(self) -> Iterator[RoundBatch]:
        for batch in self.batches():
            sent = batch.action != HOLD
            channel, _, arm = self.catalog.split(batch.action)
            taken = np.where(sent, self.charge[arm] * self.opened[channel], 0.0)
            for loss in self.losses:
                happened = np.nan_to_num(batch.rewards[loss.name]) > 0.0
                taken += np.where(sent & happened, loss.price[channel], 0.0)
            yield replace(batch, rewards={**batch.rewards, self.metric: batch.rewards[self.metric] - taken})


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


def left_words(policy: SafePolicy, practice: StaticSegments, sample: Sequence[RoundBatch]) -> str:
    """How often a safe policy leaves its practice, and what that brings at least, in a sentence."""
    bound = np.concatenate([policy.improvement(batch.context, batch.eligible_dense()) for batch in sample])
    by = " and ".join(cut.feature for cut in practice.segmentation.cuts) or "nothing, so one message for all"
    return (
        f"Today's practice is segments by {by}. It is left in {100 * float((bound > 0.0).mean()):.0f} % of the "
        f"decisions, by which each decision gains at least {float(bound.mean()):.4f} with "
        f"{100 * policy.confidence:g} % confidence."
    )
