"""The common form of the estimators: a ratio of two sums over the rows, and the error of such a ratio.

Every estimator of this package is value = sum(numerator) / sum(denominator), or a short sum of such ratios. The
influence function of a ratio at row i is (numerator_i - value * denominator_i) / mean(denominator), that of a sum of
ratios is the sum of theirs; the variance of the value is that of the mean influence (the delta method: Owen, "Monte
Carlo theory, methods and examples", 2013, section 9.2), summed by cluster where rows depend on each other (Liang &
Zeger 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np

from engine.errors import ParameterError
from engine.ope.exact import group_sums
from engine.types import FloatArray, IntArray, KeyArray

ONE: Final = "one"
WEIGHT: Final = "weight"
EMBEDDING_WEIGHT: Final = "embedding_weight"
BALANCED_WEIGHT: Final = "balanced_weight"
WEIGHTED_REWARD: Final = "weighted_reward"
_LOGGER: Final = "logger:"


@dataclass(frozen=True)
class Rows:
    """What an estimator may read of n rows under one target.

    Attributes:
        reward: (n,).
        weight: (n,) target / propensity.
        model_value: (n,) the reward model's expectation under the target, sum over a of target(a) q(a); None where no
            model was asked for or the target's distribution is not known.
        model_logged: (n,) the model's expectation q of the logged action, or None.
        own_value / own_logged: the same two of the model that was fitted for this target alone (MRDR), or None.
        embedding_weight: (n,) target / logging probability of the logged action's attributes, or None.
        balanced_weight: (n,) target / mean probability of the logged action over all loggers, or None.
        logger: (n,) which of several loggers decided the row, or None.
    """

    reward: FloatArray
    weight: FloatArray
    model_value: FloatArray | None = None
    model_logged: FloatArray | None = None
    own_value: FloatArray | None = None
    own_logged: FloatArray | None = None
    embedding_weight: FloatArray | None = None
    balanced_weight: FloatArray | None = None
    logger: IntArray | None = None

    def named(self, name: str) -> FloatArray:
        """(n,) a column that is no estimator's numerator: the constant 1, a weight, or the indicator of a logger.

        Raises:
            ParameterError: the rows do not hold it.
        """
        if name == ONE:
            return np.ones(len(self.reward))
        if name.startswith(_LOGGER) and self.logger is not None:
            indicator: FloatArray = (self.logger == int(name.removeprefix(_LOGGER))).astype(np.float64)
            return indicator
        weights = {WEIGHT: self.weight, EMBEDDING_WEIGHT: self.embedding_weight, BALANCED_WEIGHT: self.balanced_weight}
        return required(weights.get(name), name, "an estimator")


def logger_column(position: int) -> str:
    """Name of the indicator column of a logger."""
    return f"{_LOGGER}{position}"


class Estimator(Protocol):
    """An estimator as a ratio of two column sums, to which another estimator may be added.

    Attributes:
        name: as in results and on the command line.
        numerator: name of the column that `terms` computes; estimators that share a name share the column.
        denominator: `ONE`, or a name that `Rows.named` knows.
        offset: an estimator whose value is added, or None.
        weight: the weight that the estimate rests on, by which its support is judged.
        needs_model: whether `terms` reads the model's columns of `Rows`.
        own_model: whether it reads those of the model that is fitted for the target alone.
        has_interval: whether the delta method covers all of the estimator's error.
        caution: what a reader must know of every such figure, or "".
    """

    @property
    def name(self) -> str: ...
    @property
    def numerator(self) -> str: ...
    @property
    def denominator(self) -> str: ...
    @property
    def offset(self) -> Estimator | None: ...
    @property
    def weight(self) -> str: ...
    @property
    def needs_model(self) -> bool: ...
    @property
    def own_model(self) -> bool: ...
    @property
    def has_interval(self) -> bool: ...
    @property
    def caution(self) -> str: ...

    def terms(self, rows: Rows) -> FloatArray:
        """(n,) terms of the numerator."""
        ...


class Traits:
    """What most estimators have in common; each overrides what differs."""

    denominator: ClassVar[str] = ONE
    offset: ClassVar[Estimator | None] = None
    weight: ClassVar[str] = WEIGHT
    needs_model: ClassVar[bool] = False
    own_model: ClassVar[bool] = False
    has_interval: ClassVar[bool] = True
    caution: ClassVar[str] = ""


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
    value, influence = 0.0, np.zeros_like(rows.reward)
    part: Estimator | None = estimator
    while part is not None:
        numerator, denominator = part.terms(rows), rows.named(part.denominator)
        mean = denominator.mean()
        if mean == 0:
            return PointEstimate(math.nan, math.nan, len(rows.reward))
        ratio = float(numerator.sum() / denominator.sum())
        value, influence = value + ratio, influence + (numerator - ratio * denominator) / mean
        part = part.offset
    if cluster is not None:
        influence = group_sums(cluster, influence[:, None])[1][:, 0]
    stderr = standard_error(float((influence**2).sum()), len(influence), len(rows.reward))
    return PointEstimate(value, stderr, len(rows.reward))


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


def required(values: FloatArray | None, name: str, owner: str) -> FloatArray:
    """A column of `Rows` that must be there.

    Raises:
        ParameterError: it is not.
    """
    if values is None:
        raise ParameterError(name, owner, allowed="given", got=None)
    return values
