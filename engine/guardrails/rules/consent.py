"""Consent per channel and purpose: no record, no message (catalogue C1, C12).

Consent for transactional messages never opens promotional ones, and consent for one channel never opens another: each
(channel, purpose) needs its own record. A record counts only with source and timestamp; the reader sees to that.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from engine.contacts import UNKNOWN, YES
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import PURPOSES


class ConsentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes every action whose channel and purpose lack a granted consent record; it has no parameters."""

    reads: ClassVar[tuple[str, ...]] = ("consent",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """Removed unless the record says granted; missing blocks."""
        granted = scene.contacts.consent == YES
        return Verdict(channel_hour=~granted.transpose(0, 2, 1)[..., None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The record's state; no instant at which it would change by itself."""
        level = int(scene.contacts.consent[row, cell.channel, cell.purpose])
        observed = "no record" if level == UNKNOWN else "denied or withdrawn"
        what = f"{scene.catalog.channels[cell.channel]} / {PURPOSES[cell.purpose]}"
        return Finding(observed, "granted", f"consent for {what}: {observed}")


RULE = ConsentRule
