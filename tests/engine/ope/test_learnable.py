"""Whether arms can be learnt: against a brute-force simulation, on arms that are alike, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ope.learnable import Cells, believed, cells_of, cells_of_rates, learning, to_drop


def rates(mean: float = 0.1, arms: int = 4, spread: float = 0.02) -> Cells:
    return cells_of_rates(mean, float(np.sqrt(mean * (1 - mean))), arms, spread)


def test_the_share_of_the_gain_is_that_of_real_draws() -> None:
    """Binomial answers of arms with known rates, the best mean taken: no normal approximation, no shrinking."""
    generator = np.random.default_rng(5)
    won = possible = 0.0
    for _ in range(3000):
        truth = np.clip(0.1 + 0.02 * generator.standard_normal(4), 0.001, 1)
        seen = generator.binomial(1000, truth) / 1000
        won += truth[seen.argmax()] - truth.mean()
        possible += truth.max() - truth.mean()
    found = learning(rates(), exploration=1.0, per_week=4000, weeks=(0, 1))
    assert found.shares[0] == pytest.approx(0.0, abs=0.05)
    assert found.shares[1] == pytest.approx(won / possible, abs=0.03)
    assert found.gain == pytest.approx(possible / 3000, rel=0.05)
    assert found.gain == pytest.approx(0.02 * 1.0294, rel=0.05)  # the expected largest of four standard normals


def test_more_weeks_more_exploring_and_fewer_arms_learn_more() -> None:
    slow = learning(rates(), exploration=0.1, per_week=4000, weeks=(0, 1, 4, 16)).shares
    assert (np.diff(slow) > 0).all()
    fast = learning(rates(), exploration=0.5, per_week=4000, weeks=(0, 1, 4, 16)).shares
    assert (fast[1:] > slow[1:]).all()
    few = learning(rates(arms=2), exploration=0.1, per_week=4000, weeks=(4,)).shares
    many = learning(rates(arms=20), exploration=0.1, per_week=4000, weeks=(4,)).shares
    assert few[0] > many[0]


def test_arms_that_are_alike_promise_nothing_most_of_the_time() -> None:
    generator = np.random.default_rng(3)
    p_values = []
    for _ in range(400):
        stderr = np.full((2, 10), 0.01)
        cells = cells_of(
            0.3 + stderr * generator.standard_normal((2, 10)), stderr, stderr * 30, np.full((2, 10), 900.0)
        )
        p_values.append(cells.p_value)
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_the_spread_is_found_again() -> None:
    generator = np.random.default_rng(4)
    found = []
    for _ in range(200):
        stderr = np.full((3, 12), 0.01)
        truth = 0.3 + 0.02 * generator.standard_normal((3, 12))
        mean = truth + stderr * generator.standard_normal((3, 12))
        found.append(cells_of(mean, stderr, stderr * 30, np.full((3, 12), 900.0)).spread ** 2)
    assert np.sqrt(np.mean(found)) == pytest.approx(0.02, rel=0.06)


def test_an_arm_is_shrunk_by_hand() -> None:
    """Spread 1, error 1: half of the way to the centre, and a standard deviation of sqrt(1 / 2); the unseen has 1."""
    mean = np.array([[0.0, 2.0, np.nan]])
    cells = Cells(mean, np.array([[1.0, 1.0, np.inf]]), np.ones((1, 3)), np.ones(1), np.full((1, 3), 1 / 3), 1.0, 0.1)
    value, sd = believed(cells)
    assert value[0] == pytest.approx([0.5, 1.5, 1.0])
    assert sd[0] == pytest.approx([0.5**0.5, 0.5**0.5, 1.0])


def test_what_is_never_the_best_is_dropped_and_what_is_unknown_is_not() -> None:
    mean = np.array([[0.10, 0.20, 0.19, np.nan]])
    stderr = np.array([[0.005, 0.005, 0.005, np.inf]])
    cells = cells_of(mean, stderr, np.full((1, 4), 0.3), np.array([[3000.0, 3000.0, 3000.0, 0.0]]))
    best = learning(cells, exploration=0.2, per_week=1000, weeks=(0,)).best
    assert to_drop(best).tolist() == [0]
    assert best.sum(axis=1) == pytest.approx([1.0])
    assert to_drop(np.full((1, 100), 0.01)).tolist() == []


def test_a_log_without_spread_has_no_gain() -> None:
    cells = cells_of(np.array([[0.1, 0.1]]), np.full((1, 2), 0.01), np.full((1, 2), 0.3), np.full((1, 2), 900.0))
    found = learning(cells, exploration=0.5, per_week=1000, weeks=(0, 1))
    assert (cells.spread, found.gain) == (0.0, 0.0)
    assert np.isnan(found.shares).all()
