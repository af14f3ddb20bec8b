"""A log with more metrics, made of what was learnt from other contacts: figures that see more than the money does.

    stage_worth = [stage reached] worth(x) - cost(a) - charge(a) - sum over losses [lost] price
    credited    = [sent and stage reached] (money - organic(x)) - [sent and not reached] cost of the send
    adjusted    = money - organic(x)

Events are those that the log has. Of `stage_worth` the money is the model's: the orders that come by themselves, which
are most of the money and nearly all of its noise, do not count. It is the surrogate index of Athey, Chetty, Imbens &
Kang (NBER 26463, 2019): what an answer is worth by its contact, whatever brought it about. The worths by arm and what
acts past the stage, which the policy was learnt from, are no part of it, or the luck of the same contacts would choose
the messages and praise them. Its mean is the value of a policy where messages act through the stage. `credited` counts
the money of answered messages alone, less what these contacts bring anyway. Both are wrong where messages act past
what they count, which `beyond_stage_worth` and `beyond_credited` show: the rest of the adjusted money, of which what is
merely stated (the charge of a discount, the price of a lost permission) is taken to be no part. `adjusted` takes off
what a contact spends by itself, by its past spending and all else that the context says; no action is in it, so a
difference of policies is the same and only its noise is less (Deng, Xu, Kohavi & Walker 2013, "Improving the
sensitivity of online controlled experiments by utilizing pre-experiment data").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import LearnError
from engine.log.parquet import LogReader
from engine.numeric.matmul import matmul
from engine.records.rounds import RoundBatch
from engine.records.schema import RewardSpec
from engine.types import HOLD, Float32Array, FloatArray
from policies.parts.tables import PartTables, own_scores

if TYPE_CHECKING:
    from policies.parts.log import Tally
    from policies.parts.regression import Fitted

STAGE_WORTH: Final = "stage_worth"
CREDITED: Final = "credited"
ADJUSTED: Final = "adjusted"
# Figures that a verdict may rest on beside the metric itself.
FIGURES: Final = (STAGE_WORTH, CREDITED, ADJUSTED)
# What a figure leaves out, by the figure.
BEYOND: Final = {STAGE_WORTH: "beyond_stage_worth", CREDITED: "beyond_credited"}
_ORGANIC: Final = "organic"


class PartsOfStage(Protocol):
    """What was learnt, as far as a stage's worth needs it (`policies.parts.learner.PartsState`)."""

    @property
    def encoder(self) -> Encoder: ...

    @property
    def tables(self) -> PartTables: ...

    @property
    def stage(self) -> str: ...


class PartsOfMoney(PartsOfStage, Protocol):
    """The same, with the regression of money that comes by itself, and what is charged for discounts."""

    @property
    def fitted(self) -> Mapping[str, Fitted]: ...

    @property
    def charge(self) -> FloatArray: ...

    @property
    def tally(self) -> Tally: ...


class SurrogateLog(LogReader):
    """A log that also knows `FIGURES` and what they leave out; everything else is read from its files as they are.

    A figure that does not differ between decisions is left out.

    Args:
        reader: the log.
        state: what was learnt, of rows that are not judged by it.
        metric: the money that was learnt.
        cost: the metric that says what a send cost; "" where none does.

    Raises:
        LearnError: the parts have no stage.
    """

    def __init__(self, reader: LogReader, state: PartsOfMoney, metric: str, cost: str = "") -> None:
        self.__dict__.update(reader.__dict__)
        if not state.stage:
            raise LearnError(
                "what was learnt has no stage between a message and its money, so no stage has a worth",
                hint="name the stage (learner.parts.stage=NAME), or judge by the money itself",
            )
        self._parts, self._metric = state, metric
        self._cost = cost if cost in reader.meta.rewards and cost != metric else ""
        self._events = (state.stage, *(loss.name for loss in state.tables.losses))
        ends = dict.fromkeys((*FIGURES, *BEYOND.values()), (np.inf, -np.inf))
        for batch in self._extended(super().rounds(rewards=self._read(tuple(ends))), tuple(ends)):
            for name, (low, high) in ends.items():
                known = batch.rewards[name][~np.isnan(batch.rewards[name])]
                ends[name] = min(low, float(known.min(initial=low))), max(high, float(known.max(initial=high)))
        said = {
            STAGE_WORTH: f"{state.stage} x its modelled worth - costs",
            CREDITED: f"{metric} of messages with {state.stage} beyond the contact's own - costs of the others",
            ADJUSTED: f"{metric} - what the contact was expected to bring by itself",
        }
        # A figure that is the same for everybody, as where an answer is worth nothing, is none.
        specs = {
            name: RewardSpec(low=low, high=high, unit="usd", description=said.get(name, ""))
            for name, (low, high) in ends.items()
            if low < high
        }
        self.meta = msgspec.structs.replace(self.meta, rewards={**self.meta.rewards, **specs})

    def rounds(
        self, *, rewards: Sequence[str] = (), extra: Sequence[str] = (), context: bool = True
    ) -> Iterator[RoundBatch]:
        """As `LogReader.rounds`; where a figure is asked for the context is read, whatever `context` says."""
        if not _made(rewards):
            yield from super().rounds(rewards=rewards, extra=extra, context=context)
            return
        yield from self._extended(super().rounds(rewards=self._read(rewards), extra=extra), rewards)

    def _read(self, rewards: Sequence[str]) -> tuple[str, ...]:
        """The stored metrics that some metrics are made of."""
        money = (self._metric, *((self._cost,) if self._cost else ())) if set(_made(rewards)) - {STAGE_WORTH} else ()
        stored = (name for name in rewards if name not in _made(rewards))
        return tuple(dict.fromkeys((*stored, *self._events, *money)))

    def _extended(self, batches: Iterator[RoundBatch], rewards: Sequence[str]) -> Iterator[RoundBatch]:
        for batch in batches:
            known = {**batch.rewards, **self._figures(batch, _made(rewards))}
            yield replace(batch, rewards={name: known[name] for name in rewards}).sealed()

    def _figures(self, batch: RoundBatch, wanted: Sequence[str]) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        state, left = self._parts, set(wanted)
        if left & {STAGE_WORTH, BEYOND[STAGE_WORTH]}:
            found[STAGE_WORTH] = surrogate_index(batch, state, self.meta.catalog)
        if left & {CREDITED, ADJUSTED, *BEYOND.values()}:
            organic = state.fitted.get(_ORGANIC)
            expected = 0.0 if organic is None else organic.own(batch.context, batch.action)
            found[ADJUSTED] = batch.rewards[self._metric] - expected
            found[CREDITED] = credited(batch, state.stage, found[ADJUSTED], self._cost)
        if BEYOND[STAGE_WORTH] in left:
            told = found[STAGE_WORTH] + stated_costs(batch, state, self.meta.catalog)
            found[BEYOND[STAGE_WORTH]] = found[ADJUSTED] - told
        if BEYOND[CREDITED] in left:
            found[BEYOND[CREDITED]] = found[ADJUSTED] - found[CREDITED]
        return found


