"""The calendar: dates, seasons and drifts by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from simulator.people.people import HOUR_KINDS
from simulator.scenario import make_part
from simulator.world.attention import hour_table, slot_hours
from simulator.world.timing import SeasonalCalendar


def test_steps_are_instants_of_the_clock() -> None:
    calendar = SeasonalCalendar(start="2026-09-01T16:00:00+02:00", step_hours=12.0)
    assert calendar.now(0) == datetime(2026, 9, 1, 14, tzinfo=UTC)
    assert calendar.now(3) == datetime(2026, 9, 3, 2, tzinfo=UTC)
    assert calendar.step_days == 0.5


def test_demand_peaks_on_the_peak_day() -> None:
    """1 + 0.15 on day 340; half a year away 1 - 0.15."""
    calendar = SeasonalCalendar(start="2026-12-06T00:00:00+00:00")
    assert calendar.now(0).timetuple().tm_yday == 340
    assert calendar.levels(0)[0] == pytest.approx(1.15)
    assert calendar.levels(183)[0] == pytest.approx(0.85, abs=1e-3)


def test_weekdays_and_drifts_by_hand() -> None:
    """2026-09-01 is a Tuesday, so day 3 is Friday with odds 1.03; after 36.525 steps a tenth of a year has passed."""
    flat = {"yearly_peak": 0.0, "attention_drift": 1.0, "demand_drift": -0.5}
    calendar = SeasonalCalendar(**flat)
    assert calendar.now(3).weekday() == 4
    assert calendar.levels(3)[1] == pytest.approx(np.log(1.03) + 3 / 365.25)
    assert calendar.levels(1461)[0] == 0.0
    assert SeasonalCalendar(**(flat | {"step_hours": 24.0})).levels(36)[0] == pytest.approx(1.0 - 0.5 * 36 / 365.25)


@given(st.integers(0, 3000))
def test_demand_is_never_negative(step: int) -> None:
    assert SeasonalCalendar(demand_drift=-0.9, yearly_peak=0.99).levels(step)[0] >= 0.0


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"start": "2026-09-01T14:00:00"}, "start"),
        ({"start": "soon"}, "start"),
        ({"step_hours": 0}, "step_hours"),
        ({"step_hours": 48}, "step_hours"),
        ({"yearly_peak": 1.0}, "yearly_peak"),
        ({"peak_day": 400}, "peak_day"),
        ({"weekday_attention": [1, 1]}, "weekday_attention"),
        ({"demand_drift": -1.0}, "demand_drift"),
    ],
    ids=["naive", "no date", "no time", "two days", "peak of one", "day 400", "two weekdays", "demand gone"],
)
def test_a_wrong_calendar_is_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        make_part("calendar", params)
    assert caught.value.hint


def test_every_kind_of_reader_has_its_hours() -> None:
    """Mean 0 over the day, largest value 1, at the kind's own time; over all kinds the day is nearly flat."""
    table = hour_table()
    np.testing.assert_allclose(table.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(table.max(axis=1), 1.0)
    best = dict(zip(HOUR_KINDS, table.argmax(axis=1).tolist(), strict=True))
    assert best["work_hours"] in {10, 11}
    assert best["evening"] in {18, 19}
    assert best["late_mobile"] in {21, 22}
    assert best["early"] in {6, 7}
    assert slot_hours((9, "now", 23), 14).tolist() == [9, 14, 23]
