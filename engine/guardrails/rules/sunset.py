"""Stop when nobody listens: after n sends, or a time, without any sign of interest (catalogue F12; requirement R48).

Two ways to the end: enough sends in the window since the last sign of interest, or too long since the last sign (or,
where there never was one, since the first send known). The first lapses as sends leave the window; the second ends
only with a new sign. Sends that are planned already count where they are less than the window away: they too would go
to somebody who does not listen.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from engine.contacts.contacts import EVENTS
from engine.errors import ParameterError
from engine.guardrails.history.bounds import (
    NEVER,
    alone,
    nth_newest,
    require_cap,
    require_purposes,
    require_window,
    rows_of,
)
from engine.guardrails.history.spans import ALWAYS, Spans, first_clear, inside_slots, slot_bounds, spans_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.guardrails.rules.recent_purchase import events_of
from engine.time.localtime import FARTHEST_SLOT_US, datetime_of
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, IntArray

SIGNS: Final = ("opened", "clicked", "replied", "purchased")


class SunsetRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes slots for contacts who no longer show interest.

    Attributes:
        max_unengaged: sends in the window since the last sign at which it is over; null is no limit, 0 is never.
        window_s: length of the rolling window, seconds.
        idle_s: time since the last sign, or since the first send known, at which it is over; null is no limit.
        engaged_by: kinds of events that are a sign of interest.
        applies_to: purposes that are held.
        counts: purposes whose sends count.
    """

    max_unengaged: int | None
    window_s: int
    idle_s: int | None = None
    engaged_by: tuple[str, ...] = ("opened", "clicked")
    applies_to: tuple[str, ...] = ("promotional",)
    counts: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_cap("sunset", "max_unengaged", self.max_unengaged)
        require_window("sunset", "window_s", self.window_s)
        require_window("sunset", "idle_s", self.idle_s)
        require_purposes("sunset", applies_to=self.applies_to, counts=self.counts)
        if not self.engaged_by or set(self.engaged_by) - set(SIGNS):
            raise ParameterError("engaged_by", "sunset", allowed=f"some of {SIGNS}", got=self.engaged_by)

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.max_unengaged is None and self.idle_s is None else ("sends", "events")

    def verdict(self, scene: Scene) -> Verdict:
        """Slots before the release, or from the end on."""
        n, scope = scene.contacts.n, purpose_mask(self.applies_to)
        if not n or not self.reads:
            return Verdict()
        if self.max_unengaged == 0:
            return Verdict(channel_hour=np.repeat(scope[None, :, None, None], n, axis=0))
        spans, end = self._bounds(scene)
        inside = inside_slots(scene, spans)
        late = np.flatnonzero(end <= scene.now_at + FARTHEST_SLOT_US)
        if inside is None and not len(late):
            return Verdict()
        within = np.zeros((n, len(scene.catalog.hours)), dtype=np.bool_)
        if inside is not None:
            within[inside.rows] = inside.slots
        within[late] |= slot_bounds(scene)[1][scene.contacts.zone_code[late]] >= end[late, None]
        return Verdict(channel_hour=scope[:, None, None] & within[:, None, None, :])

    def _bounds(self, scene: Scene) -> tuple[Spans, IntArray]:
        """Give the spans, by contact, of too many unengaged sends, and (n,) first instants too long without a sign."""
        contacts, events = scene.contacts, events_of(scene)
        signs = np.flatnonzero(np.array([kind in self.engaged_by for kind in EVENTS])[events.kind])
        rows = rows_of(events.offsets, signs)
        last_sign = np.full(contacts.n, NOT_AN_INSTANT, dtype=np.int64)
        newest = nth_newest(rows, 1)
        last_sign[rows[newest]] = events.at[signs[newest]]
        sends = np.flatnonzero(purpose_mask(self.counts)[contacts.sent_purpose])
        rows = rows_of(contacts.sent_offsets, sends)
        unknown = np.flatnonzero(~contacts.history_known)
        spans = Spans(unknown, np.full_like(unknown, ALWAYS), np.full_like(unknown, NEVER))
        if self.max_unengaged is not None:
            since = contacts.sent_at[sends] > last_sign[rows]
            window_us = self.window_s * MICROSECONDS_PER_S
            spans = spans.and_also(spans_of(rows[since], contacts.sent_at[sends[since]], self.max_unengaged, window_us))
        return spans, self._ends(contacts.sent_at[sends], rows, last_sign)

    def _ends(self, sent_at: IntArray, rows: IntArray, last_sign: IntArray) -> IntArray:
        end = np.full(len(last_sign), NEVER, dtype=np.int64)
        if self.idle_s is None:
            return end
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        since = last_sign[rows[firsts]]
        since = np.where(since == NOT_AN_INSTANT, sent_at[firsts], since)
        end[rows[firsts]] = since + self.idle_s * MICROSECONDS_PER_S
        return end

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Which of the two holds; the end in time first, because no waiting mends it."""
        limit = {"max_unengaged": self.max_unengaged, "window_s": self.window_s, "idle_s": self.idle_s}
        if self.max_unengaged == 0:
            return Finding("any send", limit, "unengaged sends are capped at 0: never")
        one = alone(scene, row)
        if not one.contacts.history_known[0]:
            return Finding("unknown", limit, "nobody knows what was sent to this contact")
        spans, ends = self._bounds(one)
        end = int(ends[0])
        planned = int(one.planned[0, cell.hour])
        if (one.now_at + FARTHEST_SLOT_US if planned == NOT_AN_INSTANT else planned) >= end:
            since = datetime_of(end - (self.idle_s or 0) * MICROSECONDS_PER_S).isoformat()
            return Finding(since, limit, f"no sign of interest since {since}, which is {self.idle_s} s or more")
        following = first_clear(one, spans.pairs(), (cell.hour,))
        if following is not None and _passes_after(one, cell.hour, following) >= end:
            following = None
        reason = f"{self.max_unengaged} sends or more within {self.window_s} s without a sign of interest"
        return Finding(f"{self.max_unengaged} or more", limit, reason, following)


def _passes_after(scene: Scene, slot: int, now_at: int) -> int:
    """The instant for which a slot is planned, at the latest, by a decision taken at another time."""
    planned = int(Scene(scene.catalog, scene.contacts, now_at, scene.latency_margin_s).planned[0, slot])
    return now_at + FARTHEST_SLOT_US if planned == NOT_AN_INSTANT else planned


RULE = SunsetRule
