"""Revoke-all: who withdraws one consent withdraws every one (catalogue C9, C4).

A refusal on one channel and purpose takes with it all others in the rule's scope, whatever they are for. Only a consent
given after the latest refusal stands.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.contacts import NO, YES
from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray


class RevokeAllRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes actions whose consent is not newer than every refusal of the contact.

    Attributes:
        channels: on which a refusal counts and is spread; null is all.
        applies_to: purposes on which a refusal counts and is spread.
    """

    may_read: ClassVar[tuple[str, ...]] = ("consent_at",)

    channels: tuple[str, ...] | None = None
    applies_to: tuple[str, ...] = PURPOSES

    def __post_init__(self) -> None:
        if not set(self.applies_to) <= set(PURPOSES):
            raise ParameterError("applies_to", "revoke_all", allowed=f"among {PURPOSES}", got=self.applies_to)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def verdict(self, scene: Scene) -> Verdict:
        """Refusals first; most contacts have none."""
        consent = scene.contacts.consent
        scope = self._scope(scene)
        refused = (consent == NO) & scope
        rows = np.flatnonzero(refused.any(axis=(1, 2)))
        if not len(rows):
            return Verdict()
        closed = np.zeros(consent.shape, dtype=np.bool_)
        closed[rows] = scope & ~_stands(scene, rows, refused[rows])
        return Verdict(channel_hour=closed.transpose(0, 2, 1)[..., None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Which consents were refused."""
        refused = (scene.contacts.consent[row] == NO) & self._scope(scene)
        names = [
            f"{scene.catalog.channels[channel]} / {PURPOSES[purpose]}" for channel, purpose in np.argwhere(refused)
        ]
        what = f"{scene.catalog.channels[cell.channel]} / {PURPOSES[cell.purpose]}"
        reason = f"refused for {', '.join(names)}: a withdrawal counts for every kind of message, {what} too"
        return Finding(names, "no refusal, or a consent given after it", reason)

    def _scope(self, scene: Scene) -> BoolArray:
        named = [self.channels is None or channel in self.channels for channel in scene.catalog.channels]
        return np.array(named)[:, None] & purpose_mask(self.applies_to)


def _stands(scene: Scene, rows: IntArray, refused: BoolArray) -> BoolArray:
    """(r, C, P) consents given after the latest refusal, of which every instant is known."""
    given = scene.contacts.extra.get("consent_at")
    granted = scene.contacts.consent[rows] == YES
    if given is None:
        return np.zeros_like(granted)
    given = given[rows]
    undated = (refused & (given == NOT_AN_INSTANT)).any(axis=(1, 2), keepdims=True)
    latest = np.where(refused, given, NOT_AN_INSTANT).max(axis=(1, 2), keepdims=True)
    stands: BoolArray = granted & ~undated & (given > latest)
    return stands


RULE = RevokeAllRule
