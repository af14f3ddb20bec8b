"""Lists of people to whom nothing is sent: minors, deceased, employees, litigators (catalogue O10).

Names that a pack does not call harmless block, so that a list nobody thought of, or a typing error, never opens.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import PURPOSES


class ListsRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes every send to contacts on a list that is not harmless.

    Attributes:
        blocks: lists known to block; names in neither field block too.
        harmless: lists that block nothing.
    """

    blocks: tuple[str, ...] = ("minor", "deceased", "employee", "litigator")
    harmless: tuple[str, ...] = ()

    reads: ClassVar[tuple[str, ...]] = ("lists",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def __post_init__(self) -> None:
        both = sorted(set(self.blocks) & set(self.harmless))
        if both:
            raise ParameterError("harmless", "lists", allowed="none of `blocks`", got=both)

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by set of lists first, then gather."""
        sets = scene.contacts.levels["lists"]
        blocked = np.array([*(bool(self._blocking(one)) for one in sets), True])[scene.contacts.extra["lists"]]
        return Verdict(channel_arm=blocked[:, None, None]) if blocked.any() else Verdict()

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The lists that block."""
        names = self._blocking(scene.contacts.levels["lists"][int(scene.contacts.extra["lists"][row])])
        reason = f"nothing, {scene.catalog.arm_ids[cell.arm]!r} included, goes to people on the list {', '.join(names)}"
        return Finding(names, "on no such list", reason)

    def _blocking(self, names: str) -> list[str]:
        return [name for name in names.split(",") if name and name not in self.harmless]


RULE = ListsRule
