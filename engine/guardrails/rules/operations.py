"""Operations: the kill switch and the pauses (catalogue O11), judged at the decision and again at dispatch."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.names import may_mean
from engine.types import PURPOSES


class OperationsRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes everything while the switch is on (or nobody says that it is off), and what is paused.

    Attributes:
        pause_channels / pause_arms / pause_use_cases: paused in the pack, beside those of the conditions; a block's id
            among the arms pauses every arm that holds the block.
        silence_kills: whether a switch of which nobody says that it is off counts as on; without it only a switch that
            is said to be on, and what is said to be paused, removes anything.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES
    pause_channels: tuple[str, ...] = ()
    pause_arms: tuple[str, ...] = ()
    pause_use_cases: tuple[str, ...] = ()
    silence_kills: bool = True

    def verdict(self, scene: Scene) -> Verdict:
        """The same for every contact."""
        catalog, n = scene.catalog, scene.contacts.n
        if self._killed(scene) or self._use_case_paused(scene):
            return Verdict(channel_arm=np.ones((n, 1, 1), dtype=np.bool_))
        channels = np.array([name in self._channels(scene) for name in catalog.channels], dtype=np.bool_)
        paused_arms = self._arms(scene)
        arms = np.array([not paused_arms.isdisjoint((arm.id, *arm.blocks)) for arm in catalog.arms], dtype=np.bool_)
        if not channels.any() and not arms.any():
            return Verdict()
        paused = channels[:, None] | arms
        return Verdict(channel_arm=np.broadcast_to(paused, (n, *paused.shape)))

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """What is switched off; no instant at which it comes back by itself."""
        killed = scene.conditions.killed
        if self._killed(scene):
            observed = "on" if killed else "unknown"
            return Finding(observed, "off", f"the kill switch is {observed}")
        use_case = scene.conditions.use_case
        if self._use_case_paused(scene):
            what = f"use case {use_case!r}" if use_case else "some use case, and nobody said which this one is: it"
            return Finding(use_case, "not paused", f"{what} is paused")
        channel, arm = scene.catalog.channels[cell.channel], scene.catalog.arm_ids[cell.arm]
        if channel in self._channels(scene):
            return Finding(channel, "not paused", f"channel {channel!r} is paused")
        return Finding(arm, "not paused", f"arm {arm!r} is paused")

    def _killed(self, scene: Scene) -> bool:
        killed = scene.conditions.killed
        return killed is not False if self.silence_kills else bool(killed)

    def _channels(self, scene: Scene) -> set[str]:
        return {*self.pause_channels, *scene.conditions.paused_channels}

    def _arms(self, scene: Scene) -> set[str]:
        return {*self.pause_arms, *scene.conditions.paused_arms}

    def _use_case_paused(self, scene: Scene) -> bool:
        """Whether the use case is, or may be, among the paused ones: their names are nobody's fixed list."""
        paused = {*self.pause_use_cases, *scene.conditions.paused_use_cases}
        use_case = scene.conditions.use_case
        return bool(may_mean(use_case, paused)) if use_case else bool(paused)


RULE = OperationsRule
