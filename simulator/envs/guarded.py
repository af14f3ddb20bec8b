"""What an environment lets through: an action that the guardrails removed, or that nobody asked for, becomes hold."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import Eligibility
from engine.types import HOLD, BoolArray, CodeArray, IntArray


def allowed(eligibility: Eligibility, catalog: Catalog, action: CodeArray | IntArray) -> BoolArray:
    """(m,) whether each row's action is eligible; hold always is.

    Args:
        eligibility: of m rows.
        catalog: of the actions.
        action: (m,) in [0, k).
    """
    channel, hour, arm = catalog.split(action)
    rows = np.arange(len(action))
    by_arm = eligibility.channel_arm[rows, channel, arm]
    by_hour = eligibility.channel_hour[rows, catalog.purpose_codes[arm], channel, hour]
    return np.asarray((action == HOLD) | (by_arm & by_hour), dtype=np.bool_)


def masks(eligibility: Eligibility, deciding: BoolArray) -> BoolArray:
    """(m, k) bool: what may be chosen; hold alone for rows that are not decided for."""
    mask = eligibility.dense()
    mask[~deciding, HOLD + 1 :] = False
    return mask
