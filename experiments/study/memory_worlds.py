"""Worlds in plain arrays in which contacts have lasting tastes that no feature shows, and one in which they have none.

The people, chances and worths are those of `experiments.study.stage_worlds`. On the log odds of a click each contact
has normal tastes of its own: for messages at all, for each channel, hour and motive. `python -m
experiments.study.memory_worlds` prints what the learner of parts earns with and without the contact's own past, on
contacts that are not in the log and begin without one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import typer
from scipy.special import expit, logit

from engine.eligibility import pack
from engine.identity import keyed_hash
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, FloatArray, IntArray, KeyArray
from experiments.study.stage_worlds import CLICKED, COST_USD, MONEY, People, StageWorld, catalog, reward_range, schema
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.memory.columns import with_memory
from policies.parts.memory.sums import Memory
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy

KNOWN_DAYS: Final = 3.0
_START: Final = 20_000 * DAY_US
_SENDS: Final = 18


@dataclass(frozen=True)
class TasteWorld:
    """One world.

    Attributes:
        at_all / by_channel / by_hour / by_motive: standard deviations of the contacts' tastes, in log odds.
        more: added to the log odds of every click.
        favoured: how much likelier the log's policy sends what the features speak for; 0 is a log at random.
    """

    at_all: float = 0.0
    by_channel: float = 0.0
    by_hour: float = 0.0
    by_motive: float = 0.0
    more: float = 0.7
    favoured: float = 0.0

    def chance(self, people: People, seed: int) -> tuple[FloatArray, FloatArray]:
        """(n, 18) chances of a click, and those of a contact with the same features and no tastes."""
        rng, n = np.random.default_rng([seed, 7]), people.n
        taste = self.at_all * rng.normal(size=(n, 1, 1, 1)) + self.by_channel * rng.normal(size=(n, 3, 1, 1))
        taste = taste + self.by_hour * rng.normal(size=(n, 1, 2, 1)) + self.by_motive * rng.normal(size=(n, 1, 1, 3))
        usual = logit(StageWorld().chance(people)) + self.more
        return expit(usual + taste.reshape(n, -1)), expit(usual)

    def log(self, contacts: int, days: int, seed: int) -> list[RoundBatch]:
        """One decision of each contact a day: hold in one case of ten; the contexts hold what was known by then."""
        people = StageWorld().people(contacts, seed)
        chance, usual = self.chance(people, seed)
        liked = np.exp(self.favoured * (logit(usual) - logit(usual).max(axis=1, keepdims=True)))
        share = np.column_stack([np.full(contacts, 0.1), 0.9 * liked / liked.sum(axis=1, keepdims=True)])
        rng, found = np.random.default_rng([seed, 2]), []
        memory = Memory(catalog(), CLICKED, KNOWN_DAYS)
        for day in range(days):
            action = (rng.random((contacts, 1)) > np.cumsum(share, axis=1)[:, :-1]).sum(axis=1)
            own = share[np.arange(contacts), action]
            batch = self._rounds(people, chance, action, own, rng, day, f"l{seed}")
            found.append(replace(batch, context=memory.context(batch.context, batch.cluster, batch.decided_at)))
            memory.add(batch)
        return found

    def earned(self, policy: CompiledPolicy, contacts: int, days: int, seed: int) -> float:
        """Mean expected gain of a greedy policy over hold, USD per decision, on contacts that begin without a past."""
        people = StageWorld().people(contacts, seed)
        chance, _ = self.chance(people, seed)
        gain = np.column_stack([np.zeros(contacts), chance * StageWorld().worth(people) - np.repeat(COST_USD, 6)])
        memory, rng, total = Memory(catalog(), CLICKED, KNOWN_DAYS), np.random.default_rng([seed, 3]), 0.0
        for day in range(days):
            at = np.full(contacts, _START + day * DAY_US)
            context = memory.context(people.context(), _keys(contacts, f"e{seed}"), at)
            action = policy.scores(context).argmax(axis=1)
            total += float(gain[np.arange(contacts), action].mean())
            memory.add(self._rounds(people, chance, action, np.ones(contacts), rng, day, f"e{seed}"))
        return total / days

    def bounds(self, contacts: int, seed: int) -> tuple[float, float]:
        """Gains of the best action for each contact by its features, and by its tastes too."""
        people = StageWorld().people(contacts, seed)
        worth, cost, rows = StageWorld().worth(people), np.repeat(COST_USD, 6), np.arange(contacts)
        chance, usual = self.chance(people, seed)
        gain = chance * worth - cost
        return float(gain[rows, (usual * worth - cost).argmax(axis=1)].mean()), float(gain.max(axis=1).mean())

    @staticmethod
    def _rounds(
        people: People,
        chance: FloatArray,
        action: IntArray,
        propensity: FloatArray,
        rng: np.random.Generator,
        day: int,
        name: str,
    ) -> RoundBatch:
        rows, n, sent = np.arange(people.n), people.n, action != HOLD
        at = np.maximum(action - 1, 0)
        clicked = sent & (rng.random(n) < chance[rows, at])
        worth = StageWorld().worth(people)[rows, at]
        bought = np.where(clicked & (rng.random(n) < 0.1), 10.0 * worth * rng.gamma(2.0, 0.5, n), 0.0)
        organic = np.where(rng.random(n) < 0.04, 25.0 * rng.gamma(1.5, 0.67, n), 0.0)
        cost = np.where(sent, np.repeat(COST_USD, 6)[at], 0.0)
        return RoundBatch(
            chunk=day,
            decision_id=np.array([f"{name}-{day}-{row}" for row in range(n)], dtype=object),
            context=people.context(),
            action=action.astype(np.int32),
            propensity=propensity,
            eligible=np.repeat(pack(np.ones((1, _SENDS + 1), dtype=np.bool_)), n, axis=0),
            k=_SENDS + 1,
            cluster=_keys(n, name),
            rewards={MONEY: organic + bought - cost, CLICKED: clicked.astype(np.float64), "send_cost": -cost},
            usable=np.ones(n, dtype=np.bool_),
            decided_at=np.full(n, _START + day * DAY_US, dtype=np.int64),
            extra={},
        )


def _keys(n: int, name: str) -> KeyArray:
    return keyed_hash(np.array([f"{name}-{row}" for row in range(n)], dtype=object), "contact")


WORLDS: Final = {
    "no tastes": TasteWorld(),
    "messages at all": TasteWorld(at_all=0.7),
    "channel": TasteWorld(by_channel=0.8),
    "motive": TasteWorld(by_motive=0.8),
    "channel, hour, motive": TasteWorld(0.4, 0.6, 0.4, 0.6),
    "the same, favoured log": TasteWorld(0.4, 0.6, 0.4, 0.6, favoured=2.0),
}


def learnt(log: list[RoundBatch], **parts: Any) -> PartsLearner:
    """The learner of parts after a log."""
    fixed: dict[str, Any] = {"recency": "", "smooth": True, "past": False, "ridges": (30.0,), "worth_ridges": (300.0,)}
    config = VwConfig(parts=PartsConfig(**{**fixed, **parts}))
    whole = with_memory(schema(), catalog(), CLICKED)
    learner = PartsLearner(catalog(), whole, MONEY, reward_range(), config, ExplorationConfig(kind="greedy"))
    learner.learn(log)
    return learner


def main(contacts: int = 2500, days: int = 20, plays: int = 30, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Print the table."""
    for name, world in WORLDS.items():
        for seed in seeds:
            log = world.log(contacts, days, seed)
            found = {}
            for label, memory in (("without", False), ("chosen", None)):
                learner = learnt(log, memory=memory)
                found[label] = world.earned(learner.policy(), 2000, plays, seed + 1000)
            chance = learner.state.fitted["chance"]
            usual, best = world.bounds(2000, seed + 1000)
            kinds = {one.kind.name: round(one.strength, 1) for one in chance.terms.memory}
            typer.echo(
                f"{name:24} {seed} without {found['without']:.4f}, chosen {found['chosen']:.4f}, "
                f"by features {usual:.4f}, by tastes {best:.4f}; saved {chance.recalled} by {kinds}"
            )


if __name__ == "__main__":
    main()
