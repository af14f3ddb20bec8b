"""Basket values: by hand, CDNOW beside the published fit, parameters found again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from engine.errors import DataError, ParameterError
from simulator.calibration.targets.baskets import (
    GammaGamma,
    fit_gamma_gamma,
    fit_log_normal,
    gamma_gamma_log_likelihood,
)
from simulator.calibration.targets.cdnow import CALIBRATION_WEEKS, Purchases, read_cdnow


@pytest.fixture(scope="module")
def purchases(shared_data: Path) -> Purchases:
    return read_cdnow(shared_data / "cdnow/CDNOW_master.txt.gz")


def test_likelihood_by_hand() -> None:
    """p = q = v = 1, one purchase of 1: gamma(2) / (1 + 1)^2 = 1 / 4."""
    found = gamma_gamma_log_likelihood(1, 1, 1, np.array([1]), np.array([1.0]))
    assert np.exp(found[0]) == pytest.approx(1 / 4)


@given(p=st.floats(0.5, 8), q=st.floats(1.2, 6), v=st.floats(1, 30), count=st.integers(1, 8))
def test_likelihood_is_a_density_with_its_mean(p: float, q: float, v: float, count: int) -> None:
    """Over u = m / (v + m) it integrates to 1; the mean of the average is p v / (q - 1) however many are averaged."""

    def density(u: float, power: int) -> float:
        mean = v * u / (1 - u)
        value = gamma_gamma_log_likelihood(p, q, v, np.array([count]), np.array([mean]))[0]
        return float(np.exp(value) * mean**power * v / (1 - u) ** 2)

    assert quad(density, 0, 1, args=(0,), limit=400)[0] == pytest.approx(1, rel=1e-4)
    if q > 2:
        mean = GammaGamma(p, q, v, 0.0, 1).mean_usd
        assert quad(density, 0, 1, args=(1,), limit=400)[0] == pytest.approx(mean, rel=1e-3)


def test_mean_without_end() -> None:
    assert GammaGamma(2.0, 1.0, 3.0, 0.0, 1).mean_usd == float("inf")
    assert GammaGamma(2.0, 3.0, 4.0, 0.0, 1).mean_usd == pytest.approx(4.0)


def test_components_by_hand() -> None:
    """Logs 0, 2 of one customer and 4, 6 of another: within (1 + 1 + 1 + 1) / 2 = 2, between 2 (4 + 4) / 1 = 16.

    Customers have the variance (16 - 2) / 2 = 7 and the mean 3.
    """
    found = fit_log_normal(np.array([1, 1, 5, 5]), np.exp([0.0, 2.0, 4.0, 6.0]))
    assert (found.mu, found.within_sd**2, found.between_sd**2) == tuple(map(pytest.approx, (3.0, 2.0, 7.0)))
    assert (found.purchases, found.customers) == (4, 2)
    assert found.mean_usd == pytest.approx(np.exp(3 + 4.5))


def test_alike_customers_have_no_spread() -> None:
    found = fit_log_normal(np.array([0, 0, 1, 1]), np.array([1.0, 4.0, 4.0, 1.0]))
    assert found.between_sd == 0
    same = fit_log_normal(np.array([0, 0, 1]), np.full(3, 5.0))
    assert (same.mu, same.within_sd, same.between_sd) == (pytest.approx(np.log(5)), 0, 0)


def test_free_orders_do_not_count() -> None:
    with_free = fit_log_normal(np.array([1, 1, 5, 5, 5, 9]), np.append(np.exp([0.0, 2.0, 4.0, 6.0]), [0.0, 0.0]))
    assert with_free == fit_log_normal(np.array([1, 1, 5, 5]), np.exp([0.0, 2.0, 4.0, 6.0]))


def test_gamma_gamma_is_found_again() -> None:
    """40 samples of 1,500 customers: the mean of the logs of p, q, v within 4 Monte Carlo errors and 3 % of bias."""
    rng = np.random.default_rng(4)
    truth = np.array([6.0, 4.0, 16.0])
    found = []
    for _ in range(40):
        customer = np.repeat(np.arange(1_500), 1 + rng.poisson(2, 1_500))
        scale = 1 / rng.gamma(truth[1], 1 / truth[2], 1_500)
        one = fit_gamma_gamma(customer, rng.gamma(truth[0], scale[customer]))
        found.append([one.p, one.q, one.v])
    logs = np.log(found) - np.log(truth)
    assert (np.abs(logs.mean(axis=0)) < 4 * logs.std(axis=0) / np.sqrt(40) + 0.03).all()


def test_log_normal_is_found_again() -> None:
    """60 samples of 800 customers: means within 4 Monte Carlo errors."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(60):
        customer = np.repeat(np.arange(800), 1 + rng.poisson(1, 800))
        log_value = 3.2 + rng.normal(0, 0.45, 800)[customer] + rng.normal(0, 0.6, len(customer))
        one = fit_log_normal(customer, np.exp(log_value))
        found.append([one.mu, one.between_sd**2, one.within_sd**2])
    estimate = np.array(found)
    error = np.abs(estimate.mean(axis=0) - [3.2, 0.45**2, 0.6**2])
    assert (error < 4 * estimate.std(axis=0) / np.sqrt(60)).all()


def test_cdnow_agrees_with_the_published_fit(purchases: Purchases) -> None:
    """Fader, Hardie & Lee (2005, J. Marketing Research 42): p 6.25, q 3.74, v 15.44 from a tenth of the cohort."""
    repeat = purchases.first != np.arange(len(purchases.day))
    keep = repeat & (purchases.day < 7 * CALIBRATION_WEEKS)
    found = fit_gamma_gamma(purchases.customer[keep], purchases.value_usd[keep])
    assert (found.p, found.q, found.v) == (
        pytest.approx(6.25, rel=0.05),
        pytest.approx(3.74, rel=0.05),
        pytest.approx(15.44, rel=0.05),
    )
    assert found.mean_usd == pytest.approx(35.3, rel=0.03)


def test_cdnow_components(purchases: Purchases) -> None:
    """A third of the variance of log values lies between customers; what the median basket is worth."""
    found = fit_log_normal(purchases.customer, purchases.value_usd)
    assert found.purchases == 67_511
    total = found.between_sd**2 + found.within_sd**2
    assert found.between_sd**2 / total == pytest.approx(0.36, abs=0.02)
    assert np.exp(found.mu) == pytest.approx(25.7, rel=0.02)


@pytest.mark.parametrize("fit", [fit_gamma_gamma, fit_log_normal])
@pytest.mark.parametrize(
    ("customer", "value", "error"),
    [
        ([], [], DataError),
        ([1, 1], [2.0, 3.0], DataError),
        ([1, 2, 3], [2.0, 3.0, 4.0], DataError),
        ([1, 1, 2], [0.0, 3.0, 4.0], DataError),
        ([1, 2], [2.0, 3.0, 4.0], ParameterError),
        ([1, 1, 2], [2.0, np.nan, 4.0], ParameterError),
        ([1, 1, 2], [2.0, np.inf, 4.0], ParameterError),
    ],
    ids=["empty", "one customer", "one each", "one left each", "shapes", "nan", "endless"],
)
def test_bad_values(fit, customer: list[int], value: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        fit(np.array(customer, dtype=np.int64), np.array(value))


def test_values_that_say_nothing() -> None:
    with pytest.raises(DataError, match="determine"):
        fit_gamma_gamma(np.array([0, 0, 1, 1]), np.full(4, 5.0))
