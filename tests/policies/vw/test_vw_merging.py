"""policies/vw/merging.py: models learnt on shards become one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import LearnError
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import EnsembleConfig, VwConfig
from policies.vw.learner import VwLearner
from policies.vw.merging import merged

GREEDY = ExplorationConfig(kind="greedy")
CONFIG = VwConfig(learning_rate=0.5)


def made(world, state=None, config=CONFIG) -> VwLearner:
    return VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), config, GREEDY, state)


@pytest.fixture(scope="module")
def shards(world):
    """Four shards of 600 rounds, learnt apart from one prepared state."""
    batches = [world.rounds(600, seed=100 + shard) for shard in range(4)]
    prepared = made(world).prepare(batches)
    learners = [made(world, prepared) for _ in batches]
    for learner, batch in zip(learners, batches, strict=True):
        learner.learn([batch])
    return batches, prepared, learners


def gain(world, learner):
    context = world.context(1500, seed=110)
    means = world.means(context)
    p = learner.policy().distribution(context, np.ones(means.shape, dtype=bool))
    return ((p * means).sum(axis=1).mean() - 0.5) / (means.max(axis=1).mean() - 0.5)


def test_preparing_learns_nothing(world, shards):
    batches, prepared, _ = shards
    rewards = np.concatenate([batch.rewards["y"] for batch in batches])
    assert (prepared.rounds, prepared.model) == (0, b"")
    assert prepared.centre == pytest.approx(rewards.mean())
    assert prepared.unit == pytest.approx(rewards.std(), rel=1e-2)
    with pytest.raises(LearnError, match="nothing has been learnt"):
        made(world, prepared).policy()


def test_one_shard_from_a_prepared_state_is_plain_learning(world, shards):
    """All shards, one after the other, from the prepared state: the same bytes as learning them at once."""
    batches, prepared, _ = shards
    plain, begun = made(world), made(world, prepared)
    plain.learn(batches)
    begun.learn(batches)
    np.testing.assert_array_equal(plain.tables().linear, begun.tables().linear)


def test_merged_is_about_as_good_as_all_in_one(world, shards):
    batches, prepared, learners = shards
    whole = made(world, prepared)
    whole.learn(batches)
    together = merged(learners)
    assert together.state.rounds == 2400
    assert together.state.eligible_sum == whole.state.eligible_sum
    best, one = gain(world, whole), max(gain(world, learner) for learner in learners)
    assert gain(world, together) > min(best, one) - 0.05
    scores = [learner.policy().scores(world.context(300, seed=111)).ravel() for learner in (whole, together)]
    assert np.corrcoef(scores)[0, 1] > 0.95


def test_merging_twins_changes_nothing(world, shards):
    _, _, learners = shards
    twins = merged([learners[0], learners[0]])
    np.testing.assert_allclose(twins.tables().linear, learners[0].tables().linear, atol=1e-5)


def test_the_order_of_shards_does_not_matter(world, shards):
    _, _, learners = shards
    one, other = merged(learners), merged(learners[::-1])
    np.testing.assert_allclose(one.tables().linear, other.tables().linear, atol=1e-5)


def test_a_merged_model_exports_and_learns_on(world, shards, tmp_path):
    _, _, learners = shards
    together = merged(learners)
    before = together.tables().linear
    assert together.export(tmp_path / "policy").parity < 1e-5
    together.learn([world.rounds(300, seed=112)])
    assert together.state.rounds == 2700
    assert not np.array_equal(before, together.tables().linear)
    assert gain(world, together) > 0.8


@pytest.mark.parametrize("config", [VwConfig(bit_precision=14), VwConfig(ensemble=EnsembleConfig(size=2))])
def test_what_vw_would_merge_to_nothing_is_refused(world, config):
    learners = []
    for seed in (1, 2):
        learners.append(made(world, config=config))
        learners[-1].learn([world.rounds(60, seed=seed)])
    with pytest.raises(LearnError, match="can be merged"):
        merged(learners)


def test_refusals(world, shards, tmp_path):
    _, _, learners = shards
    with pytest.raises(LearnError, match="at least two"):
        merged(learners[:1])
    apart = made(world)
    apart.learn([world.rounds(100, seed=113)])
    with pytest.raises(LearnError, match="differ"):
        merged([learners[0], apart])
    broken = made(world, replace(learners[1].state, model=b"no model"))
    with pytest.raises(LearnError, match="cannot merge"):
        merged([learners[0], broken])
    with pytest.raises(LearnError, match="cannot merge"):
        wall.merge([], tmp_path)
