"""policies/parts/frequency: messages wait where that pays, and only there; what is taken is served and explained."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.errors import ParameterError
from engine.features import MISSING, Column
from engine.types import HOLD
from experiments.study import stage_worlds
from experiments.study.fatigue_worlds import COUNT, LEFT, SINCE, FatigueWorld, every
from experiments.study.stage_worlds import MONEY
from policies.explain import WAITING, compare
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.frequency.choice import Subject, frequency
from policies.parts.frequency.waiting import NO_WAITING
from policies.parts.learner import PartsLearner
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig

QUICK = PartsConfig(past=False, smooth=True, ridges=(30.0,), worth_ridges=(300.0,), passes=8, choice_rows=40_000)


def learner(world: FatigueWorld, batches, config: PartsConfig = QUICK) -> PartsLearner:
    """Learnt, greedy."""
    made = PartsLearner(
        stage_worlds.catalog(),
        world.schema(),
        MONEY,
        stage_worlds.reward_range(),
        VwConfig(parts=config),
        ExplorationConfig(kind="greedy"),
    )
    made.learn(batches)
    return made


TIRED = FatigueWorld(features=(SINCE, COUNT))
RESTED = FatigueWorld(depth=0.0, pressing=0.0)


@pytest.fixture(scope="module")
def log():
    return TIRED.log(700, 35, seed=3)


@pytest.fixture(scope="module")
def tired(log) -> PartsLearner:
    return learner(TIRED, log)


def value(world: FatigueWorld, policy, spacing: int = 1) -> float:
    return world.value(policy, 600, 60, 9, every(spacing))[0]


def test_where_messages_tire_they_wait(tired):
    """At least nine tenths of the way from no waiting to the best fixed spacing, by the world's truth."""
    policy = tired.policy()
    assert tired.state.tables.waiting is not None
    none = replace(policy, tables=replace(policy.tables, waiting=None))
    spaced = max(value(TIRED, none, days) for days in (2, 3, 4, 5))
    before, after = value(TIRED, none), value(TIRED, policy)
    assert spaced > 1.2 * before
    assert after - before >= 0.9 * (spaced - before)


def test_what_was_tried_is_told(tired):
    found = tired.state.frequency
    assert (found["feature"], found["gap_days"]) == (SINCE, 1.0)
    assert found["low"] < found["advantage"] < found["high"]
    tried = {row["rule"]: row for row in found["tried"]}
    assert tried[NO_WAITING.name]["advantage"] == 0.0
    assert {f"at most every {days} days" for days in range(2, 15)} < set(tried)
    assert all(row["low"] <= row["advantage"] <= row["high"] for row in tried.values())
    assert found["chosen"] in tired.state.said[-1]
    assert SINCE in tired.state.said[-1]


@pytest.mark.slow
def test_where_nothing_tires_nothing_waits():
    """The parts are as they would be without looking; also where a message does nothing at all."""
    for world in (RESTED, replace(RESTED, stage=stage_worlds.StageWorld(strength=0.0))):
        made = learner(world, world.log(500, 30, seed=5))
        assert made.state.tables.waiting is None
        assert made.state.frequency["chosen"] == NO_WAITING.name
        assert "nothing waits" in made.state.said[-1]


def subject(tired: PartsLearner, batches) -> Subject:
    fitted = tired.state.fitted["chance"]
    return Subject(batches, fitted.terms, replace(tired.state.tables, waiting=None), "clicked", MONEY)


def test_batches_play_no_part(tired, log):
    """The same rows in batches of 100 give the same rule and the same figures."""
    cut = [batch.take(slice(start, start + 100)) for batch in log for start in range(0, batch.n, 100)]
    first, second = (frequency(subject(tired, rows), QUICK) for rows in (log, cut))
    assert first == second
    assert first.waiting is not None


def test_a_policy_that_waits_scores_alike_in_any_batch(tired, log):
    policy, context = tired.policy(), log[12].context
    whole = policy.scores(context)
    parts = np.concatenate([policy.scores(context.take(slice(i, i + 7))) for i in range(0, context.n, 7)])
    np.testing.assert_array_equal(whole, parts)


