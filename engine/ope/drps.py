"""Doubly robust with pessimistic shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Drps(Traits):
    """mean(sum over a of target(a) q(a) + min(w, clip) (r - q(logged))): DR with clipped weights.

    Su, Dimakopoulou, Krishnamurthy & Dudik (2020), section 3: the shrinkage that is best when nothing is known of the
    reward model's quality (pessimistic). clip = 0 is DM, clip = infinity is DR.

    Attributes:
        clip: largest weight that is let through, not negative.
    """

    clip: float
    name: str = "drps"
    needs_model: ClassVar[bool] = True
    caution: ClassVar[str] = "weights are clipped: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not self.clip >= 0:
            raise ParameterError("clip", "Drps", allowed="not negative", got=self.clip)

    @property
    def has_interval(self) -> bool:  # type: ignore[override]
        """Not at 0: there it is DM."""
        return self.clip > 0

    @property
    def numerator(self) -> str:
        return f"drps:{float(self.clip)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = require_model(rows, "Drps")
        return value + drps_weight(rows.weight, self.clip) * (rows.reward - logged)


def drps_weight(weight: FloatArray, clip: float) -> FloatArray:
    """(n,) weights -> (n,) weights, at most `clip`."""
    return np.minimum(weight, clip)


def drps(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    clip: float,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Doubly robust estimate with pessimistic shrinkage of (n,) arrays; see `Drps` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `clip` negative.
    """
    return estimate_rows(Drps(clip), Rows(reward, weight, model_value, model_logged), cluster)
