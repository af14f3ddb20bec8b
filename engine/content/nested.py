"""Nested inversion: one uniform picks a channel and hour, what is left of it a block, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.content.groups import SlotGroup
from engine.types import HOLD, CodeArray, FloatArray, IntArray

# The largest float below 1: what is left of a uniform must stay below 1.
_BELOW_ONE = float(np.nextafter(1.0, 0.0))


def picked(weight: FloatArray, uniform: FloatArray) -> tuple[IntArray, FloatArray]:
    """Pick one column per row in proportion to its weight, by inversion of the running sum.

    Given the pick, what is left of the uniform is again uniform on [0, 1), so the next pick needs no other one. A draw
    among m actions uses up log2(m) of its 53 bits.

    Args:
        weight: (n, m), not negative, some of each row positive.
        uniform: (n,) in [0, 1).

    Returns:
        (n,) columns of positive weight, and (n,) what is left of the uniforms, in [0, 1).
    """
    running = np.cumsum(weight, axis=1)
    total = running[:, -1]
    point = uniform * total
    # Rounding of the product may reach the total: then the column that completes the sum is meant.
    last = np.argmax(running >= total[:, None], axis=1)
    column = np.minimum((running <= point[:, None]).sum(axis=1), last)
    rows = np.arange(len(weight))
    size = weight[rows, column]
    left = (point - (running[rows, column] - size)) / size
    return column.astype(np.int64), np.clip(left, 0.0, _BELOW_ONE)


def placed(catalog: Catalog, groups: Sequence[SlotGroup], cell: IntArray, members: Sequence[IntArray]) -> CodeArray:
    """The actions of picked cells and combinations.

    Args:
        cell: (n,) 0 for hold, else 1 + channel x hours + hour.
        members: per group (n,) its combination.
    """
    modular = modular_of(catalog)
    positions = np.empty((len(cell), len(modular.sizes)), dtype=np.int64)
    for group, member in zip(groups, members, strict=True):
        positions[:, group.slots] = group.positions[member]
    arm = modular.arm(positions)
    action = 1 + (cell - 1) * modular.arms + arm
    return np.where(cell == HOLD, HOLD, action).astype(np.int32)


def cells_of(catalog: Catalog, groups: Sequence[SlotGroup], action: CodeArray) -> tuple[IntArray, list[IntArray]]:
    """Cells (n,) and per group combinations (n,) of actions; the inverse of `placed`. Hold has combination 0."""
    channel, hour, arm = catalog.split(action)
    modular = modular_of(catalog)
    positions = modular.positions(np.maximum(arm, 0))
    cell = np.where(arm < 0, HOLD, 1 + channel * catalog.shape[1] + hour)
    return cell, [
        np.asarray(np.ravel_multi_index(tuple(positions[:, group.slots].T), [modular.sizes[s] for s in group.slots]))
        for group in groups
    ]
