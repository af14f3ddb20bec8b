"""Worlds in plain arrays, with exact truth, in which a message acts through a click; none of the simulator's code.

A contact has an age, counts and money with long tails, a motive, a tier and a device. A send is clicked with a chance
that is logistic in smooth functions of them, in the channel, the hour, the arm, and in whether the arm's motive is the
contact's. A click is worth what the contact's spending says. Orders that come without any message are most of the
money and nearly all of the noise. `through` is the share of the effect that acts through the click; the rest is
bought without one. `python -m experiments.study.stage_worlds` prints what the learner of parts and one of the money
itself earn in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import typer

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.errors import LearnError
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.identity import keyed_hash
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import HOLD, FloatArray, IntArray
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.registry import begin
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy

MOTIVES: Final = ("price", "assortment", "convenience", "trust")
TIERS: Final = ("bronze", "silver", "gold")
DEVICES: Final = ("android", "ios", "desktop")
MONEY: Final = "margin"
CLICKED: Final = "clicked"
_NUMERIC: Final = ("age", "orders_365d", "spend_365d_usd", "days_since_order", "visits_30d")
COST_USD: Final = np.array([0.001, 0.03, 0.003])
_RANGE: Final = (-1000.0, 5000.0)


def catalog() -> Catalog:
    """Three channels, two hours, three arms, and hold: 19 actions."""
    arms = tuple(Arm(id=f"for_{motive}", approved=True, attributes={"motive": motive}) for motive in MOTIVES[:3])
    return Catalog(name="stage_world", channels=("email", "sms", "push"), hours=(9, 18), arms=arms)


def schema() -> FeatureSchema:
    """Five numbers and three levels."""
    kinds: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in _NUMERIC]
    kinds += [("motive", MOTIVES), ("tier", TIERS), ("device", DEVICES)]
    return FeatureSchema(
        features=tuple(
            FeatureSpec(
                name=name,
                type="categorical" if levels else "numeric",
                unit="level" if levels else "count",
                source="the world",
                collected_where="nowhere: the world is made up",
                customer_benefit="Nobody is asked here",
                levels=levels,
            )
            for name, levels in kinds
        )
    )


@dataclass(frozen=True)
class People:
    """n contacts.

    Attributes:
        numbers: (n, 5) in the order of the schema.
        levels: (n, 3) codes of motive, tier and device.
    """

    numbers: FloatArray
    levels: IntArray

    @property
    def n(self) -> int:
        return len(self.numbers)

    def context(self) -> ContextBatch:
        """The contacts as a batch of contexts."""
        state = np.full(self.n, PRESENT, dtype=np.uint8)
        columns = {name: Column(self.numbers[:, i].copy(), state, ()) for i, name in enumerate(_NUMERIC)}
        for i, (name, levels) in enumerate((("motive", MOTIVES), ("tier", TIERS), ("device", DEVICES))):
            columns[name] = Column(self.levels[:, i].astype(np.int32), state, levels)
        return ContextBatch(schema(), columns, self.n)


@dataclass(frozen=True)
class StageWorld:
    """One world.

    Attributes:
        strength: of what differs between contacts; 0 is a world in which every message does nothing.
        through: share of a message's effect that acts through the click, in [0, 1].
        arm_worth: how far the worth of a click differs by arm; 0 is not at all.
        noise: multiplies the orders that come by themselves.
    """

    strength: float = 1.0
    through: float = 1.0
    arm_worth: float = 0.0
    noise: float = 1.0

    def people(self, n: int, seed: int) -> People:
        """Contacts at random."""
        rng = np.random.default_rng([seed, 1])
        lively = rng.gamma(0.8, 1.25, n)
        numbers = np.column_stack(
            [
                rng.uniform(18, 80, n).round(),
                rng.poisson(2.5 * lively),
                np.exp(rng.normal(4.0, 1.2, n) + 0.4 * np.log1p(lively)).round(2),
                rng.exponential(60.0 / (0.3 + lively)).round(),
                rng.poisson(3.0 * lively * rng.gamma(2.0, 0.5, n)),
            ]
        )
        levels = np.column_stack([rng.choice(4, n, p=(0.3, 0.3, 0.2, 0.2)), rng.choice(3, n), rng.choice(3, n)])
        return People(numbers, levels)

    def chance(self, people: People) -> FloatArray:
        """(n, 18) chance that a send is clicked."""
        age, orders, _, days, visits = people.numbers.T
        motive, tier, device = people.levels.T
        s = self.strength
        base = -3.6 + s * (0.9 * ((age - 49) / 31) ** 2 - 0.3 + 0.35 * np.log1p(visits) - 0.25 * np.log1p(days / 30))
        channel = np.column_stack(
            [
                0.15 * s * (tier - 1) + 0.10 * s * np.log1p(orders),
                0.5 - s * (0.25 * np.log1p(visits) - 0.8 * (days > 60)),
                0.1 + s * (0.6 * (device == 0) - 0.5 * (device == 2) - 0.02 * (age - 45)),
            ]
        )
        hour = s * np.column_stack([0.01 * (age - 45), 0.02 + 0.2 * (device == 1)])
        arms = np.arange(3)
        arm = 0.7 * s * (motive[:, None] == arms) + s * 0.1 * (arms - 1) * (tier[:, None] - 1) + 0.05 * arms
        if not s:
            return np.full((people.n, 18), 0.03)
        logit = base[:, None, None, None] + channel[:, :, None, None] + hour[:, None, :, None] + arm[:, None, None, :]
        out: FloatArray = (1.0 / (1.0 + np.exp(-logit))).reshape(people.n, 18)
        return out

    def worth(self, people: People) -> FloatArray:
        """(n, 18) USD that a click brings."""
        if not self.strength:
            return np.zeros((people.n, 18))
        _, orders, spend, _, _ = people.numbers.T
        own = 0.9 * np.exp(0.55 * (np.log(spend) - 4.0)) * (1.0 + 0.1 * np.log1p(orders))
        by_arm = np.tile(1.0 + self.arm_worth * np.array([-1.0, 0.0, 1.0]), 6)
        worth: FloatArray = own[:, None] * by_arm
        return worth

    def gain(self, people: People) -> FloatArray:
        """(n, 19) expected USD of every action over hold, its cost included."""
        cost = np.repeat(COST_USD, 6)
        # What does not act through the click is the same money, spread over everybody who got the send.
        return np.column_stack([np.zeros(people.n), self.chance(people) * self.worth(people) - cost])

    def log(self, rows: int, seed: int, hold_share: float = 0.1) -> list[RoundBatch]:
        """Decisions at random: hold with `hold_share`, else any send alike."""
        people, rng = self.people(rows, seed), np.random.default_rng([seed, 2])
        action = np.where(rng.random(rows) < hold_share, HOLD, 1 + rng.integers(18, size=rows)).astype(np.int32)
        at = np.maximum(action - 1, 0)
        sent, own = action != HOLD, np.arange(rows)
        chance, worth = self.chance(people)[own, at], self.worth(people)[own, at]
        clicked = sent & (rng.random(rows) < chance)
        # A click is an order of about ten times its worth in one case of ten.
        through = np.where(clicked & (rng.random(rows) < 0.1), 10.0 * worth * rng.gamma(2.0, 0.5, rows), 0.0)
        beside = np.where(sent & (rng.random(rows) < chance * 0.1), 10.0 * worth * rng.gamma(2.0, 0.5, rows), 0.0)
        bought = np.where(rng.random(rows) < self.through, through, beside)
        organic_rate = 0.02 * (1.0 + np.log1p(people.numbers[:, 1]))
        organic = np.where(rng.random(rows) < organic_rate, 25.0 * rng.gamma(1.5, 0.67, rows), 0.0) * self.noise
        cost = np.where(sent, np.repeat(COST_USD, 6)[at], 0.0)
        money = organic + bought - cost
        ids = np.array([f"w{seed}-{row}" for row in range(rows)], dtype=object)
        cluster, context = keyed_hash(ids, "cluster"), people.context()
        whole = RoundBatch(
            chunk=0,
            decision_id=ids,
            context=context,
            action=action,
            propensity=np.where(sent, (1.0 - hold_share) / 18.0, hold_share),
            eligible=np.repeat(pack(np.ones((1, 19), dtype=np.bool_)), rows, axis=0),
            k=19,
            cluster=cluster,
            rewards={MONEY: money, CLICKED: clicked.astype(np.float64), "send_cost": -cost},
            usable=np.ones(rows, dtype=np.bool_),
            decided_at=np.arange(rows, dtype=np.int64) * 1_000_000,
            extra={},
        )
        return [whole.take(slice(start, start + CHUNK_ROWS)) for start in range(0, rows, CHUNK_ROWS)]

    def value(self, action: IntArray, people: People) -> float:
        """Mean expected gain of given actions (n,), USD per decision."""
        return float(self.gain(people)[np.arange(people.n), action].mean())


def reward_range() -> tuple[float, float]:
    """Declared (low, high) of the money."""
    return _RANGE


WORLDS: Final = {
    "through the click": StageWorld(),
    "weak": StageWorld(strength=0.5),
    "worth differs by arm": StageWorld(arm_worth=0.6),
    "half beside the click": StageWorld(through=0.5),
    "all beside the click": StageWorld(through=0.0),
    "beside it, by arm": StageWorld(through=0.0, arm_worth=0.6),
    "null": StageWorld(strength=0.0),
}
# The learner of parts, and one of the money itself as conf/learner/mtr.yaml has it.
LEARNERS: Final = {"parts": VwConfig(parts=PartsConfig()), "money": VwConfig(learning_rate=0.005, passes=16)}


@dataclass(frozen=True)
class Earned:
    """USD per decision over hold, on people who are not in the log.

    Attributes:
        learnt: by the greedy policy that was learnt.
        constant / oracle: by the best action for all, and by the best for each.
    """

    learnt: float
    constant: float
    oracle: float


def earned(world: StageWorld, config: VwConfig, rows: int, seed: int) -> Earned:
    """What a policy earns that was learnt from so many rows."""
    learner = begin(catalog(), schema(), MONEY, reward_range(), config, ExplorationConfig(kind="greedy"))
    learner.learn(world.log(rows, seed))
    policy, people = learner.policy(), world.people(20_000, seed + 1000)
    if not isinstance(policy, CompiledPolicy):
        raise LearnError(f"a {type(policy).__name__} has no scores", hint="learn a compiled policy")
    gain = world.gain(people)
    chosen = policy.scores(people.context()).argmax(axis=1)
    return Earned(world.value(chosen, people), float(gain.mean(axis=0).max()), float(gain.max(axis=1).mean()))


def main(rows: int = 40_000, seeds: tuple[int, ...] = (1, 2, 3)) -> None:
    """Print the table."""
    for name, world in WORLDS.items():
        for learner, config in LEARNERS.items():
            found = [earned(world, config, rows, seed) for seed in seeds]
            mean = np.mean([(one.learnt, one.constant, one.oracle) for one in found], axis=0)
            typer.echo(f"{name:22} {learner:6} learnt {mean[0]:+.4f}, constant {mean[1]:+.4f}, oracle {mean[2]:+.4f}")


if __name__ == "__main__":
    main()
