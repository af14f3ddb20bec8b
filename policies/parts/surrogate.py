"""A log with one more metric: what its stages are worth, by the parts that were learnt from other contacts.

    stage_worth = [stage reached] worth(x, a) + past(x, a) - cost(a) - charge(a) - sum over losses [lost] price

Events are those that the log has, money is the model's: the orders that come by themselves, which are most of the money
and nearly all of its noise, do not count. It is the surrogate index of Athey, Chetty, Imbens & Kang (NBER 26463, 2019).
Its mean is the value of a policy where messages act through the stage, or as the parts say that they act past it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import LearnError
from engine.log.parquet import LogReader
from engine.records.rounds import RoundBatch
from engine.records.schema import RewardSpec
from engine.types import HOLD, FloatArray
from policies.parts.tables import PartTables, own_scores

STAGE_WORTH: Final = "stage_worth"


class PartsOfStage(Protocol):
    """What was learnt, as far as a stage's worth needs it (`policies.parts.learner.PartsState`)."""

    @property
    def encoder(self) -> Encoder: ...

    @property
    def tables(self) -> PartTables: ...

    @property
    def stage(self) -> str: ...


class SurrogateLog(LogReader):
    """A log that also knows `STAGE_WORTH`; everything else is read from its files as they are.

    Args:
        reader: the log.
        state: what was learnt, of rows that are not judged by it.

    Raises:
        LearnError: the parts have no stage, or the log no row whose stage is known.
    """

    def __init__(self, reader: LogReader, state: PartsOfStage) -> None:
        self.__dict__.update(reader.__dict__)
        if not state.stage:
            raise LearnError(
                "what was learnt has no stage between a message and its money, so no stage has a worth",
                hint="name the stage (learner.parts.stage=NAME), or judge by the money itself",
            )
        self._parts = state
        self._events = (state.stage, *(loss.name for loss in state.tables.losses))
        low, high = np.inf, -np.inf
        for batch in self._extended(super().rounds(rewards=self._events), ()):
            known = batch.rewards[STAGE_WORTH][~np.isnan(batch.rewards[STAGE_WORTH])]
            low, high = min(low, float(known.min(initial=low))), max(high, float(known.max(initial=high)))
        if not low < high:
            raise LearnError(
                f"{reader.path} has no rows that differ in {state.stage!r}", hint="join the outcomes first"
            )
        spec = RewardSpec(low=low, high=high, unit="usd", description=f"{state.stage} x its modelled worth - costs")
        self.meta = msgspec.structs.replace(self.meta, rewards={**self.meta.rewards, STAGE_WORTH: spec})

    def rounds(
        self, *, rewards: Sequence[str] = (), extra: Sequence[str] = (), context: bool = True
    ) -> Iterator[RoundBatch]:
        """As `LogReader.rounds`; where `STAGE_WORTH` is asked for the context is read, whatever `context` says."""
        if STAGE_WORTH not in rewards:
            yield from super().rounds(rewards=rewards, extra=extra, context=context)
            return
        stored = dict.fromkeys((*(name for name in rewards if name != STAGE_WORTH), *self._events))
        yield from self._extended(super().rounds(rewards=tuple(stored), extra=extra), rewards)

    def _extended(self, batches: Iterator[RoundBatch], rewards: Sequence[str]) -> Iterator[RoundBatch]:
        for batch in batches:
            known = {**batch.rewards, STAGE_WORTH: stage_worth(batch, self._parts, self.meta.catalog)}
            asked = {name: known[name] for name in rewards} or {STAGE_WORTH: known[STAGE_WORTH]}
            yield replace(batch, rewards=asked).sealed()


def stage_worth(batch: RoundBatch, state: PartsOfStage, catalog: Catalog) -> FloatArray:
    """(n,) the metric of each decision, USD; NaN where it is not known whether the stage was reached.

    Args:
        batch: with the stage and the losses of the parts among its rewards.
        state: what was learnt, with a stage.
        catalog: the actions.
    """
    tables = state.tables
    x = state.encoder.encode(batch.context)
    out = batch.rewards[state.stage] * tables.own_worth(x, batch.action, catalog)
    out += own_scores(tables.money, x, batch.action, catalog)
    channel = np.maximum(catalog.split(batch.action)[0], 0)
    for loss in tables.losses:
        price = np.where(batch.action != HOLD, loss.price[channel], 0.0)
        out -= np.nan_to_num(batch.rewards[loss.name]) * price
    return out
