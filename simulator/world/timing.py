"""When the world starts, how demand moves with the date, and on which days a use case decides for whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray
from simulator.numbers import number
from simulator.people.people import NEVER, People
from simulator.world.response import Moment
from simulator.world.state import State


class Calendar(Protocol):
    """Dates and seasons; `step_days` and `start_at` fix the clock."""

    def now(self, step: int) -> datetime: ...

    def levels(self, step: int) -> tuple[float, float]: ...


class SeasonalCalendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A yearly wave, a weekly pattern and a slow trend.

    Attributes:
        start: ISO 8601 instant with offset of the first decision.
        step_hours: hours between two decisions; 24 is one a day.
        yearly_peak: relative height of demand at its peak above the mean.
        peak_day: day of the year of the peak.
        weekday_attention: Monday to Sunday, factors on the odds of seeing a message.
        attention_drift: change of the log odds of attention per year.
        demand_drift: relative change of demand per year.
    """

    start: str = "2026-09-01T14:00:00+00:00"
    step_hours: Annotated[float, number("hours", "definition", "one decision a day", gt=0.0, le=24.0)] = 24.0
    yearly_peak: Annotated[float, number("share", "assumed", "retail peaks before the holidays", ge=0.0, lt=1.0)] = 0.15
    peak_day: Annotated[float, number("day of year", "assumed", "early December", ge=0.0, le=366.0)] = 340.0
    weekday_attention: Annotated[
        tuple[float, float, float, float, float, float, float],
        number("odds ratio", "published", "Friday best (GetResponse 2019-20: 19.6 % opens), others assumed near 1"),
    ] = (1.0, 1.0, 1.0, 1.0, 1.03, 0.98, 0.98)
    attention_drift: Annotated[float, number("log odds / year", "assumed", "off unless swept")] = 0.0
    demand_drift: Annotated[float, number("share / year", "assumed", "off unless swept", gt=-1.0)] = 0.0

    def __post_init__(self) -> None:
        try:
            naive = datetime.fromisoformat(self.start).tzinfo is None
        except ValueError:
            naive = True
        if naive:
            raise ParameterError("start", "SeasonalCalendar", allowed="ISO 8601 with an offset", got=self.start)

    @property
    def step_days(self) -> float:
        return self.step_hours / 24.0

    def now(self, step: int) -> datetime:
        """The instant of a step's decisions, UTC."""
        return datetime.fromisoformat(self.start).astimezone(UTC) + timedelta(hours=self.step_hours * step)

    def levels(self, step: int) -> tuple[float, float]:
        """Factor on the demand without messages, and log odds added to attention."""
        now = self.now(step)
        years = self.step_hours * step / (24.0 * 365.25)
        wave = 1.0 + self.yearly_peak * float(np.cos(2.0 * np.pi * (now.timetuple().tm_yday - self.peak_day) / 365.25))
        attention = float(np.log(self.weekday_attention[now.weekday()])) + self.attention_drift * years
        return wave * max(1.0 + self.demand_drift * years, 0.0), attention


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
