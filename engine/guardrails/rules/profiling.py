"""Objection to profiling: absolute for promotional sends (catalogue C4; GDPR 21(2)-(3)).

Every send that a policy chooses for a contact is personalised, so that nothing promotional is left; whether somebody
objected must be known.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask


class ProfilingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes promotional sends to contacts who object to profiling; it has no parameters."""

    reads: ClassVar[tuple[str, ...]] = ("profiling_objection",)
    applies_to: ClassVar[tuple[str, ...]] = ("promotional",)

    def verdict(self, scene: Scene) -> Verdict:
        """Anything but a known "no" removes."""
        levels = scene.contacts.levels["profiling_objection"]
        objects = np.array([*(level != "no" for level in levels), True])[scene.contacts.extra["profiling_objection"]]
        if not objects.any():
            return Verdict()
        return Verdict(channel_hour=objects[:, None, None, None] & purpose_mask(self.applies_to)[:, None, None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The objection; only the contact can take it back."""
        contact, arm = scene.contacts.contact_id[row], scene.catalog.arm_ids[cell.arm]
        reason = f"{contact!r} objects to profiling for marketing, and {arm!r} would be chosen by a profile"
        return Finding("objects to profiling", "no objection", reason)


RULE = ProfilingRule
