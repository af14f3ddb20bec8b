"""Kinds of phone lines that a channel can reach: no text to a landline (catalogue K6).

Only lines of a named kind pass. An unknown kind removes the channels of the table, and no other channel.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.attributes import LINE_TYPES
from engine.contacts.contacts import UNKNOWN
from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import PURPOSES


class LineTypeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes every send on a channel that the contact's line cannot take.

    Attributes:
        allowed: channel -> kinds of lines that it reaches; channels without an entry are left alone.
    """

    may_read: ClassVar[tuple[str, ...]] = ("line_type",)

    allowed: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for channel, kinds in self.allowed.items():
            unknown = sorted(set(kinds) - set(LINE_TYPES))
            if unknown:
                raise ParameterError(channel, "line_type", allowed=f"among {LINE_TYPES}", got=unknown)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    @property
    def applies_to(self) -> tuple[str, ...]:
        return PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by kind and channel first, then gather; the last kind is the unknown one."""
        contacts = scene.contacts
        kinds = [*contacts.levels.get("line_type", ()), None]
        closed = np.array(
            [[channel in self.allowed and kind not in self.allowed[channel] for channel in scene.catalog.channels]
             for kind in kinds]
        )  # fmt: skip
        code = contacts.extra.get("line_type", np.full(contacts.n, UNKNOWN, dtype=np.int32))
        return Verdict(channel_arm=closed[code][:, :, None]) if closed.any() else Verdict()

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The kind of line against those that pass."""
        contacts, channel = scene.contacts, scene.catalog.channels[cell.channel]
        code = UNKNOWN if "line_type" not in contacts.extra else int(contacts.extra["line_type"][row])
        observed = "unknown" if code == UNKNOWN else contacts.levels["line_type"][code] or "no phone"
        return Finding(observed, list(self.allowed[channel]), f"{channel} to a line of kind: {observed}")


RULE = LineTypeRule
