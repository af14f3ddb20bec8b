"""How deep a discount may be, and how many of them a contact may get in a window (catalogue O1).

A send whose depth nobody knows counts as a discounted one, a planned one as one that has left. By arm, so judged at
every planned instant.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.guardrails.history.bounds import alone, arms_in, require_cap, require_purposes, require_window, rows_of
from engine.guardrails.history.spans import Spans, first_clear, first_inside, near, reached, spans_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.numeric.money import exceed, exceeds
from engine.time.localtime import datetime_of
from engine.types import MICROSECONDS_PER_S, BoolArray, IntArray


class DiscountRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes discounts that are too deep, and all discounts of contacts who had enough of them.

    Attributes:
        max_depth: deepest discount allowed, as a share of the price; null is no limit, 0 is no discount at all.
        max_sends: discounted sends allowed in the window; null is no cap, 0 is never.
        window_s: length of the rolling window, seconds.
        applies_to: purposes that are held; discounted sends count whatever their purpose.
    """

    max_depth: float | None
    max_sends: int | None
    window_s: int
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_cap("discount", "max_depth", self.max_depth)
        require_cap("discount", "max_sends", self.max_sends)
        require_window("discount", "window_s", self.window_s)
        require_purposes("discount", applies_to=self.applies_to)
        if self.max_depth is not None and self.max_depth > 1:
            raise ParameterError("max_depth", "discount", allowed="in [0, 1]: a share", got=self.max_depth)

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.max_sends is None else ("sends", "sent_discount")

    def verdict(self, scene: Scene) -> Verdict:
        """Depth by arm alone; the number by contact and discounted arm."""
        n = scene.contacts.n
        if not n:
            return Verdict()
        depths, in_scope = _depths(scene), arms_in(scene, self.applies_to)
        discounted = in_scope & (depths > 0)
        deep = in_scope & self._too_deep(depths)
        if self.max_sends == 0:
            deep |= discounted
        rows = self._full(scene) if self.max_sends and discounted.any() else np.empty(0, dtype=np.int64)
        if not len(rows):
            return Verdict(channel_arm=np.broadcast_to(deep, (n, 1, len(deep)))) if deep.any() else Verdict()
        closed = np.repeat(deep[None], n, axis=0)
        closed[rows] |= discounted
        return Verdict(channel_arm=closed[:, None, :])

    def _too_deep(self, depths: np.ndarray[tuple[int], np.dtype[np.float64]]) -> BoolArray:
        if self.max_depth is None:
            return np.zeros(len(depths), dtype=np.bool_)
        return exceed(depths, self.max_depth)

    def _full(self, scene: Scene) -> IntArray:
        """Contacts that a further discount would exceed the cap of, at some planned instant."""
        spans = self._spans(scene)
        full: IntArray = np.unique(spans.groups[reached(scene, spans.groups, spans)])
        return full

    @property
    def _window_us(self) -> int:
        return self.window_s * MICROSECONDS_PER_S

    def _spans(self, scene: Scene) -> Spans:
        """Give the spans, by contact, in which one more discount is too many."""
        contacts = scene.contacts
        sends = _discounted(scene)
        rows = rows_of(contacts.sent_offsets, sends)
        return spans_of(rows, contacts.sent_at[sends], self.max_sends or 1, self._window_us)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Too deep, which no waiting mends; else the discounted sends in the window."""
        depth = scene.catalog.arms[cell.arm].discount_depth
        limit = {"max_depth": self.max_depth, "max_sends": self.max_sends, "window_s": self.window_s}
        if self.max_depth is not None and exceeds(depth, self.max_depth):
            return Finding(depth, limit, f"a discount of {depth:g} is deeper than {self.max_depth:g}")
        if self.max_sends == 0:
            return Finding("any discount", limit, "discounted sends are capped at 0: never")
        one = alone(scene, row)
        spans = self._spans(one).pairs()
        closed_at = first_inside(one, spans)
        inside = near(one.contacts.sent_at[_discounted(one)], closed_at, self._window_us)
        reason = f"{inside} discounted sends within {self.window_s} s of {datetime_of(closed_at).isoformat()}"
        return Finding(inside, limit, reason, first_clear(one, spans))


def _depths(scene: Scene) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([arm.discount_depth for arm in scene.catalog.arms], dtype=np.float64)


def _discounted(scene: Scene) -> IntArray:
    """Positions of sends with a discount, or with a depth that nobody knows: NaN differs from 0."""
    return np.flatnonzero(scene.contacts.sent_details["sent_discount"] != 0.0)


RULE = DiscountRule
