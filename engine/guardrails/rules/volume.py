"""Volume budget over all contacts (catalogue F10): what is used up closes the channel.

This rule only reads how much has been sent; that concurrent blocks never exceed a budget together is the task of
`engine.limits`, which gives out quota. A slot on a later day is closed as well: the stricter reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask


class VolumeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes promotional sends on channels whose budget is used up, or where nobody counted.

    Attributes:
        max_per_day / max_per_7d: dispatched promotional sends; null is no budget, 0 is never.
        channels: counted together, and closed together; null is all channels of the catalog.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    applies_to: ClassVar[tuple[str, ...]] = ("promotional",)
    max_per_day: int | None = None
    max_per_7d: int | None = None
    channels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("max_per_day", "max_per_7d"):
            value = getattr(self, field)
            if value is not None and value < 0:
                raise ParameterError(field, "volume", allowed="0 or more, or null for no budget", got=value)
        if self.channels is not None and not self.channels:
            raise ParameterError("channels", "volume", allowed="a list of channels, or null for all", got=self.channels)

    def verdict(self, scene: Scene) -> Verdict:
        """The same for every contact."""
        if not self._exhausted(scene):
            return Verdict()
        return closed_channels(scene, self._named(scene))

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """The budget that is used up; counts change only by counting again."""
        span, used, limit = self._exhausted(scene)[0]
        scope = ", ".join(self._named(scene))
        if used is None:
            return Finding("unknown", limit, f"nobody counted the sends on {scope} per {span}")
        return Finding(used, limit, f"{used} sends on {scope} per {span}, the budget is {limit}")

    def _named(self, scene: Scene) -> tuple[str, ...]:
        return scene.catalog.channels if self.channels is None else self.channels

    def _exhausted(self, scene: Scene) -> list[tuple[str, int | None, int]]:
        conditions, named = scene.conditions, self._named(scene)
        budgets = (("day", conditions.sent_today, self.max_per_day), ("7 days", conditions.sent_7d, self.max_per_7d))
        found = []
        for span, counts, limit in budgets:
            used = total(counts, named)
            if limit is not None and (used is None or used >= limit):
                found.append((span, used, limit))
        return found


def total(counts: Mapping[str, int] | None, channels: tuple[str, ...]) -> int | None:
    """Sends on these channels together; None where one of them was not counted."""
    if counts is None or any(name not in counts for name in channels):
        return None
    return sum(counts[name] for name in channels)


def closed_channels(scene: Scene, names: tuple[str, ...]) -> Verdict:
    """Promotional sends on the named channels removed for every contact."""
    closed = np.array([name in names for name in scene.catalog.channels], dtype=np.bool_)
    factor = purpose_mask(("promotional",))[:, None] & closed
    return Verdict(channel_hour=np.broadcast_to(factor[None, :, :, None], (scene.contacts.n, *factor.shape, 1)))


RULE = VolumeRule
