"""The self-normalised doubly robust estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.dm import Dm
from engine.ope.terms import WEIGHT, Estimator, PointEstimate, Rows, Traits, estimate_rows, require_model
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Sndr(Traits):
    """mean over rows of the model's value + sum(w (r - q)) / sum(w): DR with SNIPS in place of IPS on the residuals.

    Thomas & Brunskill (2016), section 5 (weighted doubly robust), for one step; Kallus & Uehara (2019). Without a model
    it is SNIPS; where the weights have mean 1 it is DR. Both ratios' errors are in its interval.
    """

    name: str = "sndr"
    numerator: ClassVar[str] = "weighted_residual"
    denominator: ClassVar[str] = WEIGHT
    offset: ClassVar[Estimator | None] = Dm()
    needs_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        return rows.weight * (rows.reward - require_model(rows, "Sndr")[1])


def sndr(
    weight: FloatArray,
    reward: FloatArray,
    model_value: FloatArray,
    model_logged: FloatArray,
    cluster: KeyArray | None = None,
) -> PointEstimate:
    """Self-normalised doubly robust estimate of (n,) arrays; NaN where no row has weight. See `Sndr`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Sndr(), Rows(reward, weight, model_value, model_logged), cluster)
