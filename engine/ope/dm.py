"""The direct method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray


@dataclass(frozen=True)
class Dm(Traits):
    """mean over rows of sum over a of target(a) q(a): as good as the reward model q, whose error no row shows.

    Dudik, Langford & Li (2011), section 2. The spread of its terms is the spread of
    the contexts, not of the model's error, so it carries no standard error and no interval.
    """

    name: str = "dm"
    numerator: ClassVar[str] = "model_value"
    needs_model: ClassVar[bool] = True
    has_interval: ClassVar[bool] = False
    caution: ClassVar[str] = "no interval: the spread of the rows does not show the reward model's own error"

    def terms(self, rows: Rows) -> FloatArray:
        return require_model(rows, "Dm")[0]


def dm(model_value: FloatArray) -> PointEstimate:
    """Direct method of (n,) expectations under the target; its stderr is NaN. See `Dm`.

    Raises:
        ParameterError: no rows.
    """
    found = estimate_rows(Dm(), Rows(model_value, model_value, model_value, model_value))
    return PointEstimate(found.value, float("nan"), found.n)
