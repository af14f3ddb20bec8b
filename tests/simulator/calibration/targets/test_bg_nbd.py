"""BG/NBD: values by hand and published, laws of probability, parameters found again, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import beta, gammaln

from engine.errors import DataError, ParameterError
from engine.types import FloatArray, IntArray
from simulator.calibration.targets.bg_nbd import BgNbd, fit_bg_nbd

PUBLISHED = BgNbd(0.2426, 4.4136, 0.7929, 2.4259)
MODELS = st.builds(BgNbd, st.floats(0.1, 3), st.floats(1, 20), st.floats(0.1, 3), st.floats(0.2, 5))


def simulate(model: BgNbd, t_cal: FloatArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """x and t_x of customers who buy at a gamma rate and are gone after a purchase with a beta chance."""
    rate = rng.gamma(model.r, 1 / model.alpha, len(t_cal))
    leave = rng.beta(model.a, model.b, len(t_cal))
    x, t_x = np.zeros(len(t_cal), dtype=np.int64), np.zeros(len(t_cal))
    now, alive = np.zeros(len(t_cal)), np.ones(len(t_cal), dtype=bool)
    while alive.any():
        now = now + rng.exponential(1 / np.maximum(rate, 1e-12))
        alive &= now <= t_cal
        x += alive
        t_x[alive] = now[alive]
        alive &= rng.random(len(t_cal)) >= leave
    return x, t_x


@pytest.mark.parametrize(
    ("x", "t_x", "t_cal", "expected"), [(2, 30.43, 38.86, -9.4597), (1, 1.71, 38.86, -4.4704), (0, 0.0, 38.86, -0.5538)]
)
def test_first_customers_of_the_published_tenth(x: int, t_x: float, t_cal: float, expected: float) -> None:
    found = PUBLISHED.log_likelihood(np.array([x]), np.array([t_x]), np.array([t_cal]))
    assert found[0] == pytest.approx(expected, abs=5e-5)


def test_likelihood_by_hand() -> None:
    """r = alpha = a = b = 1, x = 1, t_x = 1, T = 3.

    B(1, 2) / B(1, 1) / 4^2 + B(2, 1) / B(1, 1) / 2^2 = 1/2 / 16 + 1/2 / 4 = 5 / 32; nobody yet after 3 weeks: 1 / 4.
    """
    model = BgNbd(1, 1, 1, 1)
    found = model.log_likelihood(np.array([1, 0]), np.array([1.0, 0.0]), np.array([3.0, 3.0]))
    np.testing.assert_allclose(np.exp(found), [5 / 32, 1 / 4])


def test_expectation_by_hand() -> None:
    """With b = 1, a = 2, r = 1 and alpha = 1 the series is 2F1(1, 1; 2; z) = -log(1 - z) / z, z = t / (1 + t).

    E = 2 (1 - (1 / (1 + t)) (1 + t) / t log(1 + t)) = 2 (1 - log(1 + t) / t).
    """
    t = np.array([0.5, 3.0, 40.0])
    np.testing.assert_allclose(BgNbd(1, 1, 2, 1).expected(t), 2 * (1 - np.log1p(t) / t))


@given(model=MODELS, t=st.floats(0.5, 30))
def test_probabilities_sum_to_one(model: BgNbd, t: float) -> None:
    """What is left beyond 4,000 purchases is nothing at these rates."""
    probability = model.probability(np.arange(4_000), t)
    assert (probability >= 0).all()
    assert probability.sum() == pytest.approx(1, abs=1e-7)


@given(model=MODELS, t=st.floats(0.5, 30), x=st.integers(1, 6))
def test_likelihood_integrates_to_the_probability(model: BgNbd, t: float, x: int) -> None:
    """The times before the last are uniform: integral of L(x, t_x, T) t_x^(x - 1) / (x - 1)! over t_x is P(X = x)."""

    def density(last: float) -> float:
        value = model.log_likelihood(np.array([x]), np.array([last]), np.array([t]))[0]
        return float(np.exp(value + (x - 1) * np.log(last) - gammaln(x)))

    total = quad(density, 0, t, epsabs=1e-11, epsrel=1e-9, limit=200)[0]
    assert total == pytest.approx(model.probability(np.array([x]), t)[0], rel=1e-6, abs=1e-9)


@given(model=MODELS, t=st.floats(0.5, 30))
def test_none_is_the_likelihood_of_none(model: BgNbd, t: float) -> None:
    none = model.log_likelihood(np.array([0]), np.array([0.0]), np.array([t]))[0]
    assert np.exp(none) == pytest.approx(model.probability(np.array([0]), t)[0], rel=1e-9)


@given(model=MODELS, t=st.floats(0.5, 10))
def test_expectation_is_the_mean_of_the_probabilities(model: BgNbd, t: float) -> None:
    x = np.arange(4_000)
    assert model.expected(np.array([t]))[0] == pytest.approx(x @ model.probability(x, t), rel=1e-5)


@given(model=MODELS)
def test_expectation_grows_from_nothing(model: BgNbd) -> None:
    expected = model.expected(np.linspace(0, 60, 30))
    assert expected[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(expected) > 0).all()


def test_expectation_passes_through_a_of_one() -> None:
    t = np.array([39.0])
    low, at, high = (BgNbd(0.25, 4.8, a, 2.2).expected(t)[0] for a in (0.999, 1.0, 1.001))
    assert high < at < low
    assert at == pytest.approx((low + high) / 2, rel=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.25, 0.75), (1.0, 1e-9), (0.3, 0.1)])
def test_expectation_where_its_series_has_a_pole(a: float, b: float) -> None:
    """At a + b = 1, and below it, the mean of the probabilities is what counts."""
    model, x = BgNbd(1.0, 2.0, a, b), np.arange(2_000)
    assert model.expected(np.array([3.0]))[0] == pytest.approx(x @ model.probability(x, 3.0), rel=1e-5)


def test_cohort_by_hand() -> None:
    """Two customers, weeks 0 and 2: at week 3 the sum of what is expected in 3 and in 1 week; at week 0 nothing."""
    found = PUBLISHED.expected_cumulative(np.array([0.0, 2.0]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(found, [0.0, PUBLISHED.expected(np.array([3.0, 1.0])).sum()], atol=1e-12)


def test_parameters_are_found_again() -> None:
    """60 cohorts of 4,000: each parameter's mean within 4 Monte Carlo errors and a bias of 1 / 4 standard error.

    Intervals of two standard errors cover the truth in at least 51 of 60: fewer come once in 500 where they hold 95 %.
    """
    rng = np.random.default_rng(5)
    truth = BgNbd(0.6, 5.0, 0.9, 2.5)
    t_cal = rng.uniform(26, 39, 4_000)
    fits = [fit_bg_nbd(*simulate(truth, t_cal, rng), t_cal) for _ in range(60)]
    for at, name in enumerate(("r", "alpha", "a", "b")):
        estimate = np.array([getattr(one.model, name) for one in fits])
        se = np.array([one.se[at] for one in fits])
        right = getattr(truth, name)
        assert abs(estimate.mean() - right) < 4 * estimate.std() / np.sqrt(60) + 0.25 * se.mean()
        assert (np.abs(estimate - right) < 1.96 * se).sum() >= 51


def test_simulated_counts_follow_the_probabilities() -> None:
    """20,000 customers in 20 weeks: the share of each count within 4.5 standard errors."""
    model = BgNbd(0.6, 5.0, 0.9, 2.5)
    x, _ = simulate(model, np.full(20_000, 20.0), np.random.default_rng(2))
    expected = model.probability(np.arange(6), 20.0)
    share = np.bincount(x, minlength=6)[:6] / len(x)
    assert (np.abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / len(x))).all()


def test_gradient_vanishes_at_the_maximum() -> None:
    """No neighbour is likelier: the fit is a maximum, not where an optimiser stopped."""
    rng = np.random.default_rng(9)
    t_cal = np.full(2_000, 30.0)
    x, t_x = simulate(BgNbd(0.5, 4.0, 0.8, 2.0), t_cal, rng)
    found = fit_bg_nbd(x, t_x, t_cal)
    best = np.array([getattr(found.model, name) for name in ("r", "alpha", "a", "b")])
    for step in 1e-3 * np.vstack([np.eye(4), -np.eye(4)]):
        assert BgNbd(*(best * np.exp(step))).log_likelihood(x, t_x, t_cal).sum() < found.log_likelihood
    assert BgNbd(*best).log_likelihood(x, t_x, t_cal).sum() == pytest.approx(found.log_likelihood, rel=1e-12)


def test_share_of_the_gone_by_hand() -> None:
    """The chance to be gone has mean a / (a + b): after a long time one purchase is of those who left at once."""
    model = BgNbd(2.0, 0.1, 1.0, 3.0)
    left_at_once = beta(2.0, 3.0) / beta(1.0, 3.0)
    assert left_at_once == pytest.approx(0.25)
    assert model.probability(np.array([1]), 1e4)[0] == pytest.approx(left_at_once, rel=1e-3)


@pytest.mark.parametrize("name", ["r", "alpha", "a", "b"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_bad_parameters(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=name):
        BgNbd(**{"r": 1.0, "alpha": 1.0, "a": 1.0, "b": 1.0} | {name: value})


@pytest.mark.parametrize(
    ("x", "t_x", "t_cal"),
    [
        ([], [], []),
        ([1], [1.0, 2.0], [3.0]),
        ([1], [1.0], [3.0, 4.0]),
        ([-1], [0.0], [3.0]),
        ([1], [-1.0], [3.0]),
        ([1], [4.0], [3.0]),
        ([0], [1.0], [3.0]),
        ([1], [1.0], [np.inf]),
        ([1], [np.nan], [3.0]),
    ],
    ids=["empty", "long t_x", "long T", "x < 0", "t_x < 0", "t_x > T", "t_x without x", "endless", "nan"],
)
def test_bad_customers(x: list[int], t_x: list[float], t_cal: list[float]) -> None:
    arrays = np.array(x, dtype=np.int64), np.array(t_x), np.array(t_cal)
    with pytest.raises(ParameterError, match="t_cal"):
        PUBLISHED.log_likelihood(*arrays)
    with pytest.raises(ParameterError, match="t_cal"):
        fit_bg_nbd(*arrays)


def test_bad_times() -> None:
    with pytest.raises(ParameterError, match="`t`"):
        PUBLISHED.probability(np.arange(3), 0.0)
    with pytest.raises(ParameterError, match="`x`"):
        PUBLISHED.probability(np.array([1, -1]), 1.0)
    with pytest.raises(ParameterError, match="`t`"):
        PUBLISHED.expected(np.array([1.0, -1.0]))


@pytest.mark.parametrize(
    ("x", "t_x", "named"), [([0, 0, 0], [0.0, 0.0, 0.0], "none of 3"), ([1, 1, 1], [5.0, 5.0, 5.0], "determine")]
)
def test_data_that_say_nothing(x: list[int], t_x: list[float], named: str) -> None:
    with pytest.raises(DataError, match=named):
        fit_bg_nbd(np.array(x), np.array(t_x), np.full(3, 30.0))