def test_a_named_feature_is_read_and_none_switches_off(tired, log):
    counted = frequency(subject(tired, log), replace_config(recency=COUNT))
    assert counted.waiting is not None
    assert counted.waiting.feature == COUNT
    assert counted.summary["window_days"] == 7.0
    assert frequency(subject(tired, log), replace_config(recency="")).summary == {}
    # A feature that says something else is not trusted, and what is lacking is said.
    other = frequency(subject(tired, log), replace_config(recency="age"))
    assert other.waiting is None
    assert "days_since_last_send" in other.said[0]


def replace_config(**changes) -> PartsConfig:
    return msgspec.structs.replace(QUICK, **changes)


def test_an_unknown_feature_is_an_error():
    with pytest.raises(ParameterError, match=r"recency.*did you mean 'days_since_last_send'"):
        learner(TIRED, [], replace_config(recency="days_since_last_sent"))


def test_a_log_without_variation_says_what_to_add(tired):
    daily = TIRED.log(500, 30, seed=6, hold=lambda _: 0.01)
    found = frequency(subject(tired, daily), QUICK)
    assert found.waiting is None
    assert "no variation in frequency" in found.said[0]
    assert "every 2 days" in found.said[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda batch: replace(batch, decided_at=np.full(batch.n, np.iinfo(np.int64).min)), "when it decided"),
        (
            lambda batch: replace(batch, cluster=np.arange(batch.n, dtype=np.uint64) + np.uint64(batch.chunk * 5000)),
            "two decisions",
        ),
        (lambda batch: replace(batch, action=np.where(np.arange(batch.n) < 2, batch.action, HOLD)), "fewer than"),
    ],
)
def test_logs_that_say_nothing_are_told(tired, log, change, said):
    found = frequency(subject(tired, [change(batch) for batch in log]), QUICK)
    assert found.waiting is None
    assert said in found.said[0]


def test_a_folder_keeps_the_rule(tired, log, tmp_path):
    tired.export(tmp_path / "policy")
    trained = TrainedFolder(tmp_path / "policy")
    kept = trained.policy()
    context = log[9].context
    np.testing.assert_array_equal(kept.scores(context), tired.policy().scores(context))
    assert kept.tables.waiting == tired.state.tables.waiting
    assert trained.manifest.parts["frequency"]["chosen"] == tired.state.frequency["chosen"]


def test_the_charge_is_explained_and_missing_history_is_not_charged(tired, log):
    policy = tired.policy()
    batch = log[20]
    since = batch.context.columns[SINCE]
    lately = np.flatnonzero((since.values == 1.0) & (since.state == 0))
    # What waits is a share of the gain: so it is looked for where a message would bring most, were there no waiting.
    gain = replace(policy, tables=replace(policy.tables, waiting=None)).scores(batch.context)[lately, 1:]
    row = batch.context.take(lately[[int(gain.max(axis=1).argmax())]])
    action = int(gain[gain.max(axis=1).argmax()].argmax()) + 1
    found = compare(policy, row, action, HOLD)
    charged = {part.feature: part.value for part in found.parts if part.factor == WAITING}
    assert charged[SINCE] < 0.0
    assert sum(part.value for part in found.parts) == pytest.approx(found.difference, abs=1e-9)
    never = replace(row, columns={**row.columns, SINCE: Column(np.zeros(1), np.array([MISSING], np.uint8), ())})
    assert not [part for part in compare(policy, never, action, HOLD).parts if part.factor == WAITING]
    # A price on top is a price on the gain: what waits is still a share of it.
    cheaper = replace(policy, tables=policy.tables.less(np.full((3, 3), 0.001)))
    assert (cheaper.scores(row)[0, 1:] <= policy.scores(row)[0, 1:] + 0.0021).all()
    assert LEFT in dict.fromkeys(loss.name for loss in policy.tables.losses)
