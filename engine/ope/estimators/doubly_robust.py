"""A reward model corrected by the weighted residuals of the log, with whole and with shrunk weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.estimators.terms import WEIGHT, Estimator, Rows, Traits, require_model, required
from engine.ope.estimators.weighting import harmonic_weight
from engine.types import FloatArray


@dataclass(frozen=True)
class Dm(Traits):
    """mean over rows of sum over a of target(a) q(a): as good as the reward model q, whose error no row shows.

    Dudik, Langford & Li (2011), section 2. The spread of its terms is the spread of
    the contexts, not of the model's error, so it carries no standard error and no interval.
    """

    name: str = "dm"
    numerator: ClassVar[str] = "model_value"
    needs_model: ClassVar[bool] = True
    has_interval: ClassVar[bool] = False
    caution: ClassVar[str] = "no interval: the spread of the rows does not show the reward model's own error"

    def terms(self, rows: Rows) -> FloatArray:
        return require_model(rows, "Dm")[0]


@dataclass(frozen=True)
class Dr(Traits):
    """mean(sum over a of target(a) q(a) + w (r - q(logged action))): right where the model or the propensities are.

    Dudik, Langford & Li (2011), section 2. With q fitted on other folds (`engine.ope.models.crossfit`) its terms are
    independent of the model's noise, and the spread of the terms gives its error (Chernozhukov et al. 2018, section 3).
    """

    name: str = "dr"
    numerator: ClassVar[str] = "doubly_robust"
    needs_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        model_value, model_logged = require_model(rows, type(self).__name__)
        return model_value + rows.named(self.weight) * (rows.reward - model_logged)


@dataclass(frozen=True)
class Sndr(Traits):
    """mean over rows of the model's value + sum(w (r - q)) / sum(w): DR with SNIPS in place of IPS on the residuals.

    Thomas & Brunskill (2016), section 5 (weighted doubly robust), for one step; Kallus & Uehara (2019). Without a model
    it is SNIPS; where the weights have mean 1 it is DR. Both ratios' errors are in its interval.
    """

    name: str = "sndr"
    numerator: ClassVar[str] = "weighted_residual"
    denominator: ClassVar[str] = WEIGHT
    offset: ClassVar[Estimator | None] = Dm()
    needs_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        return rows.weight * (rows.reward - require_model(rows, "Sndr")[1])


@dataclass(frozen=True)
class Mrdr(Traits):
    """DR whose model is fitted, for this target alone, by least squares weighted with w^2 (1 - propensity).

    Farajtabar, Chow & Ghavamzadeh (2018), section 4. Given the context the variance of DR that the draw of the action
    makes is Delta' D (diag(1 / p) - 1 1') D Delta, with D = diag(target), Delta = reward - q; its expectation under the
    log of the diagonal part is that of w^2 (1 - p) Delta^2 at the logged action. For a target that takes one action for
    sure this is all of it (the paper's case); for others the mixed terms are left out. `engine.ope.models.crossfit`
    fits the model.
    """

    name: str = "mrdr"
    numerator: ClassVar[str] = "more_robust"
    own_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = (required(part, "own_value", "Mrdr") for part in (rows.own_value, rows.own_logged))
        return value + rows.weight * (rows.reward - logged)


@dataclass(frozen=True)
class ShrunkDr(Traits, ABC):
    """DR with each weight replaced by a smaller one: a bias towards the model in exchange for variance.

    Attributes:
        parameter: How much is shrunk; each member says what it means.
        name: The name in results.
        letter: The parameter's name in the paper and in errors.
        dm_at: The parameter at which no weight is left, so that the estimator is DM and has no interval.
        highest: The largest parameter; the smallest is 0.
    """

    parameter: float
    name: str = "shrunk_dr"
    letter: ClassVar[str] = "lambda"
    dm_at: ClassVar[float | None] = 0.0
    highest: ClassVar[float] = np.inf
    needs_model: ClassVar[bool] = True
    caution: ClassVar[str] = "weights are shrunk: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not 0 <= self.parameter <= self.highest:
            allowed = "not negative" if np.isinf(self.highest) else f"in [0, {self.highest:g}]"
            raise ParameterError(self.letter, type(self).__name__, allowed=allowed, got=self.parameter)

    @property
    def has_interval(self) -> bool:  # type: ignore[override]
        """Whether the spread of the terms shows the error: not where the estimator is DM."""
        return self.parameter != self.dm_at

    @property
    def numerator(self) -> str:
        return f"{type(self).__name__}:{float(self.parameter)!r}"

    @abstractmethod
    def shrunk(self, weight: FloatArray) -> FloatArray:
        """(n,) weights -> (n,) weights that multiply the residuals."""

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, type(self).__name__)
        return value + self.shrunk(rows.weight) * (rows.reward - logged)


@dataclass(frozen=True)
class SwitchDr(ShrunkDr):
    """mean(sum over a of target(a) q(a) + w (r - q(logged)) where w <= tau): heavy rows are left to the model.

    Wang, Agarwal & Dudik (2017), section 3 (SWITCH-DR). tau = 0 is DM, tau = infinity is DR.
    """

    name: str = "switch_dr"
    letter: ClassVar[str] = "tau"
    caution: ClassVar[str] = (
        "rows of larger weight are left to the reward model: a bias that the interval does not hold"
    )

    def shrunk(self, weight: FloatArray) -> FloatArray:
        return np.where(weight <= self.parameter, weight, 0.0)


@dataclass(frozen=True)
class Dros(ShrunkDr):
    """DR with the weights shrunk to lambda w / (w^2 + lambda): the optimistic shrinkage.

    Su, Dimakopoulou, Krishnamurthy & Dudik (2020), section 3: it minimises a bound on the error that
    holds for any quality of the reward model. lambda = 0 is DM, lambda = infinity is DR.
    """

    name: str = "dros"

    def shrunk(self, weight: FloatArray) -> FloatArray:
        lam = self.parameter
        if np.isinf(lam):
            return weight
        if lam == 0:
            return np.zeros_like(weight)
        # In this form the square of a huge weight cannot overflow, and 0 stays 0.
        larger = np.maximum(weight, 1.0)
        return lam * (weight / larger) / (weight * (weight / larger) + lam / larger)


@dataclass(frozen=True)
class Drps(ShrunkDr):
    """mean(sum over a of target(a) q(a) + min(w, clip) (r - q(logged))): DR with clipped weights.

    Su, Dimakopoulou, Krishnamurthy & Dudik (2020), section 3: the shrinkage that is best when nothing is known of the
    reward model's quality (pessimistic). clip = 0 is DM, clip = infinity is DR.
    """

    name: str = "drps"
    letter: ClassVar[str] = "clip"
    caution: ClassVar[str] = "weights are clipped: a bias that the interval does not hold"

    def shrunk(self, weight: FloatArray) -> FloatArray:
        return np.minimum(weight, self.parameter)


@dataclass(frozen=True)
class SgDr(ShrunkDr):
    """DR with each weight replaced by its harmonic mean with 1, w / (1 - lambda + lambda w).

    Metelli, Russo & Restelli (2021), section 4, s = -1, on the residuals of the reward model. lambda, in [0, 1], is 0
    for DR.
    """

    name: str = "sg_dr"
    dm_at: ClassVar[float | None] = None
    highest: ClassVar[float] = 1.0

    def shrunk(self, weight: FloatArray) -> FloatArray:
        return harmonic_weight(weight, self.parameter)
