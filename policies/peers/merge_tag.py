"""Merge-tag blast: one message for everybody, always sent; the name in the greeting is all that differs."""

from __future__ import annotations

import numpy as np

from engine.features import ContextBlock
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.action_values import ActionValues
from policies.exploring.ranked import one_hot_best


class MergeTagBlast:
    """The best single send action of the training log for everybody, the next best where it is not eligible.

    Holds only where nothing may be sent.

    Args:
        values: of one group, from the training log.
    """

    name = "merge_tag_blast"

    def __init__(self, values: ActionValues) -> None:
        preference = values.means()
        # Any send comes before hold, a send that was never logged before hold too: a blast does not hold back.
        preference = np.where(np.isfinite(preference), preference, np.finfo(np.float64).min / 4)
        preference[:, HOLD] = np.finfo(np.float64).min / 2
        self._preference = preference

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k) one-hot.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference, eligible)
