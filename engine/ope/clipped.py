"""Inverse propensity scoring with clipped weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Clipped(Traits):
    """mean(min(w, clip) r): less variance for a bias that the interval does not hold.

    Ionides (2008); Bottou et al. (2013), section 4. For rewards of one sign the bias is towards 0.

    Attributes:
        clip: largest weight that is let through, positive.
    """

    clip: float
    name: str = "clipped"
    caution: ClassVar[str] = "weights are clipped: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ParameterError("clip", "Clipped", allowed="positive", got=self.clip)

    @property
    def numerator(self) -> str:
        return f"clipped_reward:{float(self.clip)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        return np.minimum(rows.weight, self.clip) * rows.reward


def clipped(weight: FloatArray, reward: FloatArray, clip: float, cluster: KeyArray | None = None) -> PointEstimate:
    """Clipped scoring of (n,) weights and rewards; see `Clipped` and `estimate_rows`.

    Raises:
        ParameterError: no rows, or `clip` not positive.
    """
    return estimate_rows(Clipped(clip), Rows(reward, weight), cluster)
