"""Change detection and memory."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ParameterError
from policies.horizon.memory import changed_at, decayed, first_alarm

DAYS, ROWS = 60, 30


def residuals(seed: int, shift: float, at: int) -> tuple[np.ndarray, np.ndarray]:
    """Daily means of spread 1 that rise by `shift` on day `at`."""
    generator = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), ROWS)
    return day + 20_000.4, shift * (day >= at) + np.sqrt(ROWS) * generator.normal(size=len(day))


def test_alarm_by_hand() -> None:
    """Slack 0.5, bound 2: sums 0, 1.5, 0.5, 2.0, 3.5: the fifth rings, and the rise began at the second."""
    found = first_alarm(np.array([0.0, 2.0, -0.5, 2.0, 2.0]), slack=0.5, bound=2.0)
    assert found is not None
    assert (found.begun, found.seen, found.up) == (1, 4, True)


def test_a_fall_rings_too() -> None:
    found = first_alarm(np.array([0.0, -3.0, -3.0]), slack=1.0, bound=3.0)
    assert found is not None
    assert (found.begun, found.up) == (1, False)


def test_false_alarms_are_rare() -> None:
    """Two months without a change, 300 times: at most 3 % ring (measured over 400: 1.25 %)."""
    rung = sum(changed_at(*residuals(seed, 0.0, 0)) is not None for seed in range(300))
    assert rung <= 9


def test_a_change_is_seen_and_dated() -> None:
    """A shift of two spreads on day 30 is seen in at least 95 % of 100 runs, dated within two days in the median."""
    found = [changed_at(*residuals(seed, 2.0, 30)) for seed in range(100)]
    seen = [day - 20_030 for day in found if day is not None]
    assert len(seen) >= 95
    assert abs(float(np.median(seen))) <= 2.0


@pytest.mark.parametrize("shift", [1.5, 2.0, 3.0])
def test_delay_is_that_of_the_formula(shift: float) -> None:
    """About (bound + 1.166) / (shift - slack) days, within a factor of 1.5 either way: 200 runs of known spread."""
    generator = np.random.default_rng(7)
    alarms = [first_alarm(generator.normal(size=400) + shift) for _ in range(200)]
    delay = np.mean([alarm.seen + 1 for alarm in alarms if alarm is not None])
    assert 1 / 1.5 < delay * (shift - 1.0) / 7.166 < 1.5


@pytest.mark.parametrize("days", [1, 14], ids=["a day", "two weeks"])
def test_too_few_days_say_nothing(days: int) -> None:
    assert changed_at(np.arange(float(days)), np.arange(float(days))) is None


def test_unknown_instants_and_residuals_are_left_out() -> None:
    assert changed_at(np.full(30, np.nan), np.ones(30)) is None
    assert changed_at(np.arange(30.0), np.full(30, np.nan)) is None


def test_constant_residuals_are_no_change() -> None:
    assert changed_at(np.arange(40.0), np.zeros(40)) is None


@pytest.mark.parametrize(("slack", "bound"), [(-0.1, 1.0), (0.5, 0.0)], ids=["slack", "bound"])
def test_bad_bounds_are_refused(slack: float, bound: float) -> None:
    with pytest.raises(ParameterError):
        first_alarm(np.zeros(3), slack=slack, bound=bound)


def test_decay_by_hand() -> None:
    """Half life of 10 days: 20, 10 and 0 days old count 1/4, 1/2 and 1; unknown instants 1."""
    assert decayed(np.array([0.0, 10.0, 20.0, np.nan]), 10.0).tolist() == [0.25, 0.5, 1.0, 1.0]
    assert decayed(np.array([0.0, 10.0]), None).tolist() == [1.0, 1.0]


def test_memory_of_a_long_log_is_bounded() -> None:
    """Daily decisions: the weights sum to 1 / (1 - 2^(-1 / half life)) at most."""
    assert decayed(np.arange(1000.0), 10.0).sum() == pytest.approx(1 / (1 - 2 ** (-0.1)), abs=0.01)


def test_half_life_must_be_positive() -> None:
    with pytest.raises(ParameterError):
        decayed(np.zeros(2), 0.0)
