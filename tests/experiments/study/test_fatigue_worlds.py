"""experiments/study/fatigue_worlds.py: pressures by hand, values, and an oracle that nothing beats."""

from __future__ import annotations

import numpy as np
import pytest

from engine.types import HOLD
from experiments.study import waiting_value
from experiments.study.fatigue_worlds import CLICKED, COUNT, SINCE, FatigueWorld, State, every
from experiments.study.stage_worlds import StageWorld
from policies.parts.config import PartsConfig


class Knowing:
    """Sends everybody the best message of a rested contact."""

    name = "knowing"

    def __init__(self, world: FatigueWorld, contacts: int, seed: int) -> None:
        gains = world.gains(world.stage.people(contacts, seed))
        self.best = 1 + (gains.chance * gains.worth - gains.cost).argmax(axis=1)

    def distribution(self, context, eligible):
        action = np.where(eligible[np.arange(context.n), self.best], self.best, HOLD)
        out = np.zeros(eligible.shape)
        out[np.arange(context.n), action] = 1.0
        return out


@pytest.mark.parametrize(("adds", "second"), [(True, 0.5 + 0.25), (False, 0.5)])
def test_pressure_by_hand(adds, second):
    """A message a day with a half life of one: 1 -> 0.5, then 1.5 -> 0.75, or 1 -> 0.5 where the last counts alone."""
    world, state = FatigueWorld(adds=adds, recovery_days=1 / np.log(2.0)), State.fresh(1)
    for sent, pressure, since, week in ((True, 0.5, 1, 1), (True, second, 1, 2), (False, second / 2, 2, 2)):
        state.pass_day(world, np.array([sent]))
        np.testing.assert_allclose([state.pressure[0], state.since[0], state.week[0]], [pressure, since, week])


@pytest.mark.parametrize("world", [FatigueWorld(), FatigueWorld(adds=False, depth=3.0, leaving=0.001, pressing=15.0)])
def test_nothing_beats_the_oracle(world):
    knowing, best = Knowing(world, 200, 4), world.oracle(200, 40, 4)
    values = [world.value(knowing, 200, 40, 4, every(days))[0] for days in range(1, 12)]
    assert max(values) < best * 1.01
    assert max(values) > 0.6 * best


def test_without_fatigue_the_oracle_sends_whenever_it_pays():
    """Nobody leaves and nothing tires: the sum over moods of what the best message brings, if anything."""
    world = FatigueWorld(depth=0.0, leaving=0.0)
    gains = world.gains(world.stage.people(300, 2))
    a_day = sum(
        share * np.maximum((np.minimum(gains.chance * mood, 0.95) * gains.worth - gains.cost).max(axis=1), 0.0).mean()
        for mood, share in zip((1.4, 2.0, 3.2), (0.4, 0.4, 0.2), strict=True)
    )
    assert world.oracle(300, 10, 2) == pytest.approx(10 * a_day)


def test_the_log_is_what_the_world_says():
    """Clicks of messages after one day are as rare as the pressure says, and the features are those of the log."""
    world = FatigueWorld(stage=StageWorld(strength=0.0), adds=False, depth=1.0, leaving=0.0, features=(SINCE, COUNT))
    log = world.log(3000, 20, 1)
    clicked = np.concatenate([batch.rewards[CLICKED] for batch in log])
    sent = np.concatenate([batch.action for batch in log]) != HOLD
    since = np.concatenate([batch.context.columns[SINCE].values for batch in log])
    for days in (1, 4):
        rows = sent & (since == days)
        expected = 0.03 * (0.4 * 1.4 + 0.4 * 2.0 + 0.2 * 3.2) * np.exp(-np.exp(-days / world.recovery_days))
        assert clicked[rows].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / rows.sum()))


@pytest.mark.slow
def test_the_study_measures():
    """A small log: with waiting at least as good as without, and the oracle above both."""
    config = PartsConfig(past=False, smooth=True, ridges=(30.0,), worth_ridges=(300.0,), passes=8)
    found = waiting_value.measure(waiting_value.WORLDS["messages tire, days since known"], 600, 30, 1, config)
    assert found.rows > 10_000
    assert found.without <= found.waits < found.oracle
    assert found.without < found.spaced < found.oracle
