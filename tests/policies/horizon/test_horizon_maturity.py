"""Rewards that have not wholly arrived."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import LearnError, ParameterError
from policies.horizon.maturity import Arrivals, learn_arrivals, matured

RATE, WINDOW = 0.7, 3.0


def arrived(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of 1 with chance 0.3, and their delays: exponential, within the window."""
    generator = np.random.default_rng(seed)
    delay = -np.log1p(-generator.random(n) * -np.expm1(-RATE * WINDOW)) / RATE
    return (generator.random(n) < 0.3).astype(float), delay


def test_shares_by_hand() -> None:
    """Of 4 usd, 1 has come after one day and 3 after two: shares 1/4, 3/4 and 1."""
    so_far = np.array([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])
    arrivals = learn_arrivals(np.array([1.0, 2.0, 3.0]), so_far, np.array([1.0, 2.0, 1.0]))
    assert arrivals.share.tolist() == [0.25, 0.75, 1.0]
    assert arrivals.by(np.array([0.5, 1.0, 2.9, 9.0])).tolist() == [0.0, 0.25, 0.75, 1.0]


def test_reward_too_young_to_be_known_waits() -> None:
    """A share of 0.1 is below the least one; 0.5 doubles what has come."""
    corrected, share = matured(
        np.array([1.0, 1.0]), np.array([1.0, 2.0]), Arrivals(np.array([1.0, 2.0]), np.array([0.1, 0.5]))
    )
    assert np.isnan(corrected[0])
    assert corrected[1] == 2.0
    assert share.tolist() == [0.1, 0.5]


def test_shares_are_those_of_the_closed_form() -> None:
    """Exponential delays in a window: F(e) = (1 - exp(-rate e)) / (1 - exp(-rate window)); four errors of 200,000."""
    reward, delay = arrived(200_000, 1)
    ages = np.array([0.5, 1.0, 2.0, 3.0])
    found = learn_arrivals(ages, reward * (delay <= ages[:, None]), reward).share
    assert found == pytest.approx(np.expm1(-RATE * ages) / np.expm1(-RATE * WINDOW), abs=4 * 0.5 / np.sqrt(60_000))


def test_correction_is_unbiased_and_ignoring_it_is_not() -> None:
    """Ages even over three days: without correction a mean of 0.3 F is seen, which is 45 % too small or more."""
    reward, delay = arrived(200_000, 2)
    age = np.random.default_rng(3).choice([1.0, 2.0, 3.0], size=len(reward))
    ages = np.array([1.0, 2.0, 3.0])
    exact = np.expm1(-RATE * ages) / np.expm1(-RATE * WINDOW)
    so_far = reward * (delay <= age)
    corrected, share = matured(so_far, age, Arrivals(ages, exact))
    error = corrected.std() / np.sqrt(len(corrected))
    assert abs(np.average(corrected, weights=share) - 0.3) < 4 * error
    assert so_far.mean() == pytest.approx(0.3 * exact.mean(), abs=0.005)
    assert so_far.mean() < 0.3 - 20 * error


def test_learning_from_young_decisions_would_overrate_what_has_arrived() -> None:
    """Decisions two days old call 2 / 3 of a window the whole: their share after one day is too large."""
    reward, delay = arrived(100_000, 4)
    one_day = (reward * (delay <= 1.0))[None, :]
    young = learn_arrivals(np.array([1.0]), one_day, reward * (delay <= 2.0)).share[0]
    ripe = learn_arrivals(np.array([1.0]), one_day, reward).share[0]
    assert young > ripe + 0.05


@pytest.mark.parametrize(
    ("ages", "so_far", "whole", "error"),
    [
        ([1.0], [[1.0, 2.0]], [1.0], ParameterError),
        ([], np.zeros((0, 1)), [1.0], ParameterError),
        ([2.0, 1.0], [[1.0], [1.0]], [1.0], ParameterError),
        ([0.0], [[1.0]], [1.0], ParameterError),
        ([1.0], [[1.0, -1.0]], [1.0, -1.0], LearnError),
        ([1.0], [[-1.0]], [2.0], LearnError),
    ],
    ids=["shape", "none", "descending", "at once", "nothing in all", "against the sign"],
)
def test_bad_input_is_refused(
    ages: list[float], so_far: list[list[float]], whole: list[float], error: type[Exception]
) -> None:
    with pytest.raises(error):
        learn_arrivals(np.array(ages), np.array(so_far), np.array(whole))
