"""Policies that know nothing of a contact: one constant action, the best of a log, a blast, and chance."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import require_eligible
from engine.features import ContextBatch
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.action_values import ActionValues
from policies.exploring.exploration import one_hot_best


class AlwaysPolicy:
    """The same action wherever it is eligible; hold where it is not.

    Where neither is eligible (a log that never held), the first eligible action is taken.

    Args:
        catalog: names the actions.
        action: name, alias, or "hold".

    Raises:
        DataError: unknown action.
    """

    def __init__(self, catalog: Catalog, action: str) -> None:
        self.name = f"always:{action}"
        self.action = catalog.resolve(action)
        preference = np.zeros((1, catalog.k))
        preference[0, HOLD] = 1.0
        preference[0, self.action] = 2.0
        self._preference = preference

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)


class UniformPolicy:
    """Every eligible action with the same probability."""

    name = "uniform"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) probabilities, 1 / (number eligible) on each eligible action.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        require_eligible(eligible)
        # Divide once per row: 1 / count is the same double that a log with propensity 1 / k holds, so weights are 1.
        share = 1.0 / eligible.sum(axis=1)
        return np.where(eligible, share[:, None], 0.0)


class AnySendPolicy:
    """A message drawn alike from all that may be sent; hold only where nothing may be.

    Whether messages help at all is asked of it against none, without picking the best of many messages first.
    """

    name = "any_send"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) probabilities, 1 / (number of eligible messages) on each eligible message.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        require_eligible(eligible)
        sends = eligible.copy()
        sends[:, HOLD] &= ~eligible[:, HOLD + 1 :].any(axis=1)
        share = 1.0 / sends.sum(axis=1)
        return np.where(sends, share[:, None], 0.0)


class BestAction:
    """The action with the highest mean reward in the log, the next best where it is not eligible.

    Source: the self-normalised estimate of each constant policy, Swaminathan & Joachims, "The Self-Normalized Estimator
    for Counterfactual Learning", NeurIPS 2015: sum r / p over sum 1 / p of its rounds. What an A/B/n test launches.

    Args:
        values: the values of one group, from the training log (`policies.exploring.action_values.ActionSums`).
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

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)


class MergeTagBlast:
    """The best single send action of the training log for everybody, the next best where it is not eligible.

    Holds only where nothing may be sent.

    Args:
        values: the values of one group, from the training log.
    """

    name = "merge_tag_blast"

    def __init__(self, values: ActionValues) -> None:
        preference = values.means()
        # Any send comes before hold, a send that was never logged before hold too: a blast does not hold back.
        preference = np.where(np.isfinite(preference), preference, np.finfo(np.float64).min / 4)
        preference[:, HOLD] = np.finfo(np.float64).min / 2
        self._preference = preference

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)
