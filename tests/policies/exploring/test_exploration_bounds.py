"""policies/exploring/bounds.py: ceiling and floor of exploration by hand, as properties, and with numba and without."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.errors import ParameterError
from engine.sampling import check_distribution, draw
from experiments.settings import TrainConfig, compose_settings
from policies.exploring.bounds import bounded, check_bounds
from policies.exploring.config import ExplorationConfig

SCORES = np.array([[0.9, 0.5, 0.4, 0.3]])
EVERY = np.ones((1, 4), dtype=bool)


def test_ceiling_by_hand() -> None:
    """Off the greedy action 0.5: scaled to 0.1, a fifth of each; the greedy one gets 0.9."""
    given_ = np.array([[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, 0.1, 0.0), [[0.9, 0.06, 0.03, 0.01]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, 0.0, 0.0), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(bounded(given_, SCORES, EVERY, 0.5, 0.0), given_)


def test_floor_by_hand_and_after_the_ceiling() -> None:
    """Floor 0.1: 0.5 goes to two actions as 0.3 : 0.15. Ceiling 0.1, floor 0.03: a third would get a tenth of 0.1."""
    given_ = np.array([[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, None, 0.1), [[0.5, 1 / 3, 1 / 6, 0]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, 0.1, 0.03), [[0.9, 0.2 / 3, 0.1 / 3, 0]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, 0.1, 0.05), [[0.9, 0.1, 0, 0]])
    np.testing.assert_allclose(bounded(given_, SCORES, EVERY, 0.1, 0.2), [[1, 0, 0, 0]])
    assert bounded(given_, SCORES, EVERY, 0.5, 0.05).tobytes() == given_.tobytes()


def test_an_exploring_action_gets_no_more_than_a_greedy_one() -> None:
    """Two tie at 0.3, two explore with 0.28 and 0.12. Floor 0.2: one explores; not with 0.4, but with 0.3."""
    scores = np.array([[1.0, 0.5, 1.0, 0.4]])
    np.testing.assert_allclose(
        bounded(np.array([[0.3, 0.28, 0.3, 0.12]]), scores, EVERY, None, 0.2), [[0.35, 0.3, 0.35, 0]]
    )


def test_the_greedy_action_has_the_floor_too() -> None:
    """Four equal probabilities, floor 0.3: the exploring mass falls from 0.75 to 0.7, and 0.3 is left for each."""
    np.testing.assert_allclose(bounded(np.full((1, 4), 0.25), SCORES, EVERY, None, 0.3), [[0.4, 0.3, 0.3, 0]])


@pytest.mark.parametrize("kind", ["epsilon_greedy", "softmax", "squarecb"])
def test_577_actions_are_still_explored(kind) -> None:
    """Shipped limits: a tenth of the mass, on twenty of the best actions at most."""
    scores = np.random.default_rng(1).normal(0.05, 0.01, (50, 577))
    config = ExplorationConfig(kind=kind, epsilon=0.2, inverse_temperature=10.0, ceiling=0.1, floor=0.005)
    probabilities = config.distribution(scores, np.ones((50, 577), dtype=bool), 10_000)
    np.testing.assert_allclose(probabilities.max(axis=1), 0.9)
    drawn = (probabilities > 0).sum(axis=1) - 1
    assert ((drawn >= 15) & (drawn <= 20)).all()
    assert (np.where(probabilities > 0, scores, np.inf).min(axis=1) >= np.sort(scores, axis=1)[:, -21]).all()


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
    check_distribution(probabilities, eligible, "bounded")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    best = np.where(eligible, scores, -np.inf)
    greedy = best == best.max(axis=1, keepdims=True)
    exploring = np.where(greedy, 0, probabilities)
    if config.ceiling is not None:
        assert (exploring.sum(axis=1) <= config.ceiling + 1e-9).all()
    positive = probabilities[probabilities > 0]
    assert (positive >= config.floor - 1e-9).all()
    _, propensity = draw(probabilities, np.linspace(0, 0.999, 5))
    assert (propensity >= config.floor - 1e-9).all()
    for row in range(5):
        others = np.flatnonzero(eligible[row] & ~greedy[row])
        # The better score first, among equals the lower index: probabilities must fall along this order.
        order = others[np.lexsort((others, -scores[row, others]))]
        assert (np.diff(probabilities[row, order]) <= 1e-12).all()
        drawn = probabilities[row, greedy[row] & (probabilities[row] > 0)]
        assert exploring[row].max() <= drawn.min() + 1e-12


@given(arrays(np.float64, (5, 9), elements=st.floats(-2, 2)), arrays(np.bool_, (5, 8)), CONFIGS, st.integers(1, 10**6))
def test_limits_that_do_not_bind_change_nothing(scores, sends, config, rounds) -> None:
    eligible = np.concatenate([np.ones((5, 1), dtype=bool), sends], axis=1)
    free = msgspec.structs.replace(config, ceiling=None, floor=0.0).distribution(scores, eligible, rounds)
    probabilities = config.distribution(scores, eligible, rounds)
    best = np.where(eligible, scores, -np.inf)
    exploring = np.where(best == best.max(axis=1, keepdims=True), 0, free).sum(axis=1)
    inside = (exploring <= (1.0 if config.ceiling is None else config.ceiling) - 1e-12) & (
        np.where(free > 0, free, 1).min(axis=1) >= config.floor
    )
    assert probabilities[inside].tobytes() == free[inside].tobytes()


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.3), st.none() | st.floats(0.01, 1.0), st.integers(2, 60))
def test_equal_to_trying_every_number_of_actions(seed, floor, ceiling, k) -> None:
    """The definition, tried out number by number on one row."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 30, (1, k)) / 10.0
    config = ExplorationConfig(kind="softmax", inverse_temperature=rng.uniform(0, 3), ceiling=ceiling, floor=floor)
    free = msgspec.structs.replace(config, ceiling=None, floor=0.0).distribution(scores, np.ones((1, k), bool), 1)[0]
    order = np.lexsort((np.arange(k), -scores[0]))
    ties = int((scores == scores.max()).sum())
    mass = min(free[order[ties:]].sum(), 1.0 if ceiling is None else ceiling, 1.0 - floor)
    cut = floor * (1 - 1e-9)
    tied = max(t for t in range(1, ties + 1) if (1 - mass) / t >= cut)
    expected, share = np.zeros(k), (1 - mass) / tied
    for m in range(k - ties, 0, -1):
        some = order[ties : ties + m]
        shares = free[some] * min(mass / free[some].sum(), share / free[some].max())
        if shares.min() >= cut:
            expected[some] = shares
            break
    expected[order[:tied]] = (1 - expected.sum()) / tied
    np.testing.assert_allclose(config.distribution(scores, np.ones((1, k), bool), 1)[0], expected, atol=1e-12)


def test_a_broken_limit_raises() -> None:
    """The checks are shipped code: they hold under `python -O` too."""
    with pytest.raises(ParameterError, match="exploring share"):
        check_bounds(np.array([0.0, 0.2]), np.ones(2), 0.1, 0.0)
    with pytest.raises(ParameterError, match="propensity"):
        check_bounds(np.zeros(2), np.array([1.0, 0.004]), None, 0.005)
    with pytest.raises(ParameterError, match="mass on a greedy action"):
        bounded(np.array([[0.0, 1.0, 0.0, 0.0]]), SCORES, EVERY, 0.1, 0.0)


@pytest.mark.parametrize(
    "bad", [{"ceiling": 1.1}, {"ceiling": -0.1}, {"floor": 0.6}, {"floor": -0.1}, {"floor": float("nan")}]
)
def test_bad_limits(bad) -> None:
    with pytest.raises(ParameterError, match=next(iter(bad))):
        ExplorationConfig(**bad)


@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax", "squarecb"])
def test_every_shipped_exploration_is_limited(kind) -> None:
    exploration = compose_settings("train", [f"exploration={kind}"], TrainConfig).exploration
    assert (exploration.kind, exploration.ceiling, exploration.floor) == (kind, 0.1, 0.005)
