"""policies/linear/ridge.py, linucb.py, linear_thompson.py and best_of_normals.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from engine.errors import LearnError, ParameterError
from engine.sampling import check_distribution
from policies.check import check_policy
from policies.exploring.best_of_normals import chance_of_best
from policies.linear.bandits import LinearThompson, LinearThompsonLearner, LinUcb, LinUcbLearner
from policies.linear.ridge import LinearSums

RANGE = (0.0, 1.0)


def all_of(*shape):
    return np.ones(shape, dtype=bool)


def test_two_normals_by_hand():
    """P(X > Y) = Phi((1 - 0.5) / sqrt(0.3^2 + 0.4^2)) = Phi(1)."""
    chance = chance_of_best(np.array([[1.0, 0.5]]), np.array([[0.3, 0.4]]), all_of(1, 2))
    np.testing.assert_allclose(chance, [[norm.cdf(1.0), norm.sf(1.0)]], atol=5e-4)


def test_certain_values():
    """Without deviations the best wins, ties share; one certain value against N(0, 1) at 1: Phi(1)."""
    zeros = np.zeros((1, 3))
    np.testing.assert_array_equal(chance_of_best(np.array([[1.0, 2.0, 2.0]]), zeros, all_of(1, 3)), [[0, 0.5, 0.5]])
    may = np.array([[True, False, True]])
    np.testing.assert_array_equal(chance_of_best(np.array([[1.0, 2.0, 0.0]]), zeros, may), [[1, 0, 0]])
    chance = chance_of_best(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), all_of(1, 2))
    np.testing.assert_allclose(chance, [[norm.cdf(1.0), norm.sf(1.0)]], atol=2e-3)


@pytest.mark.parametrize(("k", "spread", "seed"), [(3, 1.0, 1), (20, 0.3, 2), (60, 0.05, 3), (10, 3.0, 4)])
def test_against_monte_carlo(k, spread, seed):
    """A million seeded draws; their error is below 0.0015 at three standard errors."""
    rng = np.random.default_rng(seed)
    mean, deviation = rng.normal(size=(1, k)) * spread, rng.uniform(0.02, 1.0, size=(1, k))
    draws = 1_000_000
    won = np.zeros(k)
    for _ in range(10):
        best = (mean + deviation * rng.normal(size=(draws // 10, k))).argmax(axis=1)
        won += np.bincount(best, minlength=k)
    chance = chance_of_best(mean, deviation, all_of(1, k))
    np.testing.assert_allclose(chance[0], won / draws, atol=3.5e-3)
    assert np.abs(chance[0] - won / draws).mean() < 1e-3


def dense(mean, deviation):
    """The same chances by 20,001 even points over everything."""
    points = np.linspace((mean - 8 * deviation).max(), (mean + 8 * deviation).max(), 20_001)
    standard = (points - mean[:, None]) / deviation[:, None]
    others = norm.logcdf(standard)
    chance = np.exp(norm.logpdf(standard) + others.sum(axis=0) - others).sum(axis=1) / deviation
    return chance / chance.sum()


@pytest.mark.parametrize(
    ("k", "spread", "widest", "allowed"),
    [(2, 0.5, 1.0, 2e-4), (12, 0.1, 2.0, 2e-4), (60, 0.3, 4.0, 2e-4), (12, 0.3, 40.0, 2e-3), (60, 0.05, 40.0, 2e-3)],
)
def test_against_a_dense_integral(k, spread, widest, allowed):
    """Widths within a factor of four take the smooth rule, wider ones the other."""
    rng = np.random.default_rng(k)
    for _ in range(3):
        mean, deviation = rng.normal(size=k) * spread, 0.05 * widest ** rng.random(k)
        found = chance_of_best(mean[None], deviation[None], all_of(1, k))[0]
        np.testing.assert_allclose(found, dense(mean, deviation), atol=allowed)


@given(
    arrays(np.float64, (3, 5), elements=st.floats(-10, 10)),
    arrays(np.float64, (3, 5), elements=st.floats(0, 5)),
    arrays(np.bool_, (3, 4)),
)
def test_chances_are_distributions(mean, deviation, sends):
    eligible = np.concatenate([np.ones((3, 1), dtype=bool), sends], axis=1)
    check_distribution(chance_of_best(mean, deviation, eligible), eligible, "test")


@pytest.mark.parametrize("deviation", [5e-324, 1.1e-308, 1e-200, 1e-150, 1e-140, 1e-30])
def test_the_narrowest_variables_share_evenly(deviation):
    """Smaller than what can be divided by: no deviation at all."""
    widths = np.array([[deviation] * 4, [0.0, *[deviation] * 3]])
    chance = chance_of_best(np.zeros((2, 4)), widths, all_of(2, 4))
    np.testing.assert_allclose(chance[0], 0.25, atol=1e-9)
    check_distribution(chance, all_of(2, 4), "test")


@given(st.floats(-3, 3), st.floats(0.01, 2), st.integers(2, 6))
def test_equal_variables_share_evenly(mean, deviation, k):
    chance = chance_of_best(np.full((1, k), mean), np.full((1, k), deviation), all_of(1, k))
    np.testing.assert_allclose(chance, 1.0 / k, atol=1e-9)


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        ([[1.0, np.nan]], [[1.0, 1.0]]),
        ([[1.0, 0.0]], [[1.0, -1.0]]),
        ([[1.0, 0.0]], [[1.0, np.inf]]),
        ([[1.0]], [[1, 1]]),
    ],
)
def test_bad_normals(mean, deviation):
    with pytest.raises(ParameterError):
        chance_of_best(np.array(mean), np.array(deviation, dtype=float), all_of(*np.shape(mean)))


def test_posterior_is_ridge_regression(world):
    """Against the textbook: w = centre e_1 + inv(I + X'X) X'(r - centre), variance x' inv(I + X'X) x."""
    batch = world.rounds(400, seed=61)
    sums = LinearSums(world.catalog, world.schema, "y", RANGE, ridge=2.0)
    sums.add([batch.take(slice(0, 150)), batch.take(slice(150, 400))])
    posterior = sums.posterior()
    context = world.context(15, seed=62)
    mean, deviation = posterior.predict(context)
    x, new = (
        np.concatenate([posterior.encoder.encode(one), np.ones((one.n, 1))], axis=1) for one in (batch.context, context)
    )
    centre = batch.rewards["y"].mean()
    for action in (0, 3, 18):
        rows = batch.action == action
        inverse = np.linalg.inv(2.0 * np.eye(x.shape[1]) + x[rows].T @ x[rows])
        weights = inverse @ x[rows].T @ (batch.rewards["y"][rows] - centre)
        np.testing.assert_allclose(mean[:, action], centre + new @ weights, atol=1e-7)
        np.testing.assert_allclose(deviation[:, action] ** 2, ((new @ inverse) * new).sum(axis=1), atol=1e-7)
    assert posterior.rounds == 400


def test_learning_in_pieces_is_learning_at_once(world):
    """Encoder and centre come from the first piece; both are given the same one here."""
    first, second = world.rounds(200, seed=63), world.rounds(200, seed=64)
    twice, once = (LinearSums(world.catalog, world.schema, "y", RANGE) for _ in range(2))
    twice.add([first])
    middle = twice.posterior()
    twice.add([second])
    once.add([first])
    once.add([second])
    np.testing.assert_array_equal(twice.posterior().weights, once.posterior().weights)
    assert not np.array_equal(middle.weights, once.posterior().weights)


def test_linucb_by_hand(world):
    """Alpha 0 is greedy; a huge alpha takes what is least known."""
    sums = LinearSums(world.catalog, world.schema, "y", RANGE)
    batch = world.rounds(500, seed=65)
    sums.add([batch.take(batch.action != 7)])
    posterior, context, every = sums.posterior(), world.context(30, seed=66), all_of(30, world.catalog.k)
    mean, deviation = posterior.predict(context)
    greedy = LinUcb(posterior, 0.0).distribution(context, every)
    np.testing.assert_array_equal(greedy.argmax(axis=1), mean.argmax(axis=1))
    bold = LinUcb(posterior, 1e6).distribution(context, every)
    np.testing.assert_array_equal(bold.argmax(axis=1), deviation.argmax(axis=1))
    assert (bold.argmax(axis=1) == 7).all()


def test_thompson_is_the_chance_of_its_own_draws(world):
    sums = LinearSums(world.catalog, world.schema, "y", RANGE)
    sums.add([world.rounds(800, seed=67)])
    posterior, context = sums.posterior(), world.context(2, seed=68)
    every = all_of(2, world.catalog.k)
    chance = LinearThompson(posterior, 0.3).distribution(context, every)
    mean, deviation = posterior.predict(context)
    rng = np.random.default_rng(69)
    draws = mean + 0.3 * deviation * rng.normal(size=(200_000, *mean.shape))
    for row in range(2):
        won = np.bincount(draws[:, row].argmax(axis=1), minlength=world.catalog.k) / 200_000
        np.testing.assert_allclose(chance[row], won, atol=5e-3)
    greedy = LinearThompson(posterior, 0.0).distribution(context, every)
    np.testing.assert_array_equal(greedy.argmax(axis=1), mean.argmax(axis=1))


@pytest.mark.parametrize("learner", [LinUcbLearner, LinearThompsonLearner])
@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 1, 2)])
def test_conformance_and_learning(make_world, learner, shape):
    world = make_world(*shape)
    made = learner(world.catalog, world.schema, "y", RANGE)
    made.learn([world.rounds(1500, seed=70)])
    policy = made.policy()
    check_policy(policy, world.catalog, world.schema)
    context = world.context(300, seed=71)
    means = world.means(context)
    value = (policy.distribution(context, all_of(*means.shape)) * means).sum(axis=1).mean()
    assert (value - 0.5) / (means.max(axis=1).mean() - 0.5) > 0.7


@pytest.mark.parametrize("learner", [LinUcbLearner, LinearThompsonLearner])
def test_refusals(world, learner):
    made = learner(world.catalog, world.schema, "y", RANGE)
    with pytest.raises(LearnError, match="nothing has been learnt"):
        made.policy()
    batch = world.rounds(50, seed=72)
    bad = batch.rewards["y"].copy()
    bad[3] = 7.0
    for rounds in ([replace(batch, rewards={"y": bad})], [], [replace(batch, usable=np.zeros(50, dtype=bool))]):
        with pytest.raises(LearnError):
            made.learn(rounds)
    with pytest.raises(LearnError, match="nothing has been learnt"):
        made.policy()


def test_bad_parameters(world):
    sums = LinearSums(world.catalog, world.schema, "y", RANGE)
    sums.add([world.rounds(50, seed=73)])
    posterior = sums.posterior()
    for call, name in (
        (lambda: LinUcb(posterior, -1.0), "alpha"),
        (lambda: LinearThompson(posterior, np.nan), "v"),
        (lambda: LinearSums(world.catalog, world.schema, "y", RANGE, ridge=0.0), "ridge"),
    ):
        with pytest.raises(ParameterError, match=name):
            call()
