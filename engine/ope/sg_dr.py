"""The doubly robust estimator with sub-Gaussian weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.errors import ParameterError
from engine.ope.sg_ips import sg_ips_weight
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class SgDr(Traits):
    """DR with each weight replaced by its harmonic mean with 1, w / (1 - lambda + lambda w).

    Metelli, Russo & Restelli (2021), section 4, s = -1, on the residuals of the reward model. lambda = 0 is DR.

    Attributes:
        lam: lambda, in [0, 1].
    """

    lam: float
    name: str = "sg_dr"
    needs_model: ClassVar[bool] = True
    caution: ClassVar[str] = "weights are shrunk: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not 0 <= self.lam <= 1:
            raise ParameterError("lam", "SgDr", allowed="in [0, 1]", got=self.lam)

    @property
    def numerator(self) -> str:
        return f"sg_dr:{float(self.lam)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, "SgDr")
        return value + sg_ips_weight(rows.weight, self.lam) * (rows.reward - logged)


def sg_dr(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    lam: float,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Doubly robust estimate with sub-Gaussian weights of (n,) arrays; see `SgDr` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `lam` not in [0, 1].
    """
    return estimate_rows(SgDr(lam), Rows(reward, weight, model_value, model_logged), cluster)
