"""The switch estimator with a doubly robust part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class SwitchDr(Traits):
    """mean(sum over a of target(a) q(a) + w (r - q(logged)) where w <= tau): heavy rows are left to the model.

    Wang, Agarwal & Dudik (2017), section 3 (SWITCH-DR). tau = 0 is DM, tau = infinity is DR.

    Attributes:
        tau: largest weight whose residual still counts, not negative.
    """

    tau: float
    name: str = "switch_dr"
    needs_model: ClassVar[bool] = True
    caution: ClassVar[str] = (
        "rows of larger weight are left to the reward model: a bias that the interval does not hold"
    )

    def __post_init__(self) -> None:
        if not self.tau >= 0:
            raise ParameterError("tau", "SwitchDr", allowed="not negative", got=self.tau)

    @property
    def has_interval(self) -> bool:  # type: ignore[override]
        """Not at 0: there it is DM."""
        return self.tau > 0

    @property
    def numerator(self) -> str:
        return f"switch_dr:{float(self.tau)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, "SwitchDr")
        return value + switch_dr_weight(rows.weight, self.tau) * (rows.reward - logged)


def switch_dr_weight(weight: FloatArray, tau: float) -> FloatArray:
    """(n,) weights -> (n,) weights, 0 above `tau`."""
    return np.where(weight <= tau, weight, 0.0)


def switch_dr(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    tau: float,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """The switch estimator with a doubly robust part of (n,) arrays; see `SwitchDr` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `tau` negative.
    """
    return estimate_rows(SwitchDr(tau), Rows(reward, weight, model_value, model_logged), cluster)
