"""Inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ope.terms import ONE, WEIGHTED_REWARD, PointEstimate, Rows, estimate_rows
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Ips:
    """mean(w r), w = target / propensity: unbiased where the log's propensities are right and nothing is unsupported.

    Horvitz & Thompson (1952); for logged bandits Dudik, Langford & Li (2011), section 2. Its influence
    function is w r - value.
    """

    name: str = "ips"
    numerator: str = WEIGHTED_REWARD
    denominator: str = ONE
    needs_model: bool = False
    has_interval: bool = True

    def terms(self, rows: Rows) -> FloatArray:
        return rows.weight * rows.reward


def ips(weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Inverse propensity scoring of (n,) weights and rewards; see `Ips` and `estimate_rows`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Ips(), Rows(reward, weight), cluster)
