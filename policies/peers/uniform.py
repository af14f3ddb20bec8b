"""Uniform over the eligible actions: the reference distribution of every exploration slice."""

from __future__ import annotations

import numpy as np

from engine.eligibility import require_eligible
from engine.features import ContextBlock
from engine.types import BoolArray, FloatArray


class UniformPolicy:
    """Every eligible action with the same probability."""

    name = "uniform"

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) probabilities, 1 / (number eligible) on each eligible action.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        require_eligible(eligible)
        # Divide once per row: 1 / count is the same double that a log with propensity 1 / k holds, so weights are 1.
        share = 1.0 / eligible.sum(axis=1)
        return np.where(eligible, share[:, None], 0.0)
