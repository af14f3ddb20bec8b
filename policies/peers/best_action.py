"""The best single action of the training log, hold included, for everybody."""

from __future__ import annotations

import numpy as np

from engine.features import ContextBlock
from engine.types import BoolArray, FloatArray
from policies.exploring.action_values import ActionValues
from policies.exploring.ranked import one_hot_best


class BestAction:
    """The action with the highest mean reward in the log, the next best where it is not eligible.

    Source: the self-normalised estimate of each constant policy, Swaminathan & Joachims, "The Self-Normalized Estimator
    for Counterfactual Learning", NeurIPS 2015: sum r / p over sum 1 / p of its rounds. What an A/B/n test launches.

    Args:
        values: of one group, from the training log (`policies.exploring.action_values.ActionSums`).
    """

    name = "best_action"

    def __init__(self, values: ActionValues) -> None:
        means = values.means()
        # An eligible set may hold only actions that were never logged; a finite floor still ranks them, last.
        self._preference = np.where(np.isfinite(means), means, np.finfo(np.float64).min / 2)

    @property
    def action(self) -> int:
        """The action, where everything is eligible."""
        return int(self._preference[0].argmax())

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) one-hot.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)
