"""State-marginalised importance sampling: by hand, and beside per-decision weights over a long horizon."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.ope.sequences.importance import marginal_weights, marginalised_is, per_decision_is, weighted_per_decision_is
from engine.ope.sequences.trajectories import Trajectories

TWO = Trajectories(np.array([[2.0, 0.5], [0.5, 2.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("state", "ratio", "value"),
    [
        # 2 and 0.5 over their mean 1.25: 1.6 and 0.4; (2 + 0.5 * 1.6 * 0.5 * 2 + 1.5 + 0.5 * 0.4 * 2 * 4) / 2.
        ([[0, 0], [0, 1]], [1.6, 0.4], 2.95),
        # Both come to the same state: (2 + 0.5 * 0.5 * 2 + 1.5 + 0.5 * 2 * 4) / 2.
        ([[0, 3], [0, 3]], [1.0, 1.0], 4.0),
    ],
    ids=["apart", "together"],
)
def test_by_hand(state, ratio, value) -> None:
    state = np.array(state)
    assert marginal_weights(TWO, state)[:, 1] == pytest.approx(ratio)
    assert marginalised_is(TWO, state, 0.5).value == pytest.approx(value)


def test_one_state_or_one_step_needs_the_last_weight_alone() -> None:
    rng = np.random.default_rng(0)
    trajectories = Trajectories(rng.lognormal(size=(40, 3)), rng.random((40, 3)))
    alone = marginalised_is(trajectories, np.zeros((40, 3), dtype=int))
    assert alone.value == pytest.approx((trajectories.weight * trajectories.reward).sum(axis=1).mean())
    first = Trajectories(trajectories.weight[:, :1], trajectories.reward[:, :1])
    found, plain = marginalised_is(first, np.zeros((40, 1), dtype=int)), per_decision_is(first)
    assert found.value == pytest.approx(plain.value)
    assert found.stderr == pytest.approx(plain.stderr, rel=0.35)  # 20 groups estimate a variance to about a third


def drawn(n, horizon, rng):
    """Tired or fresh; sending tires (0.8), silence refreshes (0.8); the log sends with 0.5, the target to the fresh."""
    target = np.array([[0.1, 0.9], [0.9, 0.1]])
    tired, columns = np.zeros(n, dtype=int), []
    for _ in range(horizon):
        action = rng.integers(2, size=n)
        reward = action * (1 - tired) + 0.3 * rng.normal(size=n)
        columns.append((tired, target[tired, action] / 0.5, reward))
        tired = (rng.random(n) < np.where(action == 1, 0.8, 0.2)).astype(int)
    state, weight, reward = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return Trajectories(weight, reward), state


def truth(horizon) -> float:
    fresh, total = 1.0, 0.0
    for _ in range(horizon):
        total += 0.9 * fresh
        sends = 0.9 * fresh + 0.1 * (1 - fresh)
        fresh = 0.2 * sends + 0.8 * (1 - sends)
    return total


def test_over_a_long_horizon_it_beats_products_of_weights() -> None:
    """15 steps, 200 logs of 300: half of the squared error of weighted per-decision IS at most, and an honest error."""
    rng, horizon = np.random.default_rng(1), 15
    marginal, product, stderr = [], [], []
    for _ in range(200):
        trajectories, state = drawn(300, horizon, rng)
        found = marginalised_is(trajectories, state)
        marginal.append(found.value - truth(horizon))
        stderr.append(found.stderr)
        product.append(weighted_per_decision_is(trajectories).value - truth(horizon))
    assert np.mean(np.square(marginal)) < 0.5 * np.mean(np.square(product))
    assert abs(np.mean(marginal)) < 0.3 * np.std(marginal)
    assert np.mean(stderr) == pytest.approx(np.std(marginal), rel=0.2)


def test_arguments_are_checked() -> None:
    for state in (np.zeros((2, 3), dtype=int), np.full((2, 2), -1)):
        with pytest.raises(ParameterError, match="state"):
            marginalised_is(TWO, state)
    with pytest.raises(ParameterError, match="gamma"):
        marginalised_is(TWO, np.zeros((2, 2), dtype=int), 1.5)
    assert math.isnan(marginalised_is(TWO.take(slice(0, 1)), np.zeros((1, 2), dtype=int)).stderr)


def test_a_target_that_the_log_cannot_follow_has_no_weight_left() -> None:
    """No trajectory did what the target does at the first step: what follows weighs nothing, no division by 0."""
    none = Trajectories(np.array([[0.0, 1.0], [0.0, 2.0]]), np.ones((2, 2)))
    assert marginalised_is(none, np.zeros((2, 2), dtype=int)).value == 0.0
