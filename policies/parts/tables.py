"""The parts of a message's value as score tables, and their sum for every action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import factorial
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.types import CodeArray, Float32Array, FloatArray, IntArray
from policies.parts.frequency.waiting import Waiting
from policies.vw.scoring.tables import BATCH_ROWS, ScoreTables

# exp(v) = 2^t exp(v - t log 2), with the second factor by Taylor's series up to the 13th power.
_FAR: Final = 700.0
_LOG2E: Final = 1.4426950408889634
_LN2: Final = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
_FACTORS: Final = tuple(1.0 / factorial(power) for power in range(13, -1, -1))


@dataclass(frozen=True)
class Loss:
    """Something that a send may bring about and that costs later gains.

    Attributes:
        name: of the metric.
        odds: tables of its log odds.
        price: (C,) USD that it costs, by channel; at least 0.
    """

    name: str
    odds: ScoreTables
    price: FloatArray


@dataclass(frozen=True)
class PartTables:
    """Score of a send = chance x worth + money - sum over losses of chance x price - waiting; of hold = its money.

    Attributes:
        chance: tables of the log odds of the stage; None where there is no stage.
        worth: USD of a stage that is reached; it never counts as less than nothing.
        money: USD that is added: costs, charges, what acts past the stage, prices; without a stage all of it.
        losses: what a send may cost later.
        held: tables of the log odds of the stage after a hold; None where it is never reached without a message.
        stage: its name, for explanations.
        fees: name -> (C, K) USD a send by which `money` has been lowered already, for explanations.
        waiting: what a send so soon after the last one is charged; None charges nothing.
    """

    chance: ScoreTables | None
    worth: ScoreTables | None
    money: ScoreTables
    losses: tuple[Loss, ...] = ()
    held: ScoreTables | None = None
    stage: str = ""
    fees: Mapping[str, FloatArray] = field(default_factory=dict)
    waiting: Waiting | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, K)."""
        return self.money.shape

    @property
    def k(self) -> int:
        return self.money.k

    @property
    def d(self) -> int:
        return self.money.d

    @property
    def limits(self) -> Float32Array:
        """Scores are not clipped."""
        return self.money.limits

    @cached_property
    def channel(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """(k - 1,) channel of every send."""
        channels, hours, arms = self.shape
        return np.repeat(np.arange(channels), hours * arms)

    def scores(self, x: Float32Array) -> FloatArray:
        """Encoded contexts (n, d) -> (n, k) predicted rewards of every action, eligible or not.

        Args:
            x: of `Encoder.encode`.

        Raises:
            ParameterError: another number of columns.
        """
        out = np.empty((len(x), self.k))
        for start in range(0, len(x), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            out[rows] = self._batch(x[rows])
        return out

    def _batch(self, x: Float32Array) -> FloatArray:
        total = self.money.scores(x)
        if self.chance is not None and self.worth is not None:
            reached, worth = logistic(self.chance.scores(x)[:, 1:]), np.maximum(self.worth.scores(x), 0.0)
            total[:, 1:] += reached * worth[:, 1:]
            if self.held is not None:
                total[:, 0] += logistic(self.held.scores(x)[:, 0]) * worth[:, 0]
        for loss in self.priced:
            total[:, 1:] -= logistic(loss.odds.scores(x)[:, 1:]) * loss.price[self.channel]
        if self.waiting is not None:
            total[:, 1:] -= self.waiting.charge(x, total[:, 1:] - total[:, :1])[:, None]
        return total

    @property
    def priced(self) -> tuple[Loss, ...]:
        """The losses that cost anything."""
        return tuple(loss for loss in self.losses if loss.price.any())

    @cached_property
    def stacked(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, int]:
        """For kernels: linear tables of all parts side by side, pairs, prices (L, k), and 1 where there is a stage."""
        staged = () if self.chance is None or self.worth is None else (self.chance, self.worth)
        every = (self.money, *staged, *(loss.odds for loss in self.priced))
        linear = [tables.linear for tables in every]
        if staged and self.held is not None:
            linear.append(self.held.linear[:, :1])
        pairs = [np.stack(own) for own in zip(*(tables.pairs for tables in every), strict=True)]
        prices = np.array([np.append(0.0, loss.price[self.channel]) for loss in self.priced]).reshape(-1, self.k)
        return np.ascontiguousarray(np.hstack(linear)), pairs[0], pairs[1], pairs[2], prices, int(bool(staged))

    def waits(self, x: Float32Array) -> FloatArray:
        """(n, 2) share of the best gain, and USD, that each row is charged for sending so soon."""
        return np.zeros((len(x), 2)) if self.waiting is None else self.waiting.factors(x)

    def own_worth(self, x: Float32Array, action: CodeArray, catalog: Catalog) -> FloatArray:
        """(n,) USD of a stage that each row's own action reaches; 0 for a hold where only messages reach it."""
        if self.worth is None:
            return np.zeros(len(x))
        counts = (action > 0) | (self.held is not None)
        return np.where(counts, np.maximum(own_scores(self.worth, x, action, catalog), 0.0), 0.0)

    def own_stage(self, x: Float32Array, action: CodeArray, catalog: Catalog) -> FloatArray:
        """(n,) chance x worth of each row's own action, without the (n, k) of all of them."""
        if self.chance is None or self.worth is None:
            return np.zeros(len(x))
        odds = own_scores(self.chance, x, action, catalog)
        no = np.full(len(x), -np.inf) if self.held is None else own_scores(self.held, x, action, catalog)
        out: FloatArray = logistic(np.where(action > 0, odds, no)) * self.own_worth(x, action, catalog)
        return out

    def parts(self, x: Float32Array, action: int) -> dict[str, FloatArray]:
        """(n,) each part of one action's score, by name; `chance` and `worth` are factors, the rest are summands.

        What was named when it was taken from the money stands under its name; all parts add up to the score.
        """
        out: dict[str, FloatArray] = {}
        odds = self.chance if action else self.held
        if odds is not None and self.worth is not None:
            out["chance"] = logistic(odds.scores(x)[:, action])
            out["worth"] = np.maximum(self.worth.scores(x)[:, action], 0.0)
        out["money"] = self.money.scores(x)[:, action]
        if action:
            channel, _, arm = np.unravel_index(action - 1, self.shape)
            for name, fee in self.fees.items():
                out["money"] = out["money"] + fee[channel, arm]
                out[name] = np.full(len(x), -fee[channel, arm])
        for loss in self.losses if action else ():
            out[loss.name] = -logistic(loss.odds.scores(x)[:, action]) * loss.price[self.channel[action - 1]]
        if action and self.waiting is not None:
            gains = replace(self, waiting=None).scores(x)
            out["waiting"] = -self.waiting.charge(x, gains[:, 1:] - gains[:, :1])
        return out

    def less(self, price: FloatArray, name: str = "") -> PartTables:
        """The same with a price (C, K) taken from every send; a named one stays apart in explanations."""
        cheaper = (self.money.channel_arm.astype(np.float64) - price).astype(np.float32)
        fees = {**self.fees, name: price} if name else self.fees
        return replace(self, money=replace(self.money, channel_arm=cheaper), fees=fees)

    def stored(self) -> dict[str, ScoreTables]:
        """Every table by the name of its file."""
        named = {"chance": self.chance, "worth": self.worth, "money": self.money, "held": self.held}
        named |= {f"loss_{loss.name}": loss.odds for loss in self.losses}
        return {name: tables for name, tables in named.items() if tables is not None}


def logistic(odds: FloatArray) -> FloatArray:
    """1 / (1 + exp(-odds)), by additions and products alone, so that kernels give the same bytes on every machine."""
    value = np.clip(-odds, -_FAR, _FAR)
    twos = np.rint(value * _LOG2E)
    value -= twos * _LN2[0]
    value -= twos * _LN2[1]
    out: FloatArray = np.full(value.shape, _FACTORS[0])
    for factor in _FACTORS[1:]:
        out *= value
        out += factor
    out *= np.ldexp(1.0, twos.astype(np.int64))
    out += 1.0
    return np.divide(1.0, out, out=out)


def zero_tables(like: ScoreTables) -> ScoreTables:
    """Tables of zeros, not clipped."""
    empty = {one.name: np.zeros_like(getattr(like, one.name)) for one in fields(like)}
    empty["limits"] = np.array([-np.inf, np.inf], dtype=np.float32)
    return ScoreTables(**empty)


def own_scores(tables: ScoreTables, x: Float32Array, action: CodeArray | IntArray, catalog: Catalog) -> FloatArray:
    """(n,) score of each row's own action, without the (n, k) of all of them."""
    channel, hour, arm = catalog.split(action)
    sent = action > 0
    c, h, a = (np.maximum(one, 0) for one in (channel, hour, arm))
    base = tables.base.astype(np.float64)
    wide = np.column_stack([x.astype(np.float64), np.ones(len(x))])
    vectors = tables.channel[c].astype(np.float64) + tables.hour[h] + tables.arm[a]
    vectors = base + np.where(sent[:, None], vectors, tables.hold.astype(np.float64))
    pairs = tables.channel_hour[c, h].astype(np.float64) + tables.channel_arm[c, a] + tables.hour_arm[h, a]
    scores: FloatArray = (wide * vectors).sum(axis=1) + np.where(sent, pairs, 0.0)
    return scores


def over_hold(tables: ScoreTables) -> ScoreTables:
    """Tables of every send's score less hold's; hold's are 0."""
    base = tables.base.astype(np.float64)
    changed = {"base": np.zeros_like(base), "hold": np.zeros_like(base)}
    # Sends share the base, and hold has it too: what is left of it is nothing but what hold adds.
    channel = tables.channel.astype(np.float64) - tables.hold.astype(np.float64)
    return replace(
        tables,
        base=changed["base"].astype(np.float32),
        hold=changed["hold"].astype(np.float32),
        channel=channel.astype(np.float32),
    )
