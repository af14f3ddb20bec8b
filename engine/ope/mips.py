"""Marginalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engine.ope.terms import EMBEDDING_WEIGHT, PointEstimate, Rows, Traits, estimate_rows, required
from engine.types import FloatArray, KeyArray


@dataclass(frozen=True)
class Mips(Traits):
    """mean(w(x, e) r), w(x, e) = target / logging probability of the logged action's attributes e.

    Saito & Joachims (2022), section 3. Unbiased where an action acts on the reward through these attributes alone (no
    direct effect); actions that share their attributes then speak for each other, which many actions
    need. Attributes of a catalog are known for every action, so the weight is a sum over actions, not an estimate.
    """

    name: str = "mips"
    numerator: ClassVar[str] = "embedding_weighted_reward"
    weight: ClassVar[str] = EMBEDDING_WEIGHT
    caution: ClassVar[str] = (
        "holds only where the action acts through the chosen attributes alone: otherwise a bias that the interval "
        "does not hold"
    )

    def terms(self, rows: Rows) -> FloatArray:
        return required(rows.embedding_weight, EMBEDDING_WEIGHT, "Mips") * rows.reward


def mips(embedding_weight: FloatArray, reward: FloatArray, cluster: KeyArray | None = None) -> PointEstimate:
    """Marginalised scoring of (n,) weights of attributes (`engine.ope.embedding`) and rewards; see `Mips`.

    Raises:
        ParameterError: no rows.
    """
    return estimate_rows(Mips(), Rows(reward, embedding_weight, embedding_weight=embedding_weight), cluster)
