"""Who a use case decides for: contacts within some days of an anchor (joining, a due day, a visit, an order ...)."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray
from simulator.people.people import NEVER, People
from simulator.world.response import Moment
from simulator.world.state import State


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Days since the anchor must lie in [from_days, until_days].

    Attributes:
        anchor: joined; due (negative days are before the due day); browsed, ordered, engaged: as far as the sender
            knows; `quiet`: known neither to have engaged nor ordered since.
        from_days / until_days: inclusive; until_days None is unbounded.
        never_counts: whether contacts for whom the anchor never came are in (a reader who never reacted is quiet).
        stop_on_order: an order that is known to have come since the journey began ends it (R48): since the first day of
            the trigger for joined and due, since the anchor itself for browsed and engaged.
    """

    anchor: Literal["joined", "due", "browsed", "ordered", "engaged", "quiet"]
    from_days: float = 0.0
    until_days: float | None = None
    never_counts: bool = False
    stop_on_order: bool = False

    def __post_init__(self) -> None:
        if self.until_days is not None and self.until_days < self.from_days:
            raise ParameterError(
                "until_days", "Trigger", allowed=f"at least from_days = {self.from_days}", got=self.until_days
            )
        if self.stop_on_order and self.anchor in {"ordered", "quiet"}:
            raise ParameterError(
                "stop_on_order", "Trigger", allowed=f"false where the anchor is {self.anchor}", got=self.stop_on_order
            )

    def deciding(self, people: People, state: State, moment: Moment) -> BoolArray:
        """(n,) who is decided for in this step: on the list, and within the trigger's days."""
        days = self._days(people, state, moment)
        until = np.inf if self.until_days is None else self.until_days
        inside = (days >= self.from_days) & (days <= until)
        if self.never_counts:
            inside |= np.isnan(days)
        if self.stop_on_order:
            ordered = np.where(state.known.ordered == -NEVER, np.inf, moment.step - state.known.ordered)
            began = days - self.from_days if self.anchor in {"joined", "due"} else days
            inside &= ~(ordered * moment.step_days <= began)
        return inside & (people.join_day <= moment.day)

    def _days(self, people: People, state: State, moment: Moment) -> FloatArray:
        if self.anchor == "joined":
            return moment.day - people.join_day
        if self.anchor == "due":
            return moment.day - state.due_day
        known = state.known
        steps = {
            "browsed": known.browsed,
            "ordered": known.ordered,
            "engaged": known.engaged,
            "quiet": np.maximum(known.engaged, known.ordered),
        }[self.anchor]
        days: FloatArray = np.where(steps == -NEVER, np.nan, (moment.step - steps) * moment.step_days)
        return days
