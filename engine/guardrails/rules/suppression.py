"""Suppression per channel: opt-outs, bounces, complaints and lists end here (catalogue K1-K9, O10)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from engine.contacts.contacts import NO, UNKNOWN
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import PURPOSES


class SuppressionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes every action on a channel that is suppressed, or of which nobody knows whether it is."""

    reads: ClassVar[tuple[str, ...]] = ("suppressed",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """Removed unless known to be free; missing blocks."""
        return Verdict(channel_arm=(scene.contacts.suppressed != NO)[:, :, None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The channel's state; only an explicit change lifts it."""
        unknown = int(scene.contacts.suppressed[row, cell.channel]) == UNKNOWN
        observed = "unknown" if unknown else "suppressed"
        return Finding(observed, "not suppressed", f"{scene.catalog.channels[cell.channel]} suppression: {observed}")


RULE = SuppressionRule
