"""What is waiting worth where messages tire, and where they do not? Lines for docs/frequency.md, by exact truth.

`python -m experiments.study.waiting_value`; each world takes a minute or two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from experiments.study import stage_worlds
from experiments.study.fatigue_worlds import COUNT, FatigueWorld, every
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.vw.arguments import VwConfig

WORLDS: Final = {
    "messages tire, days since known": FatigueWorld(),
    "messages tire, sends of 7 days known": FatigueWorld(features=(COUNT,)),
    "messages tire, nothing of them known": FatigueWorld(features=()),
    "the last message alone tires, leaving is frequent": FatigueWorld(
        adds=False, depth=3.0, leaving=0.001, pressing=15.0
    ),
    "nothing tires": FatigueWorld(depth=0.0, pressing=0.0),
    "messages do nothing": FatigueWorld(stage=stage_worlds.StageWorld(strength=0.0), depth=0.0, pressing=0.0),
}
_DAYS: Final = 60
_CONTACTS: Final = 1500
_SEED: Final = 9


@dataclass(frozen=True)
class Found:
    """USD per contact over 60 days of one world.

    Attributes:
        rows: of the log.
        without / waits: of the learner of parts without waiting, and with what it chose.
        spaced: of the best "at most every so many days", 2 to 14, of the learner without waiting.
        days: of that spacing.
        oracle: of the best rule that knows the world.
        said: by the learner.
    """

    rows: int
    without: float
    waits: float
    spaced: float
    days: int
    oracle: float
    said: str


def measure(world: FatigueWorld, contacts: int, days: int, seed: int, config: PartsConfig) -> Found:
    """Learn from a log in which every other day has a message, and value what was learnt by the truth."""
    log = world.log(contacts, days, seed)
    learner = PartsLearner(
        stage_worlds.catalog(),
        world.schema(),
        stage_worlds.MONEY,
        stage_worlds.reward_range(),
        VwConfig(parts=config),
        ExplorationConfig(kind="greedy"),
    )
    learner.learn(log)
    policy = learner.policy()
    none = replace(policy, tables=replace(learner.state.tables, waiting=None))
    spaced = {d: world.value(none, _CONTACTS, _DAYS, _SEED, every(d))[0] for d in range(2, 15)}
    best = max(spaced, key=lambda d: spaced[d])
    return Found(
        sum(batch.n for batch in log),
        world.value(none, _CONTACTS, _DAYS, _SEED)[0],
        world.value(policy, _CONTACTS, _DAYS, _SEED)[0],
        spaced[best],
        best,
        world.oracle(_CONTACTS, _DAYS, _SEED),
        learner.state.said[-1],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for every world and log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=1500)
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--logs", type=int, default=2)
    given = parser.parse_args(arguments)
    config = PartsConfig(past=False, smooth=True, ridges=(30.0,), worth_ridges=(300.0,))
    for name, world in WORLDS.items():
        for seed in range(1, given.logs + 1):
            found = measure(world, given.contacts, given.days, seed, config)
            sys.stdout.write(
                f"{name}, log {seed} of {found.rows:,} rows: without {found.without:.2f}, with {found.waits:.2f}, "
                f"at most every {found.days} days {found.spaced:.2f}, oracle {found.oracle:.2f}. {found.said}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
