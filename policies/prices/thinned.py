"""A policy without scores under prices: some of its sends are held back, by chance, so that propensities stay exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.decide.asking import unchecked_distribution
from engine.features import ContextBlock
from engine.protocols import Policy
from engine.types import HOLD, BoolArray, FloatArray
from policies.peers.segmentation import Cut


@dataclass(frozen=True)
class ThinnedPolicy:
    """Every send keeps exp(-price) of its probability, hold gets the rest.

    For policies that rank nothing (uniform, segments, peers): a price cannot weigh a message's worth there, so all
    contacts pay alike. Subsidies change nothing, and where hold is not eligible nothing is thinned.

    Attributes:
        policy: to be thinned.
        kept: (G, C, K) share of each send's probability that stays, in [0, 1].
        hours: H, number of hour slots.
        cut: groups of contacts; None where G is 1.
    """

    policy: Policy
    kept: FloatArray
    hours: int
    cut: Cut | None = None

    @property
    def name(self) -> str:
        return f"{self.policy.name}, thinned"

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities; rows sum to 1, removed actions have exactly 0.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        before = unchecked_distribution(self.policy, context, eligible)
        group = self.cut.cell_of(context) if self.cut else np.zeros(context.n, dtype=np.int64)
        _, channels, arms = self.kept.shape
        out = before.copy()
        cells = out[:, HOLD + 1 :].reshape(context.n, channels, self.hours, arms)
        cells *= self.kept[group][:, :, None, :]
        # Summed over what was taken, not by difference: what was not thinned keeps its bytes.
        taken = np.cumsum((before - out)[:, HOLD + 1 :], axis=1)[:, -1]
        out[:, HOLD] += taken
        held = eligible[:, HOLD]
        out[~held] = before[~held]
        return out


def thinned(policy: Policy, table: FloatArray, hours: int, cut: Cut | None) -> ThinnedPolicy:
    """The policy under a price table (G, C, K), in units of exp(-price)."""
    return ThinnedPolicy(policy, np.exp(-np.maximum(table, 0.0)), hours, cut)
