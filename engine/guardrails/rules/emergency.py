"""States with a declared emergency, in which solicitation may be restricted: a list kept by hand (catalogue O13)."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.types import PURPOSES, BoolArray

_COLUMNS = ("state", "area_state")


class EmergencyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes sends to contacts who live, or whose phone number is, in a paused state.

    Attributes:
        states: paused in the pack, beside those of the conditions.
        applies_to: purposes that are paused; transactional messages may be what people need then.
    """

    reads: ClassVar[tuple[str, ...]] = _COLUMNS
    states: tuple[str, ...] = ()
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        unknown = set(self.applies_to) - set(PURPOSES)
        if unknown or not self.applies_to:
            raise ParameterError("applies_to", "emergency", allowed=f"among {PURPOSES}", got=self.applies_to)
        if "" in self.states:
            raise ParameterError("states", "emergency", allowed="names of states", got=self.states)

    def verdict(self, scene: Scene) -> Verdict:
        """Judge by contact: either state counts."""
        paused = {*self.states, *scene.conditions.paused_states}
        if not paused:
            return Verdict()
        hit = np.zeros(scene.contacts.n, dtype=np.bool_)
        for name in _COLUMNS:
            hit |= _among(scene, name, paused)
        if not hit.any():
            return Verdict()
        scope = purpose_mask(self.applies_to)
        return Verdict(channel_hour=(hit[:, None] & scope)[:, :, None, None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """The states of the contact that are paused; lifted by hand."""
        paused = {*self.states, *scene.conditions.paused_states}
        found = {name: _value(scene, name, row) for name in _COLUMNS}
        here = sorted({value for value in found.values() if value in paused})
        return Finding(found, sorted(paused), f"solicitation is paused in {', '.join(here)}")


def _among(scene: Scene, name: str, paused: set[str]) -> BoolArray:
    levels = scene.contacts.levels[name]
    table = np.array([*(level in paused for level in levels), False], dtype=np.bool_)
    hit: BoolArray = table[scene.contacts.extra[name]]
    return hit


def _value(scene: Scene, name: str, row: int) -> str:
    return scene.contacts.levels[name][int(scene.contacts.extra[name][row])]


RULE = EmergencyRule
