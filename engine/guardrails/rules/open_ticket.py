"""Nobody is sold anything while a complaint or a support ticket is open, nor just after (catalogue O7).

Events carry no ticket number, so tickets are counted: each one opened adds one, each one closed takes one away, never
below none. What was opened and not closed is open, however old. By slot: three days after the last closing, to the
microsecond, slots open again.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
import numpy as np

from engine.contacts.contacts import EVENTS
from engine.errors import ParameterError
from engine.guardrails.history.bounds import LONGEST_S, NEVER, alone, nth_newest, require_purposes, rows_of, slot_passes
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.guardrails.rules.recent_purchase import events_of
from engine.time.localtime import datetime_of
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, IntArray

CLOSED: Final = "ticket_closed"
_OPENING: Final = ("ticket_opened", "complained")


class OpenTicketRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes slots before the last ticket is closed and a while over.

    Attributes:
        after_s: how long after the last closing slots stay closed, seconds; 0 is until it is closed.
        opened_by: kinds of events that open a ticket, among ticket_opened and complained.
        applies_to: purposes that are held.
    """

    reads: ClassVar[tuple[str, ...]] = ("events",)

    after_s: int = 3 * 86_400
    opened_by: tuple[str, ...] = _OPENING
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_purposes("open_ticket", applies_to=self.applies_to)
        if not 0 <= self.after_s <= LONGEST_S:
            raise ParameterError("after_s", "open_ticket", allowed="in 0 s to 10 years", got=self.after_s)
        if not self.opened_by or set(self.opened_by) - set(_OPENING):
            raise ParameterError("opened_by", "open_ticket", allowed=f"some of {_OPENING}", got=self.opened_by)

    def verdict(self, scene: Scene) -> Verdict:
        """Only contacts with a ticket are looked at."""
        if not scene.contacts.n:
            return Verdict()
        rows, release = self._releases(scene)
        # No slot is planned before now.
        held = release > scene.now_at
        rows, release = rows[held], release[held]
        if not len(rows):
            return Verdict()
        within = _bounded(scene, rows) < release[:, None]
        closed = np.zeros((scene.contacts.n, len(scope := purpose_mask(self.applies_to)), 1, within.shape[1]), np.bool_)
        closed[rows] = scope[:, None, None] & within[:, None, None, :]
        return Verdict(channel_hour=closed)

    def _releases(self, scene: Scene) -> tuple[IntArray, IntArray]:
        """(row, release) of the contacts that ever had a ticket: NEVER while one is open."""
        events = events_of(scene)
        is_opening = np.array([kind in self.opened_by for kind in EVENTS], dtype=np.bool_)
        of_ticket = is_opening | (np.array(EVENTS) == CLOSED)
        kept = np.flatnonzero(of_ticket[events.kind])
        rows, opens = rows_of(events.offsets, kept), is_opening[events.kind[kept]]
        last = nth_newest(rows, 1)
        is_open = _still_open(rows, opens)[last]
        closings = np.flatnonzero(~opens)
        newest = closings[nth_newest(rows[closings], 1)]
        closed_at = np.full(scene.contacts.n, NOT_AN_INSTANT, dtype=np.int64)
        closed_at[rows[newest]] = events.at[kept[newest]]
        touched = rows[last]
        return touched, np.where(is_open, NEVER, closed_at[touched] + self.after_s * MICROSECONDS_PER_S)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Whether a ticket is open, else when the last was closed."""
        one = alone(scene, row)
        release = int(self._releases(one)[1][0])
        limit = {"open": 0, "after_s": self.after_s}
        if release == NEVER:
            return Finding("open", limit, "a ticket or complaint is open")
        closed_at = datetime_of(release - self.after_s * MICROSECONDS_PER_S).isoformat()
        reason = f"the last ticket was closed at {closed_at}, less than {self.after_s} s before the planned instant"
        return Finding(closed_at, limit, reason, slot_passes(one, 0, cell.hour, release))


def _bounded(scene: Scene, rows: IntArray) -> IntArray:
    """(m, H) planned instants of rows; slots without one may lie anywhere from now on."""
    slots = np.where(scene.slots == NOT_AN_INSTANT, scene.now_at, scene.slots)
    planned: IntArray = slots[scene.contacts.zone_code[rows]]
    return planned


def _still_open(rows: IntArray, opens: BoolArray) -> BoolArray:
    """(m,) whether something is open after each entry, counting from the row's first, never below none."""
    total = np.cumsum(np.where(opens, 1, -1))
    # Later rows are shifted below all earlier ones, so that one running minimum starts anew with every row.
    shifted = total - rows * (2 * len(rows) + 2)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    before = np.repeat(shifted[starts] - np.where(opens[starts], 1, -1), np.diff(np.append(starts, len(rows))))
    lowest = np.minimum(np.minimum.accumulate(shifted), before) if len(rows) else shifted
    still: BoolArray = shifted > lowest
    return still


RULE = OpenTicketRule