def _made(rewards: Sequence[str]) -> tuple[str, ...]:
    """Those of some metrics that no file has."""
    return tuple(name for name in rewards if name in (*FIGURES, *BEYOND.values()))


def credited(batch: RoundBatch, stage: str, money: FloatArray, cost: str = "") -> FloatArray:
    """(n,) money of answered messages less the cost of the others, USD; NaN where it is not known.

    Args:
        batch: with these metrics among its rewards.
        stage: whether a message was answered.
        money: (n,) without what the contact brings by itself; costs of the send are in it where the log says so.
        cost: what a send cost; "" where the log has no such metric, and then nothing is taken off.
    """
    sent, answered = batch.action != HOLD, batch.rewards[stage]
    # Logs write what a send cost as a part of the money, below 0, or as an amount.
    spent = np.abs(np.nan_to_num(batch.rewards[cost])) if cost else np.zeros(batch.n)
    out: FloatArray = np.where(sent, np.where(answered == 1.0, money, -spent), 0.0)
    return np.where(np.isnan(answered), np.nan, out)


def surrogate_index(batch: RoundBatch, state: PartsOfMoney, catalog: Catalog) -> FloatArray:
    """(n,) `STAGE_WORTH` of each decision, USD; NaN where it is not known whether the stage was reached.

    Args:
        batch: with the stage and the losses of the parts among its rewards.
        state: what was learnt, with a stage.
        catalog: the actions.
    """
    tables = state.tables
    counts = (batch.action != HOLD) | (tables.held is not None)
    worth = np.where(counts, worth_of_contact(tables, state.encoder.encode(batch.context)), 0.0)
    channel, _, arm = catalog.split(batch.action)
    fees = sum(tables.fees.values(), np.zeros((len(catalog.channels), len(catalog.arms))))
    cost = np.where(batch.action != HOLD, fees[channel, arm], 0.0)
    out: FloatArray = batch.rewards[state.stage] * worth - cost - _losses(batch, state, catalog)
    return out


def worth_of_contact(tables: PartTables, x: Float32Array) -> FloatArray:
    """(n,) USD of an answer, the mean over all messages, not below 0."""
    own = tables.worth
    if own is None:
        return np.zeros(len(x))
    linear = own.base.astype(np.float64) + sum(
        part.astype(np.float64).mean(axis=0) for part in (own.channel, own.hour, own.arm)
    )
    level = sum(float(pair.mean()) for pair in (own.channel_hour, own.channel_arm, own.hour_arm))
    scores: FloatArray = matmul(np.column_stack([x.astype(np.float64), np.ones(len(x))]), linear) + level
    return np.maximum(scores, 0.0)


def stage_worth(batch: RoundBatch, state: PartsOfStage, catalog: Catalog) -> FloatArray:
    """(n,) what each decision is worth by all parts, USD; NaN where it is not known whether the stage was reached.

    Segments are tuned on it: it has the worths by arm and what acts past the stage, which a judge must not have.

    Args:
        batch: with the stage and the losses of the parts among its rewards.
        state: what was learnt, with a stage.
        catalog: the actions.
    """
    tables = state.tables
    x = state.encoder.encode(batch.context)
    out = batch.rewards[state.stage] * tables.own_worth(x, batch.action, catalog)
    out += own_scores(tables.money, x, batch.action, catalog)
    return out - _losses(batch, state, catalog)


def stated_costs(batch: RoundBatch, state: PartsOfMoney, catalog: Catalog) -> FloatArray:
    """(n,) what `stage_worth` takes off that no money of the log shows: charges of discounts, prices of permissions.

    Args:
        batch: with the losses of the parts among its rewards.
        state: what was learnt.
        catalog: the actions.
    """
    channel, _, arm = catalog.split(batch.action)
    charge = np.where(batch.action != HOLD, (state.charge * state.tally.opened[:, None])[channel, arm], 0.0)
    return charge + _losses(batch, state, catalog)


def _losses(batch: RoundBatch, state: PartsOfStage, catalog: Catalog) -> FloatArray:
    """(n,) prices of the permissions that were lost."""
    out = np.zeros(batch.n)
    channel = np.maximum(catalog.split(batch.action)[0], 0)
    for loss in state.tables.losses:
        price = np.where(batch.action != HOLD, loss.price[channel], 0.0)
        out += np.nan_to_num(batch.rewards[loss.name]) * price
    return out
