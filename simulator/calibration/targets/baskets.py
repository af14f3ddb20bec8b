"""How much a purchase is worth: gamma-gamma over customers, and a log-normal split into customers and purchases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from engine.errors import DataError, ParameterError
from engine.types import FloatArray, IntArray


@dataclass(frozen=True)
class GammaGamma:
    """Values of a customer are gamma(p, nu), nu over customers gamma(q, v) (Fader & Hardie 2013, gamma_gamma.pdf).

    Attributes:
        p: shape within a customer.
        q: shape over customers.
        v: rate over customers, USD.
        log_likelihood: at the maximum, summed.
        customers: whose averages were fitted.
    """

    p: float
    q: float
    v: float
    log_likelihood: float
    customers: int

    @property
    def mean_usd(self) -> float:
        """Mean value of a purchase over customers, p v / (q - 1); infinite for q <= 1."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("inf")


@dataclass(frozen=True)
class LogNormalBaskets:
    """log(value) = mu + customer + purchase, both normal.

    Attributes:
        mu: mean of the log value over customers; log USD.
        between_sd: standard deviation over customers.
        within_sd: standard deviation of a customer's purchases.
        purchases / customers: that were used.
    """

    mu: float
    between_sd: float
    within_sd: float
    purchases: int
    customers: int

    @property
    def mean_usd(self) -> float:
        """Mean value of a purchase."""
        return float(np.exp(self.mu + (self.between_sd**2 + self.within_sd**2) / 2))


def gamma_gamma_log_likelihood(p: float, q: float, v: float, count: IntArray, mean_usd: FloatArray) -> FloatArray:
    """(n,) log likelihood of average values: Fader & Hardie (2013), equation 1a.

    Args:
        p, q, v: above 0.
        count: (n,) purchases averaged, at least 1.
        mean_usd: (n,) averages, above 0.
    """
    shape = p * count
    return np.asarray(
        gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v) + (shape - 1) * np.log(mean_usd)
        + shape * np.log(count) - (shape + q) * np.log(v + count * mean_usd)
    )  # fmt: skip


def fit_gamma_gamma(customer: IntArray, value_usd: FloatArray) -> GammaGamma:
    """Fit by maximum likelihood to the averages of customers.

    Args:
        customer: (n,) codes.
        value_usd: (n,) values; those that are not above 0 are left out, for a gamma has none.

    Raises:
        ParameterError: shapes that differ, or a value that is not finite.
        DataError: too few customers or purchases, or values that do not determine the parameters.
    """
    _, logs, code, count = _grouped(customer, value_usd)
    mean = np.bincount(code, np.exp(logs)) / count
    start = np.log([2.0, 3.0, float(mean.mean())])

    def objective(log_parameters: FloatArray) -> float:
        p, q, v = np.exp(log_parameters)
        return -float(gamma_gamma_log_likelihood(p, q, v, count, mean).mean())

    found = minimize(objective, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-11})
    if not found.success or np.abs(found.x).max() > 12:
        raise DataError(
            f"the values of {len(count)} customers do not determine the gamma-gamma parameters",
            hint="values must differ within and between customers",
        )
    p, q, v = map(float, np.exp(found.x))
    return GammaGamma(p, q, v, -float(found.fun) * len(count), len(count))


def fit_log_normal(customer: IntArray, value_usd: FloatArray) -> LogNormalBaskets:
    """Split the variance of log values into customers and purchases, by the analysis of variance of unequal groups.

    Searle, Casella & McCulloch (1992), "Variance Components", equations 69 to 71 of chapter 3.

    Args:
        customer, value_usd: as `fit_gamma_gamma`.

    Raises:
        ParameterError: shapes that differ, or a value that is not finite.
        DataError: fewer than 2 customers, or nobody with 2 purchases.
    """
    n, logs, code, count = _grouped(customer, value_usd)
    groups = len(count)
    means = np.bincount(code, logs) / count
    grand = float(logs.mean())
    within = float(((logs - means[code]) ** 2).sum()) / (n - groups)
    between = float((count * (means - grand) ** 2).sum()) / (groups - 1)
    size = (n - float((count**2).sum()) / n) / (groups - 1)
    over_customers = max(0.0, (between - within) / size)
    # Each customer once, by what his mean is worth: heavy buyers must not decide where the others lie.
    weight = 1 / (over_customers + within / count) if over_customers + within > 0 else np.ones(groups)
    mu = float((weight * means).sum() / weight.sum())
    return LogNormalBaskets(mu, float(np.sqrt(over_customers)), float(np.sqrt(within)), n, groups)


def _grouped(customer: IntArray, value_usd: FloatArray) -> tuple[int, FloatArray, IntArray, IntArray]:
    """Number of values above 0, their logs (n,), codes of their customers (n,) and purchases per customer (c,)."""
    if customer.ndim != 1 or value_usd.shape != customer.shape:
        raise ParameterError("value_usd", "baskets", allowed=f"of shape {customer.shape}", got=value_usd.shape)
    if not np.isfinite(value_usd).all():
        raise ParameterError("value_usd", "baskets", allowed="finite", got=value_usd[~np.isfinite(value_usd)][0])
    keep = value_usd > 0
    names, code = np.unique(customer[keep], return_inverse=True)
    count = np.bincount(code, minlength=len(names))
    if len(names) < 2 or count.max() < 2:
        raise DataError(
            f"{int(keep.sum())} purchases of {len(names)} customers", hint="at least 2 customers, one of them with 2"
        )
    return int(keep.sum()), np.log(value_usd[keep]), code.astype(np.int64), count.astype(np.int64)
