"""A cool-down per template: the same message is not sent twice within a while (catalogue F9).

What wears off is the template, not the arm: arms that share one (attribute `template`, by default the arm's own id)
cool down together. A send without a template may have been any of them, so it counts for all. Planned sends count as
those that have left. By arm, so judged at every planned instant.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.catalog import Arm
from engine.guardrails.history.bounds import alone, arms_in, require_cap, require_purposes, require_window
from engine.guardrails.history.key_caps import Entries, KeyTable, closed_arms, key_table, looked_at, names_of, recent
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import MICROSECONDS_PER_S

TEMPLATE = "template"


def template_of(arm: Arm) -> str:
    """The arm's template: its attribute, else its id."""
    return str(arm.attributes.get(TEMPLATE, "")) or arm.id


class CooldownRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms whose template was sent too recently.

    Attributes:
        window_s: length of the cool-down, seconds; a send exactly that long ago no longer counts.
        max: sends of one template allowed in it; null is no cap, 0 is never.
        applies_to: purposes that are held; sends of the template count whatever their purpose.
    """

    window_s: int
    max: int | None = 1
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_cap("cooldown", "max", self.max)
        require_window("cooldown", "window_s", self.window_s)
        require_purposes("cooldown", applies_to=self.applies_to)

    @property
    def _window_us(self) -> int:
        return self.window_s * MICROSECONDS_PER_S

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.max is None else ("sends", "sent_template")

    def verdict(self, scene: Scene) -> Verdict:
        """One look per recent send."""
        if self.max is None or not scene.contacts.n:
            return Verdict()
        if self.max == 0:
            never = arms_in(scene, self.applies_to)[None, None, :]
            return Verdict(channel_arm=np.broadcast_to(never, (scene.contacts.n, *never.shape[1:])))
        closed = closed_arms(scene, self._entries(scene), self._table(scene), self.max, self._window_us)
        return Verdict() if closed is None else Verdict(channel_arm=closed[:, None, :])

    def _entries(self, scene: Scene) -> Entries:
        contacts = scene.contacts
        kept = recent(scene, contacts.sent_at, self._window_us)
        return Entries(contacts.sent_offsets, contacts.sent_at, contacts.sent_details["sent_template"], kept)

    def _table(self, scene: Scene) -> KeyTable:
        arms = scene.catalog.arms
        names = names_of([template_of(arm) for arm in arms], arms_in(scene, self.applies_to))
        # Sends carry the arm's id; a log that writes the template's own name counts too.
        also = tuple((arm.id, template_of(arm)) for arm in arms)
        return key_table(names, scene.contacts.levels["sent_template"], also)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Sends of the template in the cool-down, and when it ends."""
        template = template_of(scene.catalog.arms[cell.arm])
        limit = {"max": self.max, "window_s": self.window_s, "template": template}
        if not self.max:
            return Finding("any send", limit, "sends per template are capped at 0: never")
        one = alone(scene, row)
        look = looked_at(one, self._entries(one), self._table(one), cell.arm, self.max, self._window_us)
        times = f"{look.count} times within {self.window_s} s of {look.at}"
        reason = f"template {template!r} was sent, or may have been, {times}"
        return Finding(look.count, limit, reason, look.following)


RULE = CooldownRule
