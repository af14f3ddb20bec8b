"""Inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import WEIGHTED_REWARD, PointEstimate, Rows, Traits, estimate_rows
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Ips(Traits):
    """mean(w r), w = target / propensity: unbiased where the log's propensities are right and nothing is unsupported.

    Horvitz & Thompson (1952); for logged bandits Dudik, Langford & Li (2011), section 2. Its influence
    function is w r - value.
    """

    name: str = "ips"
    numerator: ClassVar[str] = WEIGHTED_REWARD

    def terms(self, rows: Rows) -> FloatArray:
        return rows.weight * rows.reward


def ips(weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Inverse propensity scoring of (n,) weights and rewards; see `Ips` and `estimate_rows`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Ips(), Rows(reward, weight), cluster)
