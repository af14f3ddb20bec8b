"""The compiled policy on rows that may be sent nothing: certain, unscored, and the others as if they were alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.eligibility import Eligibility
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.vw.learner import VwLearner
from policies.vw.scoring import kernels

ROWS = 60


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("floor", [0.0, 0.05], ids=["free", "floored"])
def test_rows_without_a_send_hold_for_certain_and_change_no_other(world, fast: bool, floor: float) -> None:
    exploration = ExplorationConfig(kind="squarecb", ceiling=0.5, floor=floor)
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), exploration=exploration)
    learner.learn([world.rounds(400, seed=61)])
    policy = replace(learner.policy(), fast=fast and kernels.AVAILABLE)
    rng = np.random.default_rng(62)
    channels, hours, arms = world.catalog.shape
    by_arm = rng.random((ROWS, channels, arms)) < 0.7
    by_hour = rng.random((ROWS, 2, channels, hours)) < 0.7
    by_arm[::3] = False  # nothing by arm
    by_hour[1::3] = False  # nothing by hour
    may = Eligibility(by_arm, by_hour, world.catalog.purpose_codes)
    context, uniform = world.context(ROWS, seed=63), rng.random(ROWS)
    action, propensity = policy.choose(context, may, uniform)
    held = ~may.sendable()
    assert held.sum() >= 2 * ROWS // 3
    assert (action[held] == 0).all()
    assert (propensity[held] == 1.0).all()
    free = np.flatnonzero(~held)
    alone = policy.choose(context.take(free), may.take(free), uniform[free])
    assert action[free].tobytes() == alone[0].tobytes()
    assert propensity[free].tobytes() == alone[1].tobytes()
    assert (action[free] != 0).any()
    everything = may.dense()
    assert everything[np.arange(ROWS), action].all()
    distribution = policy.distribution(context, everything)
    np.testing.assert_allclose(propensity, distribution[np.arange(ROWS), action], atol=1e-9)


def test_nobody_may_be_sent_anything(world) -> None:
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    learner.learn([world.rounds(200, seed=64)])
    channels, hours, arms = world.catalog.shape
    may = Eligibility(
        np.zeros((5, channels, arms), dtype=np.bool_),
        np.ones((5, 2, channels, hours), dtype=np.bool_),
        world.catalog.purpose_codes,
    )
    action, propensity = learner.policy().choose(world.context(5, seed=65), may, np.linspace(0.0, 0.9, 5))
    assert action.tolist() == [0] * 5
    assert propensity.tolist() == [1.0] * 5


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("kind", ["greedy", "squarecb", "slice"])
def test_silence_that_no_log_showed_is_chosen_only_where_nothing_may_be_sent(world, fast: bool, kind: str) -> None:
    """However well hold happens to score: nothing is known of it."""
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), exploration=ExplorationConfig(kind=kind))
    learner.learn([world.rounds(400, seed=61)])
    policy = replace(learner.policy(), fast=fast and kernels.AVAILABLE)
    generous = policy.tables.hold.copy()
    generous[-1] += 100.0
    knowing = replace(policy, tables=replace(policy.tables, hold=generous))
    unknowing = replace(knowing, never_held=True)
    context, rng = world.context(ROWS, seed=63), np.random.default_rng(62)
    eligible = rng.random((ROWS, world.catalog.k)) < 0.4
    eligible[:, 0] = True
    eligible[::5, 1:] = False
    sendable = eligible[:, 1:].any(axis=1)
    assert (knowing.distribution(context, eligible)[:, 0] > 0.5).mean() > 0.9
    found = unknowing.distribution(context, eligible)
    assert (found[sendable, 0] == 0.0).all()
    assert (found[~sendable, 0] == 1.0).all()
    check_policy(unknowing, world.catalog, world.schema)
