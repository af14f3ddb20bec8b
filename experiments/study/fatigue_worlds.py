"""Worlds in plain arrays in which messages tire, with exact truth: `stage_worlds` with a memory of the last messages.

Every contact is decided on every day. The chance that a message is clicked is that of the stage world, times the day's
mood, times what has recovered since the last messages; the chance of leaving rises with the same pressure. Who has left
gets nothing any more. Values are expectations along drawn moods: only the moods are random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.eligibility import pack
from engine.features import MISSING, PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.identity import keyed_hash
from engine.numeric.matmul import matmul
from engine.protocols import Policy
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from experiments.study import stage_worlds
from experiments.study.stage_worlds import CLICKED, COST_USD, MONEY, People, StageWorld

LEFT: Final = "unsubscribed"
SINCE: Final = "days_since_last_send"
COUNT: Final = "sends_7d"
MOOD: Final = "visits_today"
_MOODS: Final = np.array([1.4, 2.0, 3.2])
_SHARES: Final = np.array([0.4, 0.4, 0.2])
_GRID: Final = 80

# From the days since the last message (NaN: none yet), the messages of seven days and the day: (n,) may be sent to.
Spacing = Callable[[FloatArray], BoolArray]


@dataclass(frozen=True)
class FatigueWorld:
    """One world.

    Attributes:
        stage: what a message does to a rested contact.
        depth: the chance is multiplied by exp(-depth x pressure); 0 tires nobody.
        recovery_days: after which 1 / e of a message's pressure, 1 at first, is left.
        adds: whether the messages before the last one press too; else the last one counts alone.
        leaving: chance that a message makes a rested contact leave.
        pressing: that chance is multiplied by 1 + pressing x pressure.
        features: of the history that the log and the policies see.
    """

    stage: StageWorld = field(default_factory=StageWorld)
    depth: float = 0.8
    recovery_days: float = 4.0
    adds: bool = True
    leaving: float = 0.0005
    pressing: float = 4.0
    features: tuple[str, ...] = (SINCE,)

    def schema(self) -> FeatureSchema:
        """The stage world's, the day's mood and the history."""
        own = tuple(
            FeatureSpec(
                name=name,
                type="numeric",
                unit="count",
                source="the world",
                collected_where="nowhere: the world is made up",
                customer_benefit="Nobody is asked here",
            )
            for name in (MOOD, *self.features)
        )
        return FeatureSchema(features=(*stage_worlds.schema().features, *own))

    def context(self, people: People, state: State, mood: IntArray) -> ContextBatch:
        """What is known of everybody on one day."""
        columns = dict(people.context().columns)
        present = np.full(people.n, PRESENT, dtype=np.uint8)
        columns[MOOD] = Column(mood.astype(np.float64), present, ())
        if SINCE in self.features:
            never = np.isnan(state.since)
            columns[SINCE] = Column(
                np.where(never, 0.0, state.since), np.where(never, MISSING, PRESENT).astype(np.uint8), ()
            )
        if COUNT in self.features:
            columns[COUNT] = Column(state.week, present, ())
        return ContextBatch(self.schema(), columns, people.n)

    def recovered(self, pressure: FloatArray) -> FloatArray:
        """Share of the chance that is there under a pressure."""
        out: FloatArray = np.exp(-self.depth * pressure)
        return out

    def gains(self, people: People) -> Gains:
        """What messages bring to rested contacts on a day of mood 1."""
        return Gains(self.stage.chance(people), self.stage.worth(people), np.repeat(COST_USD, 6))

    def log(
        self, contacts: int, days: int, seed: int, hold: Callable[[int], float] = lambda _: 0.5
    ) -> list[RoundBatch]:
        """Every day a message at random, or none with chance `hold(day)`; who has left has no more rows."""
        people, rng = self.stage.people(contacts, seed), np.random.default_rng([seed, 3])
        gains, state, rows = self.gains(people), State.fresh(contacts), np.arange(contacts)
        here = np.ones(contacts, dtype=np.bool_)
        ids = np.array([f"f{seed}-{row}" for row in rows], dtype=object)
        cluster, batches = keyed_hash(ids, "cluster"), list[RoundBatch]()
        for day in range(days):
            mood, share = rng.choice(3, contacts, p=_SHARES), hold(day)
            action = np.where(rng.random(contacts) < share, HOLD, 1 + rng.integers(18, size=contacts)).astype(np.int32)
            sent, at = action != HOLD, np.maximum(action - 1, 0)
            chance = np.minimum(gains.chance[rows, at] * _MOODS[mood] * self.recovered(state.pressure), 0.95)
            clicked = sent & (rng.random(contacts) < chance)
            bought = clicked & (rng.random(contacts) < 0.1)
            money = np.where(bought, 10.0 * gains.worth[rows, at] * rng.gamma(2.0, 0.5, contacts), 0.0)
            organic = np.where(rng.random(contacts) < 0.02, 25.0 * rng.gamma(1.5, 0.67, contacts), 0.0)
            cost = np.where(sent, gains.cost[at], 0.0)
            left = sent & (rng.random(contacts) < self.leaving * (1.0 + self.pressing * state.pressure))
            whole = RoundBatch(
                chunk=day,
                decision_id=np.array([f"{one}-{day}" for one in ids], dtype=object),
                context=self.context(people, state, mood),
                action=action,
                propensity=np.where(sent, (1.0 - share) / 18.0, share),
                eligible=np.repeat(pack(np.ones((1, 19), dtype=np.bool_)), contacts, axis=0),
                k=19,
                cluster=cluster,
                rewards={
                    MONEY: money + organic - cost,
                    CLICKED: clicked.astype(np.float64),
                    LEFT: left.astype(np.float64),
                    "send_cost": -cost,
                },
                usable=np.ones(contacts, dtype=np.bool_),
                decided_at=np.full(contacts, day * DAY_US, dtype=np.int64),
                extra={},
            ).take(np.flatnonzero(here))
            batches += [whole.take(slice(start, start + CHUNK_ROWS)) for start in range(0, whole.n, CHUNK_ROWS)]
            here &= ~left
            state.pass_day(self, sent)
        return batches

    def value(
        self, policy: Policy, contacts: int, days: int, seed: int, spacing: Spacing | None = None
    ) -> tuple[float, float]:
        """Expected USD and messages per contact over some days, of a policy that may send where `spacing` allows."""
        people, rng = self.stage.people(contacts, seed), np.random.default_rng([seed, 4])
        gains, state, rows = self.gains(people), State.fresh(contacts), np.arange(contacts)
        here, usd, sends = np.ones(contacts), np.zeros(contacts), np.zeros(contacts)
        for _ in range(days):
            mood = rng.choice(3, contacts, p=_SHARES)
            may = np.ones(contacts, dtype=np.bool_) if spacing is None else spacing(state.since)
            eligible = np.repeat(may[:, None], 19, axis=1)
            eligible[:, HOLD] = True
            action = policy.distribution(self.context(people, state, mood), eligible).argmax(axis=1)
            sent, at = action != HOLD, np.maximum(action - 1, 0)
            chance = np.minimum(gains.chance[rows, at] * _MOODS[mood] * self.recovered(state.pressure), 0.95)
            usd += here * np.where(sent, chance * gains.worth[rows, at] - gains.cost[at], 0.0)
            sends += here * sent
            here *= np.where(sent, 1.0 - self.leaving * (1.0 + self.pressing * state.pressure), 1.0)
            state.pass_day(self, sent)
        return float(usd.mean()), float(sends.mean())

    def oracle(self, contacts: int, days: int, seed: int) -> float:
        """USD per contact of the best rule that knows the world and every contact's pressure.

        Dynamic programming over day, mood and pressure, which is interpolated on a grid.
        """
        people = self.stage.people(contacts, seed)
        gains, kept = self.gains(people), np.exp(-1.0 / self.recovery_days)
        most = kept / (1.0 - kept) if self.adds else kept
        grid = most * np.linspace(0.0, 1.0, _GRID) ** 2
        sent = np.minimum((grid + 1.0) * kept, most) if self.adds else np.full(_GRID, kept)
        stays = 1.0 - self.leaving * (1.0 + self.pressing * grid)
        after_send, after_hold = _mixing(grid, sent), _mixing(grid, grid * kept)
        # (moods, contacts, grid): what the best send brings.
        rested = [[gains.chance * mood, gains.worth, gains.cost] for mood in _MOODS]
        now = np.array(
            [
                [(np.minimum(chance * self.recovered(grid[i]), 0.95) * worth - cost).max(axis=1) for i in range(_GRID)]
                for chance, worth, cost in rested
            ]
        ).transpose(0, 2, 1)
        later = np.zeros((contacts, _GRID))
        for _ in range(days):
            send, hold = stays * matmul(later, after_send), matmul(later, after_hold)
            later = sum(share * np.maximum(now[i] + send, hold) for i, share in enumerate(_SHARES))
        return float(later[:, 0].mean())


def _mixing(grid: FloatArray, to: FloatArray) -> FloatArray:
    """(G, G) weights that interpolate values on a grid at other places: values @ weights."""
    right = np.clip(np.searchsorted(grid, to), 1, len(grid) - 1)
    share = (to - grid[right - 1]) / (grid[right] - grid[right - 1])
    weights = np.zeros((len(grid), len(grid)))
    own = np.arange(len(to))
    weights[right - 1, own], weights[right, own] = 1.0 - share, share
    return weights


@dataclass(frozen=True)
class Gains:
    """Chance and USD of the 18 sends to n rested contacts, and what each costs."""

    chance: FloatArray
    worth: FloatArray
    cost: FloatArray


@dataclass
class State:
    """What the last messages left behind: days since the last one (NaN for none), pressure, messages of seven days."""

    since: FloatArray
    pressure: FloatArray
    past: FloatArray

    @classmethod
    def fresh(cls, contacts: int) -> State:
        """Nobody got anything yet."""
        return cls(np.full(contacts, np.nan), np.zeros(contacts), np.zeros((contacts, 7)))

    @property
    def week(self) -> FloatArray:
        """(n,) messages of the last seven days."""
        sums: FloatArray = self.past.sum(axis=1)
        return sums

    def pass_day(self, world: FatigueWorld, sent: BoolArray) -> None:
        """Go on to the next day."""
        after = self.pressure + 1.0 if world.adds else np.ones(len(sent))
        self.pressure = np.where(sent, after, self.pressure) * np.exp(-1.0 / world.recovery_days)
        self.since = np.where(sent, 1.0, self.since + 1.0)
        self.past = np.column_stack([sent.astype(np.float64), self.past[:, :-1]])


def every(days: float) -> Spacing:
    """At most every so many days."""
    return lambda since: np.isnan(since) | (since >= days)
