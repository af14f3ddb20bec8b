"""Inverse propensity scoring with sub-Gaussian weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class SgIps(Traits):
    """mean(w / (1 - lambda + lambda w) r): the weight is replaced by its harmonic mean with 1, at most 1 / lambda.

    Metelli, Russo & Restelli (2021), section 4, s = -1: with lambda of order sqrt(log(1 / delta) / n) the error has
    sub-Gaussian tails although the weights have none. lambda = 0 is IPS.

    Attributes:
        lam: lambda, in [0, 1].
    """

    lam: float
    name: str = "sg_ips"
    needs_model: ClassVar[bool] = False
    caution: ClassVar[str] = "weights are shrunk: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not 0 <= self.lam <= 1:
            raise ParameterError("lam", "SgIps", allowed="in [0, 1]", got=self.lam)

    @property
    def numerator(self) -> str:
        return f"sg_ips:{float(self.lam)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        return sg_ips_weight(rows.weight, self.lam) * rows.reward


def sg_ips_weight(weight: FloatArray, lam: float) -> FloatArray:
    """(n,) weights -> (n,) harmonic mean of each weight and 1."""
    return weight / (1.0 - lam + lam * weight) if lam < 1 else (weight > 0).astype(np.float64)


def sg_ips(
    weight: FloatArray,
    reward: FloatArray,
    lam: float,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Inverse propensity scoring with sub-Gaussian weights of (n,) arrays; see `SgIps` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `lam` not in [0, 1].
    """
    return estimate_rows(SgIps(lam), Rows(reward, weight), cluster)
