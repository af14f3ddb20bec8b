"""The uniform policy over assemblies: what a first log of a modular catalog is best decided by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.content.drawing import uniform_actions
from engine.content.eligibility import BlockEligibility
from engine.features import ContextBlock
from engine.types import BoolArray, CodeArray, FloatArray
from policies.exploring.exploration import uniform


@dataclass(frozen=True)
class UniformBlocks:
    """Every eligible action with the same probability, and none of them listed."""

    name: str = "uniform"

    def choose_blocks(
        self,
        context: ContextBlock,  # noqa: ARG002 - as of every policy
        eligibility: BlockEligibility,
        uniform: FloatArray,
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and its propensity (n,)."""
        return uniform_actions(eligibility, uniform), 1.0 / eligibility.counts()

    def block_probability(
        self,
        context: ContextBlock,  # noqa: ARG002 - as of every policy
        eligibility: BlockEligibility,
        action: CodeArray,
    ) -> FloatArray:
        """(n,) 1 / the number of eligible actions; 0 where the action is not eligible."""
        return np.where(eligibility.contains(action), 1.0 / eligibility.counts(), 0.0)

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) probabilities."""
        return uniform(eligible)
