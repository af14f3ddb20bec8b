"""Ramp per channel (catalogue F11): no sudden growth of the daily volume.

Only reads how much has been sent today and yesterday; `engine.limits` keeps concurrent blocks under the ramp exactly.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.guardrails.rules.volume import closed_channels

_MILLIONTH = 1_000_000


class RampRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes promotional sends on a channel that has sent today what its ramp allows, or where nobody counted.

    Attributes:
        growth: 0.2 is 20 % more than yesterday.
        floor: sends a day that are always allowed.
        channels: each by itself; null is all channels of the catalog.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    applies_to: ClassVar[tuple[str, ...]] = ("promotional",)
    growth: float
    floor: int
    channels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.growth <= _MILLIONTH:
            raise ParameterError("growth", "ramp", allowed="0 or more, finite", got=self.growth)
        if self.floor < 0:
            raise ParameterError("floor", "ramp", allowed="0 or more", got=self.floor)
        if self.channels is not None and not self.channels:
            raise ParameterError("channels", "ramp", allowed="a list of channels, or null for all", got=self.channels)

    def verdict(self, scene: Scene) -> Verdict:
        """The same for every contact."""
        closed = tuple(name for name in self._named(scene) if self._full(scene, name))
        return closed_channels(scene, closed) if closed else Verdict()

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """Today's volume against what yesterday's allows."""
        name = scene.catalog.channels[cell.channel]
        today, limit = self._counts(scene, name)
        if today is None or limit is None:
            return Finding("unknown", {"growth": self.growth, "floor": self.floor}, f"nobody counted {name}")
        return Finding(today, limit, f"{today} sends on {name} today, the ramp allows {limit}")

    def _named(self, scene: Scene) -> tuple[str, ...]:
        names = scene.catalog.channels
        return names if self.channels is None else tuple(name for name in names if name in self.channels)

    def _counts(self, scene: Scene, name: str) -> tuple[int | None, int | None]:
        """Sent today, and what may be sent today; growth is cut to millionths, as `engine.limits` does."""
        today = (scene.conditions.sent_today or {}).get(name)
        yesterday = (scene.conditions.sent_yesterday or {}).get(name)
        if yesterday is None:
            return today, None
        grown = yesterday * (_MILLIONTH + int(round(self.growth * _MILLIONTH, 3))) // _MILLIONTH
        return today, max(self.floor, grown)

    def _full(self, scene: Scene, name: str) -> bool:
        today, limit = self._counts(scene, name)
        return today is None or limit is None or today >= limit


RULE = RampRule
