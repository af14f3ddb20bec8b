"""The BG/NBD model of unprompted purchases: how often contacts buy, and after which purchase they are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, betaln, digamma, gammaln, hyp2f1

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.types import FloatArray, IntArray

# Where the log of a parameter ends up when the data say nothing about it.
_FURTHEST = 12.0
_NEAR = 1e-7


@dataclass(frozen=True)
class BgNbd:
    """Parameters: rates are gamma(r, alpha) per week, the chance to be gone after a purchase is beta(a, b).

    Attributes:
        r: shape of the purchase rate.
        alpha: its rate parameter, weeks; the mean rate is r / alpha a week.
        a / b: parameters of the chance to be gone after each purchase; its mean is a / (a + b).

    Raises:
        ParameterError: a parameter that is not above 0.
    """

    r: float
    alpha: float
    a: float
    b: float

    def __post_init__(self) -> None:
        for name in ("r", "alpha", "a", "b"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ParameterError(name, "BgNbd", allowed="a finite number above 0", got=value)

    def log_likelihood(self, x: IntArray, t_x: FloatArray, t_cal: FloatArray) -> FloatArray:
        """(n,) log likelihood of each customer: Fader, Hardie & Lee (2005), Marketing Science 24(2), equation 6.

        Args:
            x: (n,) repeat purchases.
            t_x: (n,) weeks from the first purchase to the last.
            t_cal: (n,) weeks from the first purchase to the end (T of the paper).

        Raises:
            ParameterError: shapes that differ, x below 0, or not 0 <= t_x <= t_cal with t_x = 0 where x = 0.
        """
        _check(x, t_x, t_cal)
        return _log_likelihood(np.array([self.r, self.alpha, self.a, self.b]), x, t_x, t_cal)[0]

    def probability(self, x: IntArray, t: float) -> FloatArray:
        """(n,) P(X(t) = x) of a customer chosen at random, in t > 0 weeks (equation 8 of the paper).

        Raises:
            ParameterError: t not above 0, or some x below 0.
        """
        if not (np.isfinite(t) and t > 0):
            raise ParameterError("t", "probability", allowed="a finite number above 0", got=t)
        if (x < 0).any():
            raise ParameterError("x", "probability", allowed="0 or more", got=int(x.min()))
        log_beta = betaln(self.a, self.b)
        share = t / (self.alpha + t)
        stays = np.exp(
            betaln(self.a, self.b + x) - log_beta + gammaln(self.r + x) - gammaln(self.r) - gammaln(x + 1.0)
            + self.r * np.log1p(-share) + x * np.log(share)
        )  # fmt: skip
        positive = np.maximum(x, 1)
        # The sum of negative binomial terms in the paper is 1 less an incomplete beta function.
        gone = np.exp(betaln(self.a + 1, self.b + positive - 1) - log_beta) * betainc(positive, self.r, share)
        return np.asarray(stays + np.where(x > 0, gone, 0.0), dtype=np.float64)

    def expected(self, t: FloatArray) -> FloatArray:
        """E[X(t)], repeat purchases of a customer chosen at random in t >= 0 weeks (equation 9 of the paper).

        Raises:
            ParameterError: some t below 0, or not finite.
        """
        if not (np.isfinite(t) & (t >= 0)).all():
            raise ParameterError("t", "expected", allowed="finite and 0 or more", got=t)
        # At a = 1 the formula is 0 / 0, at a + b = 1 it is 0 x infinity; its limits are reached from close by.
        a = self.a if abs(self.a - 1) > _NEAR else 1 + _NEAR
        b = self.b if abs(a + self.b - 1) > _NEAR else 1 - a + _NEAR
        series = hyp2f1(self.r, b, a + b - 1, t / (self.alpha + t))
        return np.asarray((a + b - 1) / (a - 1) * (1 - (self.alpha / (self.alpha + t)) ** self.r * series))

    def expected_cumulative(self, first: FloatArray, at: FloatArray) -> FloatArray:
        """(w,) expected repeat purchases of a cohort until each of w instants.

        Args:
            first: (c,) first purchase of each customer, weeks since any origin.
            at: (w,) weeks since the same origin.
        """
        begin, count = np.unique(first, return_counts=True)
        weeks = np.maximum(np.asarray(at, dtype=np.float64)[:, None] - begin, 0.0)
        return np.asarray(matmul(self.expected(weeks), count), dtype=np.float64)


@dataclass(frozen=True)
class BgNbdFit:
    """Maximum likelihood.

    Attributes:
        model: the parameters.
        se: standard errors of r, alpha, a, b, from the curvature of the likelihood.
        log_likelihood: at the maximum, summed.
        customers: n.
    """

    model: BgNbd
    se: tuple[float, float, float, float]
    log_likelihood: float
    customers: int


def fit_bg_nbd(x: IntArray, t_x: FloatArray, t_cal: FloatArray) -> BgNbdFit:
    """Fit by maximum likelihood, over the logs of the parameters with the exact gradient.

    Args:
        x, t_x, t_cal: as `BgNbd.log_likelihood`.

    Raises:
        ParameterError: as `BgNbd.log_likelihood`.
        DataError: no customer, or data that do not determine the parameters: nobody buys again, or nobody leaves.
    """
    _check(x, t_x, t_cal)
    if not (x > 0).any():
        raise DataError(f"none of {len(x)} customers buys again", hint="observe longer")
    rows, count = np.unique(np.column_stack([x, t_x, t_cal]), axis=0, return_counts=True)
    repeats, last, end = rows.T

    def objective(log_parameters: FloatArray) -> tuple[float, FloatArray]:
        parameters = np.exp(log_parameters)
        value, gradient = _log_likelihood(parameters, repeats, last, end)
        return -float(matmul(count, value)) / len(x), -(matmul(gradient, count)) * parameters / len(x)

    start = np.log([0.5, float(np.mean(t_cal)) / 4 + 0.5, 1.0, 2.0])
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(-_FURTHEST, _FURTHEST)] * 4,
        options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8},
    )  # fmt: skip
    curvature = _curvature(objective, found.x)
    edge = np.abs(found.x).max() > _FURTHEST - 0.01
    if edge or np.linalg.eigvalsh(curvature).min() <= 0 or np.abs(objective(found.x)[1]).max() > 1e-4:
        raise DataError(
            f"{len(x)} customers do not determine the BG/NBD parameters", hint="observe more customers, for longer"
        )
    best = np.exp(found.x)
    se = best * np.sqrt(np.diag(np.linalg.inv(curvature)) / len(x))
    r, alpha, a, b = map(float, se)
    return BgNbdFit(BgNbd(*map(float, best)), (r, alpha, a, b), -float(found.fun) * len(x), len(x))


def _log_likelihood(
    parameters: FloatArray, x: IntArray | FloatArray, t_x: FloatArray, t_cal: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(n,) log likelihood and (4, n) its gradient."""
    r, alpha, a, b = parameters
    common = (
        gammaln(r + x)
        - gammaln(r)
        + r * np.log(alpha)
        + gammaln(a + b)
        + gammaln(b + x)
        - gammaln(b)
        - gammaln(a + b + x)
    )
    here = -(r + x) * np.log(alpha + t_cal)
    # Only who has bought again can be gone; b + x - 1 of the others must not become a logarithm of 0.
    past = np.where(x > 0, b + x - 1, 1.0)
    gone = np.where(x > 0, np.log(a) - np.log(past) - (r + x) * np.log(alpha + t_x), -np.inf)
    either = np.logaddexp(here, gone)
    share = np.exp(gone - either)
    both = digamma(a + b) - digamma(a + b + x)
    gradient = np.stack(
        [
            digamma(r + x)
            - digamma(r)
            + np.log(alpha)
            - (1 - share) * np.log(alpha + t_cal)
            - share * np.log(alpha + t_x),
            r / alpha - (r + x) * ((1 - share) / (alpha + t_cal) + share / (alpha + t_x)),
            both + share / a,
            both + digamma(b + x) - digamma(b) - share / past,
        ]
    )
    return common + either, gradient


