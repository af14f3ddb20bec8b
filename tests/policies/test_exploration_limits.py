"""policies/limits.py: ceiling and floor of exploration by hand, as properties, and with numba and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.errors import ParameterError
from engine.sampling import check_distribution, draw
from experiments.settings import TrainConfig, compose_settings
from policies.exploration_config import ExplorationConfig
from policies.limits import check_limits, limited

SCORES = np.array([[0.9, 0.5, 0.4, 0.3]])
EVERY = np.ones((1, 4), dtype=bool)


def test_ceiling_by_hand() -> None:
    """Off the greedy action 0.5: scaled to 0.1, a fifth of each; the greedy one gets 0.9."""
    given_ = np.array([[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(limited(given_, SCORES, EVERY, 0.1, 0.0), [[0.9, 0.06, 0.03, 0.01]])
    np.testing.assert_allclose(limited(given_, SCORES, EVERY, 0.0, 0.0), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(limited(given_, SCORES, EVERY, 0.5, 0.0), given_)


def test_floor_by_hand_and_after_the_ceiling() -> None:
    """0.05 lies under 0.1 and goes to the greedy action; after a ceiling of 0.1 only 0.06 reaches a floor of 0.05."""
    given_ = np.array([[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(limited(given_, SCORES, EVERY, None, 0.1), [[0.55, 0.3, 0.15, 0]])
    np.testing.assert_allclose(limited(given_, SCORES, EVERY, 0.1, 0.05), [[0.94, 0.06, 0, 0]])


def test_a_probability_that_equals_the_floor_is_kept() -> None:
    """0.1 over 20 actions is 0.005 up to rounding."""
    scores = np.array([[1.0] + [0.0] * 20])
    config = ExplorationConfig(kind="epsilon_greedy", epsilon=0.6, ceiling=0.1, floor=0.005)
    np.testing.assert_allclose(config.distribution(scores, np.ones((1, 21), dtype=bool), 1)[0, 1:], 0.005)


def test_many_ties_cannot_all_have_the_floor() -> None:
    """577 equal scores, floor 0.005: the first 200 share the row; ineligible ones are passed over."""
    eligible = np.ones((1, 577), dtype=bool)
    eligible[0, 1:11] = False
    shared = ExplorationConfig(kind="greedy", floor=0.005).distribution(np.zeros((1, 577)), eligible, 1)[0]
    assert (shared > 0).sum() == 200
    assert shared[210] == 0
    np.testing.assert_allclose(shared[shared > 0], 0.005)
    assert not shared[1:11].any()


CONFIGS = st.builds(
    ExplorationConfig,
    kind=st.sampled_from(["greedy", "epsilon_greedy", "softmax", "squarecb"]),
    epsilon=st.floats(0, 1),
    inverse_temperature=st.floats(0, 50),
    gamma_scale=st.floats(0, 50),
    ceiling=st.none() | st.floats(0, 1),
    floor=st.just(0.0) | st.floats(0.001, 0.5),
)


@given(
    arrays(np.float64, (5, 9), elements=st.sampled_from([0.0, 0.1, 0.1, 0.5, -3.0, 1e5])),
    arrays(np.bool_, (5, 8)),
    CONFIGS,
    st.integers(1, 10**6),
)
def test_limits_hold_on_every_row(scores, sends, config, rounds) -> None:
    eligible = np.concatenate([np.ones((5, 1), dtype=bool), sends], axis=1)
    probabilities = config.distribution(scores, eligible, rounds)
    check_distribution(probabilities, eligible, "limited")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    best = np.where(eligible, scores, -np.inf)
    greedy = best == best.max(axis=1, keepdims=True)
    if config.ceiling is not None:
        assert (np.where(greedy, 0, probabilities).sum(axis=1) <= config.ceiling + 1e-9).all()
    positive = probabilities[probabilities > 0]
    assert (positive >= config.floor - 1e-9).all()
    _, propensity = draw(probabilities, np.linspace(0, 0.999, 5))
    assert (propensity >= config.floor - 1e-9).all()


def test_a_broken_limit_raises() -> None:
    """The checks are shipped code: they hold under `python -O` too."""
    with pytest.raises(ParameterError, match="exploring share"):
        check_limits(np.array([0.0, 0.2]), np.ones(2), 0.1, 0.0)
    with pytest.raises(ParameterError, match="propensity"):
        check_limits(np.zeros(2), np.array([1.0, 0.004]), None, 0.005)
    with pytest.raises(ParameterError, match="mass on a greedy action"):
        limited(np.array([[0.0, 1.0, 0.0, 0.0]]), SCORES, EVERY, 0.1, 0.0)


@pytest.mark.parametrize("bad", [{"ceiling": 1.1}, {"ceiling": -0.1}, {"floor": 0.6}, {"floor": float("nan")}])
def test_bad_limits(bad) -> None:
    with pytest.raises(ParameterError, match=next(iter(bad))):
        ExplorationConfig(**bad)


@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax", "squarecb"])
def test_every_shipped_exploration_is_limited(kind) -> None:
    exploration = compose_settings("train", [f"exploration={kind}"], TrainConfig).exploration
    assert (exploration.kind, exploration.ceiling, exploration.floor) == (kind, 0.1, 0.005)
