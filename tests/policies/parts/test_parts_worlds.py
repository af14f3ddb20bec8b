"""The learner of parts in worlds of plain arrays whose truth is exact (experiments/study/stage_worlds.py)."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.study.stage_worlds import MONEY, StageWorld, catalog, reward_range, schema
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.registry import begin
from policies.vw.arguments import VwConfig

PARTS = VwConfig(parts=PartsConfig())
# As conf/learner/mtr.yaml.
MONEY_ITSELF = VwConfig(learning_rate=0.005, passes=16)
GREEDY = ExplorationConfig(kind="greedy")


def values(world: StageWorld, config: VwConfig, rows: int, seed: int) -> tuple[float, PartsLearner]:
    """USD per decision over hold of the greedy policy, on people who are not in the log."""
    learner = begin(catalog(), schema(), MONEY, reward_range(), config, GREEDY)
    learner.learn(world.log(rows, seed))
    people, policy = world.people(20_000, seed + 1000), learner.policy()
    return world.value(policy.scores(people.context()).argmax(axis=1), people), learner


def best(world: StageWorld, seed: int) -> tuple[float, float]:
    """The value of the best action for each, and of the best one for all."""
    gain = world.gain(world.people(20_000, seed + 1000))
    return float(gain.max(axis=1).mean()), float(gain.mean(axis=0).max())


def test_a_small_log_already_beats_the_best_constant() -> None:
    """8,000 rows: some 430 clicks. Money itself cannot be seen in so few."""
    world = StageWorld()
    found, learner = values(world, PARTS, 8_000, 3)
    _, constant = best(world, 3)
    assert learner.state.stage == "clicked"
    assert found > constant + 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "share"),
    [
        (StageWorld(), 0.85),
        (StageWorld(strength=0.5), 0.5),
        (StageWorld(arm_worth=0.6), 0.6),
        (StageWorld(through=0.5), 0.6),
        (StageWorld(through=0.0), 0.0),
        (StageWorld(through=0.0, arm_worth=0.6), 0.0),
    ],
    ids=["through the click", "weak", "worth differs by arm", "half beside it", "all beside it", "beside it, by arm"],
)
def test_parts_do_not_lose_to_money(world: StageWorld, share: float) -> None:
    """Over seeds, 40,000 rows: parts earn at least what the money itself earns, and a share of what there is.

    The share is of the way from the best action for all to the best for each. Where nothing acts through the click,
    clicks say nothing of the money, and the rest is found in the money or not at all.
    """
    gains, ways = [], []
    for seed in (1, 2, 3):
        (parts, _), (money, _) = (values(world, config, 40_000, seed) for config in (PARTS, MONEY_ITSELF))
        oracle, constant = best(world, seed)
        gains.append(parts - money)
        ways.append((parts - constant) / (oracle - constant))
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert np.mean(gains) > -2.0 * error - 0.002, (gains, ways)
    assert np.mean(ways) > share, (gains, ways)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["auto", ""])
def test_where_no_message_does_anything_little_is_lost(stage: str) -> None:
    """The best is hold, at 0; a send costs 0.001 to 0.03 USD, and a policy may be 0.007 below the best."""
    world = StageWorld(strength=0.0)
    config = VwConfig(parts=PartsConfig(stage=stage))
    found = [values(world, config, 30_000, seed)[0] for seed in (1, 2, 3)]
    assert best(world, 1)[0] == 0.0
    assert np.mean(found) > -0.007, found
