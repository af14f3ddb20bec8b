"""Whoever just bought is not asked to buy the same again (catalogue O6; requirements R5, R18).

A purchase blocks promotions of its category for a while; arms whose attribute `cross_sell` is "yes" stay, so that a
recent buyer can still be offered what goes with it. A purchase without a category may be of any, and an arm without one
may be about any: both block. By arm, so judged over the whole span of planned instants.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from engine.contacts.contacts import EVENTS, Events
from engine.errors import EligibilityError
from engine.guardrails.history.bounds import alone, arms_in, require_purposes, require_window
from engine.guardrails.history.key_caps import Entries, KeyTable, closed_arms, key_table, looked_at, names_of, recent
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.types import MICROSECONDS_PER_S

CROSS_SELL = "cross_sell"
_PURCHASED = EVENTS.index("purchased")


class RecentPurchaseRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes promotions of a category in which the contact bought inside the window.

    Attributes:
        window_s: how long a purchase counts, seconds; one exactly that long ago no longer counts. Null: purchases never
            block.
        scope: "category": promotions of the same category; "all": every promotion that is no cross-sell.
        applies_to: purposes that are held.
    """

    window_s: int | None
    scope: Literal["category", "all"] = "category"
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_window("recent_purchase", "window_s", self.window_s)
        require_purposes("recent_purchase", applies_to=self.applies_to)

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.window_s is None else ("events",)

    def verdict(self, scene: Scene) -> Verdict:
        """One look per recent purchase."""
        if self.window_s is None or not scene.contacts.n:
            return Verdict()
        window_us = self.window_s * MICROSECONDS_PER_S
        closed = closed_arms(scene, _purchases(scene, window_us), self._table(scene), 1, window_us, lasting=True)
        return Verdict() if closed is None else Verdict(channel_arm=closed[:, None, :])

    def _table(self, scene: Scene) -> KeyTable:
        arms = scene.catalog.arms
        everything = self.scope == "all"
        stays = np.array([arm.attributes.get(CROSS_SELL) == "yes" for arm in arms], dtype=np.bool_)
        names = names_of(["" if everything else arm.category for arm in arms], arms_in(scene, self.applies_to) & ~stays)
        return key_table(names, events_of(scene).categories)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """Purchases in the window, and when the newest of them leaves it."""
        one, arm = alone(scene, row), scene.catalog.arms[cell.arm]
        window_us = (self.window_s or 0) * MICROSECONDS_PER_S
        look = looked_at(one, _purchases(one, window_us), self._table(one), cell.arm, 1, window_us, lasting=True)
        what = f"in category {arm.category!r}" if arm.category and self.scope == "category" else "in any category"
        reason = f"{look.count} purchases {what} within {self.window_s} s of {look.at}"
        limit = {"purchases": 0, "window_s": self.window_s, "category": arm.category, "scope": self.scope}
        return Finding(look.count, limit, reason, look.following)


def events_of(scene: Scene) -> Events:
    """The events of a batch that carries them: the layer removes contacts without before a rule sees them.

    Raises:
        EligibilityError: the batch carries none.
    """
    if scene.contacts.events is None:
        raise EligibilityError(
            "the contacts carry no events", hint="judge rules through the layer, which checks inputs"
        )
    return scene.contacts.events


def _purchases(scene: Scene, window_us: int) -> Entries:
    events = events_of(scene)
    kept = recent(scene, events.at, window_us, lasting=True)
    return Entries(events.offsets, events.at, events.category, kept[events.kind[kept] == _PURCHASED])


RULE = RecentPurchaseRule
