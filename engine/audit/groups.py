"""Groups of actions whose draws are counted: hold, any send's channel, hour and content arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import is_modular, modular_of
from engine.types import HOLD, BoolArray, IntArray

ANY = "any action"


@dataclass(frozen=True)
class ActionGroups:
    """G groups.

    Attributes:
        names: (G,) "any action", "hold", "channel email" ...; axes of size 1 have none but hold's opposite.
        member: (k, G) whether an action is of a group.
        of: (k, A) groups of each action, one per axis; -1 pads.
    """

    names: tuple[str, ...]
    member: BoolArray
    of: IntArray


def action_groups(catalog: Catalog) -> ActionGroups:
    """The groups of a catalog: all, hold, and each value of each axis that has several."""
    k = catalog.k
    names, masks = [ANY, "hold"], [np.ones(k, dtype=np.bool_), np.arange(k) == HOLD]
    columns = [np.zeros(k, dtype=np.int64), np.where(np.arange(k) == HOLD, 1, -1)]
    places: tuple[IntArray, ...] = catalog.split(np.arange(k))
    axes = [("channel", catalog.channels), ("hour", tuple(map(str, catalog.hours))), ("arm", catalog.arm_ids)]
    if is_modular(catalog):
        axes[2:], places = _slots(catalog), (*places[:2], *_blocks(catalog, places[2]))
    for (axis, values), place in zip(axes, places, strict=True):
        if len(values) < 2:
            continue
        columns.append(np.where(place >= 0, place + len(names), -1).astype(np.int64))
        for position, value in enumerate(values):
            names.append(f"{axis} {value}")
            masks.append(place == position)
    if len(names) == 2:
        columns.append(np.where(np.arange(k) == HOLD, -1, 2))
        names.append("send")
        masks.append(np.arange(k) != HOLD)
    return ActionGroups(tuple(names), np.column_stack(masks), np.column_stack(columns))


def _slots(catalog: Catalog) -> list[tuple[str, tuple[str, ...]]]:
    """The slots of a modular catalog, each an axis of its blocks."""
    return [(slot.id, tuple(block.id for block in slot.blocks)) for slot in modular_of(catalog).slots]


def _blocks(catalog: Catalog, arm: IntArray) -> list[IntArray]:
    """Per slot (k,) position of each action's block; -1 for hold."""
    positions = modular_of(catalog).positions(np.maximum(arm, 0))
    return [np.where(arm < 0, -1, column) for column in positions.T]
