"""The parts of a message's value as score tables, and their sum for every action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from scipy.special import expit

from engine.types import Float32Array, FloatArray
from policies.parts.waiting import Waiting
from policies.vw.scoring.tables import BATCH_ROWS, ScoreTables

Scored = Callable[[ScoreTables, Float32Array], FloatArray]


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
        waiting: what a send so soon after the last one is charged; None charges nothing.
    """

    chance: ScoreTables | None
    worth: ScoreTables | None
    money: ScoreTables
    losses: tuple[Loss, ...] = ()
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

    def scores(self, x: Float32Array, scored: Scored = ScoreTables.scores) -> FloatArray:
        """Encoded contexts (n, d) -> (n, k) predicted rewards of every action, eligible or not.

        Args:
            x: of `Encoder.encode`.
            scored: gives the scores (n, k) of one set of tables; another way of computing the very same sums.

        Raises:
            ParameterError: another number of columns.
        """
        out = np.empty((len(x), self.k))
        for start in range(0, len(x), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            out[rows] = self._batch(x[rows], scored)
        return out

    def _batch(self, x: Float32Array, scored: Scored) -> FloatArray:
        total = scored(self.money, x)
        if self.chance is not None and self.worth is not None:
            reached, worth = expit(scored(self.chance, x)[:, 1:]), scored(self.worth, x)[:, 1:]
            total[:, 1:] += reached * np.maximum(worth, 0.0)
        for loss in self.losses:
            if loss.price.any():
                total[:, 1:] -= expit(scored(loss.odds, x)[:, 1:]) * loss.price[self.channel]
        if self.waiting is not None:
            total[:, 1:] -= self.waiting.charge(x, total[:, 1:] - total[:, :1])[:, None]
        return total

    def parts(self, x: Float32Array, action: int) -> dict[str, FloatArray]:
        """(n,) each part of one send's score, by name; `chance` and `worth` are factors, the rest are summands."""
        out: dict[str, FloatArray] = {}
        if self.chance is not None and self.worth is not None:
            out["chance"] = expit(self.chance.scores(x)[:, action])
            out["worth"] = np.maximum(self.worth.scores(x)[:, action], 0.0)
        out["money"] = self.money.scores(x)[:, action]
        for loss in self.losses:
            out[loss.name] = -expit(loss.odds.scores(x)[:, action]) * loss.price[self.channel[action - 1]]
        if self.waiting is not None:
            gains = replace(self, waiting=None).scores(x)
            out["waiting"] = -self.waiting.charge(x, gains[:, 1:] - gains[:, :1])
        return out

    def less(self, price: FloatArray) -> PartTables:
        """The same with a price (C, K) taken from every send."""
        cheaper = (self.money.channel_arm.astype(np.float64) - price).astype(np.float32)
        return replace(self, money=replace(self.money, channel_arm=cheaper))

    def stored(self) -> dict[str, ScoreTables]:
        """Every table by the name of its file."""
        named = {"chance": self.chance, "worth": self.worth, "money": self.money}
        named |= {f"loss_{loss.name}": loss.odds for loss in self.losses}
        return {name: tables for name, tables in named.items() if tables is not None}


def zero_tables(like: ScoreTables) -> ScoreTables:
    """Tables of zeros, not clipped."""
    empty = {field.name: np.zeros_like(getattr(like, field.name)) for field in fields(like)}
    empty["limits"] = np.array([-np.inf, np.inf], dtype=np.float32)
    return ScoreTables(**empty)
