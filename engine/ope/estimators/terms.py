"""The common form of the estimators: a ratio of two sums over the rows.

Every estimator of this package is value = sum(numerator) / sum(denominator), or a short sum of such ratios;
`engine.ope.sums.ratios` says what their error is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray, IntArray

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
        name: The name in results and on the command line.
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
