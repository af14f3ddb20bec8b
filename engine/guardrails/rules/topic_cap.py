"""At most n sends on the same subject in a rolling window, where a state's law says so (catalogue F1, F2).

A contact is in a state by residence or by the area code of the phone, whichever is stricter; where either is not known,
it may be that state, so the cap holds. A send or an arm without a topic may be about anything: such a send counts
for every topic, such an arm is held by all sends. By arm, so judged at every planned instant.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.history.bounds import alone, arms_in, require_cap, require_purposes, require_window, rows_of
from engine.guardrails.history.key_caps import Entries, KeyTable, closed_arms, key_table, looked_at, names_of, recent
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.types import MICROSECONDS_PER_S, BoolArray

TOPIC = "topic"
_STATES = ("state", "area_state")


class TopicCapRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms of a topic on which enough was sent.

    Attributes:
        max: sends allowed per topic; null is no cap, 0 is never.
        window_s: length of the rolling window, seconds.
        states: states of residence or area code where the cap holds ("FL"); null is everywhere.
        channels: sends on these channels count, and are held; null is all channels together.
        applies_to: purposes that are capped.
        counts: purposes whose sends count.
    """

    may_read: ClassVar[tuple[str, ...]] = _STATES

    max: int | None
    window_s: int
    states: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    applies_to: tuple[str, ...] = ("promotional",)
    counts: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_cap("topic_cap", "max", self.max)
        require_window("topic_cap", "window_s", self.window_s)
        require_purposes("topic_cap", applies_to=self.applies_to, counts=self.counts)
        for field in ("states", "channels"):
            if getattr(self, field) == ():
                raise ParameterError(field, "topic_cap", allowed="a list of names, or null for all", got=())

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.max is None else ("sends", "sent_topic")

    def verdict(self, scene: Scene) -> Verdict:
        """One look per recent send of a contact in the states."""
        held = self._held(scene)
        if self.max is None or not scene.contacts.n or not held.any():
            return Verdict()
        inside = self.inside(scene.contacts)
        if self.max == 0:
            by_arm = inside[:, None] & arms_in(scene, self.applies_to)
            return Verdict(channel_arm=by_arm[:, None, :] & held[:, None])
        entries = self._entries(scene, inside)
        closed = closed_arms(scene, entries, self._table(scene), self.max, self._window_us)
        return Verdict() if closed is None else Verdict(channel_arm=closed[:, None, :] & held[:, None])

    @property
    def _window_us(self) -> int:
        return self.window_s * MICROSECONDS_PER_S

    def _held(self, scene: Scene) -> BoolArray:
        """(1,) or (C,) channels that the cap holds."""
        if self.channels is None:
            return np.ones(1, dtype=np.bool_)
        return np.array([channel in self.channels for channel in scene.catalog.channels], dtype=np.bool_)

    def inside(self, contacts: ContactBatch) -> BoolArray:
        """(n,) contacts who live, or may live, in one of the states."""
        if self.states is None:
            return np.ones(contacts.n, dtype=np.bool_)
        inside = np.zeros(contacts.n, dtype=np.bool_)
        for name in _STATES:
            if not contacts.has(name):
                return np.ones(contacts.n, dtype=np.bool_)
            # The last entry is code -1: not known.
            inside |= np.array([level in self.states for level in contacts.levels[name]] + [True])[contacts.extra[name]]
        return inside

    def _entries(self, scene: Scene, inside: BoolArray) -> Entries:
        contacts = scene.contacts
        kept = recent(scene, contacts.sent_at, self._window_us)
        kept = kept[inside[rows_of(contacts.sent_offsets, kept)]]
        kept = kept[purpose_mask(self.counts)[contacts.sent_purpose[kept]]]
        if self.channels is not None:
            # The last two are a channel that cannot be told, which counts, and another one, which does not.
            kept = kept[np.append(self._held(scene), [True, False])[contacts.sent_channel[kept]]]
        return Entries(contacts.sent_offsets, contacts.sent_at, contacts.sent_details["sent_topic"], kept)

    def _table(self, scene: Scene) -> KeyTable:
        topics = [str(arm.attributes.get(TOPIC, "")) for arm in scene.catalog.arms]
        return key_table(names_of(topics, arms_in(scene, self.applies_to)), scene.contacts.levels["sent_topic"])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Sends on the topic in the window, and when the oldest of them that matters leaves it."""
        topic = str(scene.catalog.arms[cell.arm].attributes.get(TOPIC, ""))
        limit = {"max": self.max, "window_s": self.window_s, "topic": topic, "states": self.states}
        if not self.max:
            return Finding("any send", limit, "sends per topic are capped at 0: never")
        one = alone(scene, row)
        entries = self._entries(one, np.ones(1, dtype=np.bool_))
        look = looked_at(one, entries, self._table(one), cell.arm, self.max, self._window_us)
        reason = f"{look.count} sends on topic {topic or 'any'!r} within {self.window_s} s of {look.at}"
        return Finding(look.count, limit, reason, look.following)


RULE = TopicCapRule
