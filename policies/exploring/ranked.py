"""Give each row its best eligible action out of a table of preferences; shared by the policies without exploration."""

from __future__ import annotations

import numpy as np

from engine.eligibility import require_eligible
from engine.types import BoolArray, FloatArray


def one_hot_best(preference: FloatArray, eligible: BoolArray) -> FloatArray:
    """(n, k) or (1, k) preferences -> (n, k) one-hot of the best eligible action; ties go to the lower index.

    Raises:
        EligibilityError: a row without an eligible action.
    """
    require_eligible(eligible)
    best = np.where(eligible, preference, -np.inf).argmax(axis=1)
    out = np.zeros(eligible.shape)
    out[np.arange(len(eligible)), best] = 1.0
    return out
