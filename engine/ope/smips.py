"""Self-normalised marginalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.mips import Mips
from engine.ope.terms import EMBEDDING_WEIGHT, PointEstimate, Rows, Traits, estimate_rows, required
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Smips(Traits):
    """sum(w(x, e) r) / sum(w(x, e)): SNIPS with the weights of the attributes.

    Saito & Joachims (2022) for the weights, Swaminathan & Joachims (2015) for the ratio. It asks of the attributes what
    MIPS asks.
    """

    name: str = "smips"
    numerator: ClassVar[str] = Mips.numerator
    denominator: ClassVar[str] = EMBEDDING_WEIGHT
    weight: ClassVar[str] = EMBEDDING_WEIGHT
    caution: ClassVar[str] = Mips.caution

    def terms(self, rows: Rows) -> FloatArray:
        return required(rows.embedding_weight, EMBEDDING_WEIGHT, "Smips") * rows.reward


def smips(embedding_weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Self-normalised marginalised scoring of (n,) weights of attributes and rewards; see `Smips`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Smips(), Rows(reward, embedding_weight, embedding_weight=embedding_weight), cluster)
