"""Groups of slots that depend on each other: within a group combinations are listed, between groups they factorise.

Slots that stand together in a forbidden set, or whose products a model has learnt, form one group. With no such link
every slot is a group of its own; with links from each slot to each other there is one group of all assemblies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.content.modular import Modular
from engine.errors import ParameterError
from engine.sealing import sealed
from engine.types import BoolArray, IntArray

MOST_MEMBERS: Final = 4096


@dataclass(frozen=True)
class SlotGroup:
    """The combinations of some slots.

    Attributes:
        slots: (g,) positions of the slots, ascending.
        positions: (m, g) position of each combination's block in each of the slots, in the order of arms.
        blocks: (m, g) the same as positions among all blocks.
        allowed: (m,) false where the combination is forbidden.
    """

    slots: tuple[int, ...]
    positions: IntArray
    blocks: IntArray
    allowed: BoolArray

    @property
    def m(self) -> int:
        return len(self.allowed)


def slot_groups(modular: Modular, links: Iterable[Iterable[int]] = ()) -> tuple[SlotGroup, ...]:
    """The groups, ordered by their first slot.

    Args:
        modular: the blocks.
        links: sets of slots that must stand in one group, beside those of forbidden sets.

    Raises:
        ParameterError: a group has more than 4096 combinations.
    """
    barred = [[modular.at(name) for name in sorted(one)] for one in modular.barred()]
    joined = _joined(len(modular.sizes), [*links, *([slot for slot, _ in one] for one in barred)])
    return tuple(_group(modular, slots, barred) for slots in joined)


def _joined(slots: int, links: Iterable[Iterable[int]]) -> list[tuple[int, ...]]:
    owner = list(range(slots))
    for link in links:
        together = {owner[slot] for slot in link}
        if together:
            owner = [min(together) if one in together else one for one in owner]
    return [tuple(slot for slot in range(slots) if owner[slot] == first) for first in sorted(set(owner))]


def _group(modular: Modular, slots: tuple[int, ...], barred: list[list[tuple[int, int]]]) -> SlotGroup:
    sizes = [modular.sizes[slot] for slot in slots]
    members = int(np.prod(sizes))
    if members > MOST_MEMBERS:
        raise ParameterError(
            "forbidden",
            "a modular catalog",
            allowed=f"such that linked slots have at most {MOST_MEMBERS} combinations",
            got=f"{members} of the slots {[modular.slots[slot].id for slot in slots]}",
            hint="forbid fewer sets, or learn fewer pairs of slots",
        )
    positions = np.stack(np.unravel_index(np.arange(members), sizes), axis=-1).astype(np.int64)
    allowed = np.ones(members, dtype=np.bool_)
    for one in barred:
        if all(slot in slots for slot, _ in one):
            allowed &= ~np.all([positions[:, slots.index(slot)] == at for slot, at in one], axis=0)
    blocks = positions + np.array([modular.first[slot] for slot in slots])
    # Rules and policies share the groups of a catalog, which are remembered.
    return SlotGroup(slots, sealed(positions), sealed(blocks), sealed(allowed))
