"""Self-normalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import WEIGHT, WEIGHTED_REWARD, PointEstimate, Rows, Traits, estimate_rows
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Snips(Traits):
    """sum(w r) / sum(w): within the range of the rewards, unmoved by a constant added to all of them, slightly biased.

    Swaminathan & Joachims (2015). Its influence function is w (r - value) / mean(w): the denominator is random and its
    error is part of the interval.
    """

    name: str = "snips"
    numerator: ClassVar[str] = WEIGHTED_REWARD
    denominator: ClassVar[str] = WEIGHT

    def terms(self, rows: Rows) -> FloatArray:
        return rows.weight * rows.reward


def snips(weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Self-normalised scoring of (n,) weights and rewards; NaN where no row has weight. See `estimate_rows`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Snips(), Rows(reward, weight), cluster)
