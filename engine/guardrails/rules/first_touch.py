"""No discount on the first touch, unless price is what holds the contact back (catalogue O4; requirements R35, R36).

A touch is a send that has left by now; planned ones are none yet. After a window without a touch the next one is a
first one again. By arm, so judged over the whole span of planned instants: the newest touch must still be inside the
window at the last of them.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.history.bounds import (
    NEVER,
    alone,
    arms_in,
    last_instants,
    nth_newest,
    require_purposes,
    require_window,
    rows_of,
)
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.numeric.money import exceed
from engine.time.localtime import datetime_of
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, IntArray

MOTIVE = "motive_price"


class FirstTouchRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes discounted arms from a first touch.

    Attributes:
        tau: a contact whose probability of a price motive is above it may get a discount at once; unknown is not above.
        window_s: a touch longer ago belongs to an earlier journey; null: once touched, always touched.
        applies_to: purposes that are held.
        counts: purposes whose sends are touches.
    """

    reads: ClassVar[tuple[str, ...]] = ("sends",)
    may_read: ClassVar[tuple[str, ...]] = (MOTIVE,)

    tau: float
    window_s: int | None = None
    applies_to: tuple[str, ...] = ("promotional",)
    counts: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_purposes("first_touch", applies_to=self.applies_to, counts=self.counts)
        require_window("first_touch", "window_s", self.window_s)
        if not 0 <= self.tau <= 1:
            raise ParameterError("tau", "first_touch", allowed="in [0, 1]", got=self.tau)

    def verdict(self, scene: Scene) -> Verdict:
        """Discounted arms of contacts without a touch; everything where nobody knows what was sent."""
        contacts = scene.contacts
        in_scope = arms_in(scene, self.applies_to)
        discounted = in_scope & np.array([arm.discount_depth > 0 for arm in scene.catalog.arms])
        unknown = ~contacts.history_known
        first = self._is_first(scene) & ~self._moved_by_price(contacts)
        if not unknown.any() and not (discounted.any() and first.any()):
            return Verdict()
        closed = (first[:, None] & discounted) | (unknown[:, None] & in_scope)
        return Verdict(channel_arm=closed[:, None, :])

    def _moved_by_price(self, contacts: ContactBatch) -> BoolArray:
        if not contacts.has(MOTIVE):
            return np.zeros(contacts.n, dtype=np.bool_)
        return exceed(contacts.extra[MOTIVE], self.tau)

    def _is_first(self, scene: Scene) -> BoolArray:
        """(n,) whether a send at some planned instant would be the first touch."""
        ends = self._ends(scene)
        first: BoolArray = ends <= last_instants(scene)[scene.contacts.zone_code]
        return first

    def _ends(self, scene: Scene) -> IntArray:
        """(n,) instant at which the newest touch is forgotten; long ago where there is none."""
        contacts = scene.contacts
        touches = np.flatnonzero(purpose_mask(self.counts)[contacts.sent_purpose] & (contacts.sent_at <= scene.now_at))
        rows = rows_of(contacts.sent_offsets, touches)
        newest = nth_newest(rows, 1)
        ends = np.full(contacts.n, NOT_AN_INSTANT, dtype=np.int64)
        at = contacts.sent_at[touches[newest]]
        ends[rows[newest]] = NEVER if self.window_s is None else at + self.window_s * MICROSECONDS_PER_S
        return ends

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """What is known of touches and motive; a planned send that will have left makes the next one no first touch."""
        one = alone(scene, row)
        if not one.contacts.history_known[0]:
            return Finding("unknown", "a known history", "nobody knows what was sent to this contact")
        end = int(self._ends(one)[0])
        touched = "never" if end == NOT_AN_INSTANT else datetime_of(end - (self.window_s or 0) * MICROSECONDS_PER_S)
        motive = float(one.contacts.extra[MOTIVE][0]) if one.contacts.has(MOTIVE) else float("nan")
        observed = {"last_touch": str(touched), MOTIVE: None if np.isnan(motive) else motive}
        reason = f"a discount on the first touch, and a price motive of {observed[MOTIVE]} is not above {self.tau:g}"
        return Finding(observed, {"tau": self.tau, "window_s": self.window_s}, reason, self._next(one))

    def _next(self, one: Scene) -> int | None:
        """The first planned send that will have left and still counts: between two of them nothing can open."""
        for at in one.contacts.sent_at[one.contacts.sent_at > one.now_at].tolist():
            then = Scene(one.catalog, one.contacts, at, one.latency_margin_s)
            if not self._is_first(then)[0]:
                return int(at)
        return None


RULE = FirstTouchRule