def _curvature(objective: Callable[[FloatArray], tuple[float, FloatArray]], at: FloatArray) -> FloatArray:
    """(4, 4) second derivatives by central differences of the gradient."""
    step = 1e-5
    rows = [(objective(at + step * unit)[1] - objective(at - step * unit)[1]) / (2 * step) for unit in np.eye(4)]
    square = np.stack(rows)
    return np.asarray((square + square.T) / 2, dtype=np.float64)


def _check(x: IntArray, t_x: FloatArray, t_cal: FloatArray) -> None:
    if x.ndim != 1 or len(x) == 0 or t_x.shape != x.shape or t_cal.shape != x.shape:
        raise ParameterError(
            "x", "BgNbd", allowed="(n,) with n > 0, like t_x and t_cal", got=(x.shape, t_x.shape, t_cal.shape)
        )
    right = (x >= 0) & (t_x >= 0) & (t_x <= t_cal) & np.isfinite(t_cal) & ((x > 0) | (t_x == 0))
    if not right.all():
        at = int(np.argmin(right))
        raise ParameterError(
            "x, t_x, t_cal",
            "BgNbd",
            allowed="x >= 0 and 0 <= t_x <= t_cal, with t_x = 0 where x = 0",
            got=(x[at], t_x[at], t_cal[at]),
        )
