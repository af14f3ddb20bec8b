"""Balanced inverse propensity scoring of a log that several policies decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import BALANCED_WEIGHT, PointEstimate, Rows, Traits, estimate_rows, required
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Balanced(Traits):
    """mean(w r), w = target / mean over all loggers of their probability of the logged action, by their shares of rows.

    Agarwal, Basu, Schnabel & Joachims (2017), section 4 (balanced IPS): never more variance than scoring each row by
    its own logger, and a weight is large only where no logger liked what the target likes.
    """

    name: str = "balanced"
    numerator: ClassVar[str] = "balanced_reward"
    weight: ClassVar[str] = BALANCED_WEIGHT

    def terms(self, rows: Rows) -> FloatArray:
        return required(rows.balanced_weight, BALANCED_WEIGHT, "Balanced") * rows.reward


def balanced(balanced_weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Balanced scoring of (n,) weights (`engine.ope.loggers`) and rewards; see `Balanced` and `estimate_rows`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Balanced(), Rows(reward, balanced_weight, balanced_weight=balanced_weight), cluster)
