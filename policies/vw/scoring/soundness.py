"""Refuses an update that diverged, by what the new model says of the rows that it learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from engine.encoder import Encoder
from engine.errors import LearnError
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from policies.vw.scoring.tables import ScoreTables

SAMPLE_ROWS: Final = 8192
PER_BATCH: Final = 512
# Predictions of a model that follows noise are wrong by a few standard deviations of the reward; of one that diverged
# by orders of magnitude. In between nothing was seen: digits, Hillstrom and the simulated scenarios stay below 4.
WORST: Final = 25.0
JUMP: Final = 10.0


@dataclass(frozen=True)
class Sample:
    """Some of the rows that a model learnt from.

    Attributes:
        batches: at most some thousand rows.
        reward: (n,) of their logged actions.
    """

    batches: tuple[RoundBatch, ...]
    reward: FloatArray

    def loss(self, tables: ScoreTables, encoder: Encoder) -> float:
        """Mean squared error of the predicted rewards of the logged actions; not finite where they are not."""
        if not self.batches:
            return 0.0
        scores = [
            tables.scores(encoder.encode(batch.context))[np.arange(batch.n), batch.action] for batch in self.batches
        ]
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.square(np.concatenate(scores) - self.reward).mean())


def sample_of(batches: Iterable[RoundBatch], metric: str) -> Sample:
    """The first rows of each batch, until there are enough."""
    taken, rows = [], 0
    for batch in batches:
        some = batch.take(slice(0, PER_BATCH))
        if some.n:
            taken.append(some)
        rows += some.n
        if rows >= SAMPLE_ROWS:
            break
    reward: FloatArray = np.concatenate([np.zeros(0), *(batch.rewards[metric] for batch in taken)])
    return Sample(tuple(taken), reward)


def require_finite(tables: Iterable[ScoreTables]) -> None:
    """Refuse weights that are not finite.

    Raises:
        LearnError: some are not.
    """
    for one in tables:
        if not all(np.isfinite(getattr(one, field.name)).all() for field in fields(one) if field.name != "limits"):
            raise LearnError("the model diverged: its weights are not finite", hint="lower learning_rate")


def require_no_jump(
    sample: Sample, after: ScoreTables, before: ScoreTables | None, encoder: Encoder, *, unit: float
) -> None:
    """Refuse a model whose predictions of the rows that it just learnt from are worse than any sound model's.

    Args:
        sample: a sample of those rows.
        after / before: tables of the new and the old model; None where there was none.
        unit: standard deviation of the rewards.

    Raises:
        LearnError: its squared error exceeds 25 times the rewards' spread, and 10 times that of the old model.
    """
    if not len(sample.reward):
        return
    spread = max(float(sample.reward.var()), unit * unit)
    limit = WORST * spread
    if before is not None:
        limit = max(limit, JUMP * sample.loss(before, encoder))
    loss = sample.loss(after, encoder)
    if not loss <= limit:
        raise LearnError(
            f"the model diverged: its squared error on the rows it learnt from is {loss:.3g}, the rewards' variance "
            f"{spread:.3g}",
            hint="lower learning_rate; the policy is as it was",
        )
