"""Doubly robust with optimistic shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Dros(Traits):
    """DR with the weights shrunk to lambda w / (w^2 + lambda): the optimistic shrinkage.

    Su, Dimakopoulou, Krishnamurthy & Dudik (2020), section 3: it minimises a bound on the error that
    holds for any quality of the reward model. lambda = 0 is DM, lambda = infinity is DR.

    Attributes:
        lam: lambda, not negative.
    """

    lam: float
    name: str = "dros"
    needs_model: ClassVar[bool] = True
    caution: ClassVar[str] = "weights are shrunk: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not self.lam >= 0:
            raise ParameterError("lam", "Dros", allowed="not negative", got=self.lam)

    @property
    def has_interval(self) -> bool:  # type: ignore[override]
        """Not at 0: there it is DM."""
        return self.lam > 0

    @property
    def numerator(self) -> str:
        return f"dros:{float(self.lam)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, "Dros")
        return value + dros_weight(rows.weight, self.lam) * (rows.reward - logged)


def dros_weight(weight: FloatArray, lam: float) -> FloatArray:
    """(n,) weights -> (n,) weights shrunk towards 0."""
    if np.isinf(lam):
        return weight
    # In this form the square of a huge weight cannot overflow, and 0 stays 0.
    larger = np.maximum(weight, 1.0)
    return lam * (weight / larger) / (weight * (weight / larger) + lam / larger) if lam > 0 else np.zeros_like(weight)


def dros(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    lam: float,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Doubly robust estimate with optimistic shrinkage of (n,) arrays; see `Dros` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `lam` negative.
    """
    return estimate_rows(Dros(lam), Rows(reward, weight, model_value, model_logged), cluster)
