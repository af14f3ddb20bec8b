"""A small seeded version of the study of estimators on simulated logs."""

from __future__ import annotations

import numpy as np
import pytest

from engine.types import HOLD
from experiments.study.simulated_ope import ESTIMATORS, Study, replicate, report, shipped_study, summarise
from experiments.study.simulated_rounds import EXPECTED, GAIN, REWARD, decided_step
from simulator.world.world import World


@pytest.fixture(scope="module")
def study() -> Study:
    return shipped_study()


def test_a_log_says_with_what_probability_it_chose(study: Study) -> None:
    """The logged propensity is the policy's own probability, and nothing outside of the eligible set is chosen."""
    blocks = study.log(3, 300, 2)
    for block in blocks:
        eligible = block.eligible_dense()
        chosen = study.logging.distribution(block.context, eligible)[np.arange(block.n), block.action]
        np.testing.assert_allclose(block.propensity, chosen, rtol=1e-12)
        assert eligible[np.arange(block.n), block.action].all()
    assert len(np.unique(np.concatenate([block.action for block in blocks]))) > 20
    assert set(blocks[0].cluster.tolist()) <= set(np.concatenate([block.cluster for block in blocks]).tolist())


def test_logs_of_different_seeds_are_of_different_people(study: Study) -> None:
    one, other = study.log(1, 200, 1)[0], study.log(2, 200, 1)[0]
    assert one.n != other.n or (one.rewards[EXPECTED] != other.rewards[EXPECTED]).any()
    again = study.log(1, 200, 1)[0]
    assert (one.action == again.action).all()
    assert (one.rewards[REWARD] == again.rewards[REWARD]).all()


def test_the_three_rewards_of_a_decision(study: Study) -> None:
    """The gain of a hold is nothing; expected and drawn rewards are about the same thing."""
    world = World(study.scenario, 4000, 9, guardrails=study.guardrails)
    rounds = decided_step(world, study.plan(9)).rounds
    held = rounds.action == HOLD
    assert (rounds.rewards[GAIN][held] == 0.0).all()
    assert (rounds.rewards[GAIN][~held] != 0.0).all()
    off = rounds.rewards[REWARD] - rounds.rewards[EXPECTED]
    assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(len(off))


@pytest.mark.slow
def test_estimates_agree_with_the_truth_in_a_small_study(study: Study) -> None:
    """12 logs: the mean estimate within 4 of its errors; an interval of 93 % covers 8 or more with P > 0.999."""
    truth = study.truth(40_000, 2)
    found = [replicate(study, seed, 2500, 2) for seed in range(12)]
    results = summarise(found, truth)
    assert [one.estimator for one in results] == list(ESTIMATORS)
    for one in results:
        assert abs(one.bias) < 4.0 * one.bias_error, one
        assert one.covered >= 8 / 12, one
        assert 0.5 < one.stderr / one.spread < 2.0, one
    assert truth[0] > 2.0 * truth[1]
    text = report(results, truth, study.worth_of_log(1000, 2))
    assert text.count("\n| ") == 1 + len(ESTIMATORS)
