"""One constant action for everybody."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.features import ContextBlock
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.ranked import one_hot_best


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

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) one-hot.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)
