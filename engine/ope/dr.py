"""The doubly robust estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Dr(Traits):
    """mean(sum over a of target(a) q(a) + w (r - q(logged action))): right where the model or the propensities are.

    Dudik, Langford & Li (2011), section 2. With q fitted on other folds (`engine.ope.crossfit`) its terms are
    independent of the model's noise, and the spread of the terms gives its error (Chernozhukov et al. 2018, section 3).
    """

    name: str = "dr"
    numerator: ClassVar[str] = "doubly_robust"
    needs_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        model_value, model_logged = require_model(rows, "Dr")
        return model_value + rows.weight * (rows.reward - model_logged)


def dr(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Doubly robust estimate of (n,) arrays; see `Dr` and `Rows`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Dr(), Rows(reward, weight, model_value, model_logged), cluster)
