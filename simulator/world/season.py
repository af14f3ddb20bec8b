"""The calendar: when the world starts, how long a step is, and how demand and attention move with the date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec
import numpy as np

from engine.errors import ParameterError
from simulator.world.numbers import number


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
