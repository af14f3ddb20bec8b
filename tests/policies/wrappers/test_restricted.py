"""policies/wrappers/ablated.py and narrowed.py: one decision learnt, the others constant; fewer signals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ParameterError
from policies.exploring.action_values import ActionValues
from policies.exploring.config import ExplorationConfig
from policies.vw.learner import VwLearner
from policies.wrappers.ablated import (
    LEARNT,
    NarrowedPolicy,
    NarrowedRounds,
    RestrictedPolicy,
    narrowed,
    schema_of,
    send_preference,
)

GREEDY = ExplorationConfig(kind="greedy")


class Fixed:
    """Scores that are given."""

    def __init__(self, scores):
        self._scores = scores

    def scores(self, context):
        return self._scores[: context.n]


def policy_of(world, learnt, scores, means):
    """With a constant message by `means`."""
    weight = np.where(np.isfinite(means), 1.0, 0.0)[None, :]
    values = ActionValues(np.where(weight > 0, means, 0.0), weight, weight.astype(np.int64))
    return RestrictedPolicy(Fixed(scores), send_preference(values), world.catalog, GREEDY, 1, learnt, learnt)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_only_what_is_learnt_may_differ(world, seed):
    """The answer is eligible, leaves the constant message in one respect at most, and is the best of those."""
    rng = np.random.default_rng(seed)
    n, k = 12, world.catalog.k
    scores, means = rng.normal(size=(n, k)), rng.normal(size=k)
    means[rng.random(k) < 0.2] = np.nan
    eligible = rng.random((n, k)) < 0.5
    eligible[:, 0] = True
    context = world.context(n, seed)
    constant = policy_of(world, "none", scores, means).distribution(context, eligible).argmax(axis=1)
    sendable = eligible[:, 1:].any(axis=1)
    assert ((constant == 0) == ~sendable).all()
    places = np.stack(world.catalog.split(np.arange(k)))
    for learnt in LEARNT:
        chosen = policy_of(world, learnt, scores, means).distribution(context, eligible)
        assert (chosen.sum(axis=1) == 1).all()
        action = chosen.argmax(axis=1)
        rows = np.arange(n)
        assert eligible[rows, action].all()
        same = places[:, action] == places[:, constant]
        if learnt in ("channel", "hour", "content"):
            axis = ("channel", "hour", "content").index(learnt)
            assert np.delete(same, axis, axis=0).all()
            assert ((action == 0) == ~sendable).all()
        if learnt == "hold":
            assert ((action == constant) | (action == 0)).all()
        if learnt == "all":
            assert (action == np.where(eligible, scores, -np.inf).argmax(axis=1)).all()
        if learnt != "none":
            assert (scores[rows, action] >= scores[rows, constant]).all()


def test_the_constant_message_by_hand(world):
    """Action 7 has the best mean; where it may not be sent, action 3; hold only where nothing may."""
    k = world.catalog.k
    means = np.zeros(k)
    means[7], means[3], means[0] = 2.0, 1.0, 9.0
    eligible = np.ones((3, k), dtype=bool)
    eligible[1, 7] = False
    eligible[2, 1:] = False
    chosen = policy_of(world, "none", np.zeros((3, k)), means).distribution(world.context(3, 1), eligible)
    assert chosen.argmax(axis=1).tolist() == [7, 3, 0]


def test_fewer_signals(world):
    batch = world.rounds(300, seed=4)
    schema = schema_of(world.schema, ["noise", "value"])
    assert schema.names == ("value", "noise")
    learner = VwLearner(world.catalog, schema, "y", (0.0, 1.0), exploration=GREEDY)
    rounds = NarrowedRounds([batch], schema)
    learner.learn(rounds)
    assert [one.n for one in rounds] == [one.n for one in rounds] == [300]
    policy = NarrowedPolicy(learner.policy(), schema, "less")
    eligible = np.ones((300, world.catalog.k), dtype=bool)
    own = learner.policy().distribution(narrowed(batch.context, schema), eligible)
    np.testing.assert_array_equal(policy.distribution(batch.context, eligible), own)


def test_no_signal_at_all_decides_alike_for_everybody(world):
    """A context-free bandit: the same scores in every context."""
    schema = schema_of(world.schema, [])
    learner = VwLearner(world.catalog, schema, "y", (0.0, 1.0), exploration=GREEDY)
    learner.learn(NarrowedRounds([world.rounds(300, seed=4)], schema))
    scores = NarrowedPolicy(learner.policy(), schema, "none").scores(world.context(30, seed=5))
    assert np.ptp(scores, axis=0).max() == 0
    assert np.ptp(scores) > 0


def test_unknown_signals_are_refused(world):
    with pytest.raises(ParameterError):
        schema_of(world.schema, ["moon"])
