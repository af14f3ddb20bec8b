"""The common form of the estimators: a ratio of two sums over the rows, and the error of such a ratio.

Every estimator of this package is value = sum(numerator) / sum(denominator). Its influence function at row i is
(numerator_i - value * denominator_i) / mean(denominator); the variance of the value is that of the mean influence
(the delta method: Owen, "Monte Carlo theory, methods and examples", 2013, section 9.2), summed by cluster where rows
depend on each other (Liang & Zeger 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.errors import ParameterError
from engine.ope.exact import group_sums
from engine.types import FloatArray, KeyArray

ONE = "one"
WEIGHT = "weight"
WEIGHTED_REWARD = "weighted_reward"


@dataclass(frozen=True)
class Rows:
    """What an estimator may read of n rows under one target.

    Attributes:
        reward: (n,).
        weight: (n,) target / propensity.
        model_value: (n,) the reward model's expectation under the target, sum over a of target(a) q(a); None where no
            model was asked for or the target's distribution is not known.
        model_logged: (n,) the model's expectation q of the logged action, or None.
    """

    reward: FloatArray
    weight: FloatArray
    model_value: FloatArray | None = None
    model_logged: FloatArray | None = None


class Estimator(Protocol):
    """An estimator as a ratio of two column sums.

    Attributes:
        name: as in results and on the command line.
        numerator: name of the column that `terms` computes; estimators that share a name share the column.
        denominator: `ONE` or `WEIGHT`.
        needs_model: whether `terms` reads the model's columns of `Rows`.
        has_interval: whether the delta method covers all of the estimator's error.
    """

    @property
    def name(self) -> str: ...
    @property
    def numerator(self) -> str: ...
    @property
    def denominator(self) -> str: ...
    @property
    def needs_model(self) -> bool: ...
    @property
    def has_interval(self) -> bool: ...

    def terms(self, rows: Rows) -> FloatArray:
        """(n,) terms of the numerator."""
        ...


@dataclass(frozen=True)
class PointEstimate:
    """A value with its standard error, in the metric's unit; NaN where not defined."""

    value: float
    stderr: float
    n: int


def estimate_rows(estimator: Estimator, rows: Rows, cluster: KeyArray | None = None) -> PointEstimate:
    """One estimate from whole arrays, for short logs; streams go through `engine.ope.state`.

    Args:
        estimator: which.
        rows: n rows.
        cluster: (n,) keys of the units within which rows depend; None where rows are independent.

    Raises:
        ParameterError: no rows, or the estimator needs model columns that are not there.
    """
    if len(rows.reward) == 0:
        raise ParameterError("rows", estimator.name, allowed="at least one row", got=0)
    numerator = estimator.terms(rows)
    denominator = rows.weight if estimator.denominator == WEIGHT else np.ones_like(numerator)
    mean = denominator.mean()
    if mean == 0:
        return PointEstimate(math.nan, math.nan, len(numerator))
    value = float(numerator.sum() / denominator.sum())
    influence = (numerator - value * denominator) / mean
    if cluster is not None:
        influence = group_sums(cluster, influence[:, None])[1][:, 0]
    stderr = standard_error(float((influence**2).sum()), len(influence), len(numerator))
    return PointEstimate(value, stderr, len(numerator))


def standard_error(sum_of_squares: float, clusters: int, n: int) -> float:
    """Standard error of a mean influence: sqrt(C / (C - 1) * sum over clusters of (cluster sum)^2) / n.

    With each row its own cluster this is the sample standard deviation over sqrt(n). NaN with fewer than 2 clusters.
    """
    if clusters < 2:
        return math.nan
    return math.sqrt(max(sum_of_squares, 0.0) * clusters / (clusters - 1)) / n


def require_model(rows: Rows, owner: str) -> tuple[FloatArray, FloatArray]:
    """The model's columns of `rows`.

    Raises:
        ParameterError: they are not there.
    """
    if rows.model_value is None or rows.model_logged is None:
        raise ParameterError("model_value", owner, allowed="the reward model's expectations", got=None)
    return rows.model_value, rows.model_logged
