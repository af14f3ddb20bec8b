"""The doubly robust estimator of a log that several policies decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import BALANCED_WEIGHT, PointEstimate, Rows, Traits, estimate_rows, require_model, required
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class BalancedDr(Traits):
    """mean(sum over a of target(a) q(a) + w (r - q(logged))) with the balanced weight.

    Kallus, Saito & Uehara (2021), section 4: of all unbiased estimators that pool several loggers none has a smaller
    variance when the model is right.
    """

    name: str = "balanced_dr"
    numerator: ClassVar[str] = "balanced_doubly_robust"
    weight: ClassVar[str] = BALANCED_WEIGHT
    needs_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, "BalancedDr")
        return value + required(rows.balanced_weight, BALANCED_WEIGHT, "BalancedDr") * (rows.reward - logged)


def balanced_dr(
    balanced_weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Balanced doubly robust estimate of (n,) arrays; see `BalancedDr` and `estimate_rows`.

    Raises:
        ParameterError: no rows.
    """
    rows = Rows(reward, balanced_weight, model_value, model_logged, balanced_weight=balanced_weight)
    return estimate_rows(BalancedDr(), rows, cluster)
