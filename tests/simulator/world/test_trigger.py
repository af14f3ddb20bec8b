"""Triggers: who is decided for, by hand for every anchor."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, ParameterError
from simulator.people.people import NEVER
from simulator.scenario import load_scenario
from simulator.world.timing import Trigger
from simulator.world.world import World
from tests.simulator.worlds import moment, world


@pytest.fixture
def batch() -> World:
    """Six contacts; the last one joins on day 12, and now is day 10."""
    one = world("newsletter", 6)
    one.people.join_day[:] = [-50.0, 0.0, 4.0, 8.0, 10.0, 12.0]
    return one


def who(batch: World, **trigger: Any) -> list[int]:
    rows = np.flatnonzero(Trigger(**trigger).deciding(batch.people, batch.state, moment(10)))
    found: list[int] = rows.tolist()
    return found


def test_days_since_joining(batch: World) -> None:
    """60, 10, 6, 2 and 0 days; the sixth is not there yet."""
    assert who(batch, anchor="joined") == [0, 1, 2, 3, 4]
    assert who(batch, anchor="joined", from_days=2, until_days=10) == [1, 2, 3]
    assert who(batch, anchor="joined", from_days=-5, until_days=0) == [4]


def test_days_around_a_due_day(batch: World) -> None:
    """Due on 5, 10, 13, 24, never, 10: 5, 0, -3 and -14 days."""
    batch.state.due_day[:] = [5.0, 10.0, 13.0, 24.0, np.nan, 10.0]
    assert who(batch, anchor="due", from_days=-14, until_days=0) == [1, 2, 3]
    assert who(batch, anchor="due", from_days=1) == [0]
    assert who(batch, anchor="due", from_days=-14, until_days=0, never_counts=True) == [1, 2, 3, 4]


@pytest.mark.parametrize("anchor", ["browsed", "ordered", "engaged"])
def test_days_since_what_is_known(batch: World, anchor: str) -> None:
    """At steps 9, 3, never, 10, 0: 1, 7, -, 0 and 10 days."""
    getattr(batch.state.known, anchor)[:] = [9, 3, -NEVER, 10, 0, 9]
    assert who(batch, anchor=anchor, from_days=1, until_days=7) == [0, 1]
    assert who(batch, anchor=anchor, from_days=8, never_counts=True) == [2, 4]


def test_quiet_is_neither_reading_nor_buying(batch: World) -> None:
    batch.state.known.engaged[:] = [9, 1, -NEVER, 1, -NEVER, 0]
    batch.state.known.ordered[:] = [1, 9, 1, -NEVER, -NEVER, 0]
    assert who(batch, anchor="quiet", from_days=5) == [2, 3]
    assert who(batch, anchor="quiet", from_days=5, never_counts=True) == [2, 3, 4]


def test_an_order_ends_the_journey_that_it_came_in(batch: World) -> None:
    """Visited on step 6; ordered before, on the same step, after, or never."""
    batch.state.known.browsed[:] = 6
    batch.state.known.ordered[:] = [5, 6, 9, -NEVER, -300, 9]
    assert who(batch, anchor="browsed", from_days=1, until_days=7, stop_on_order=True) == [0, 3, 4]
    batch.state.due_day[:] = 14.0
    # The journey began ten days before day 14, on day 4: an order on step 5, 6 or 9 ends it, one on step 3 does not.
    batch.state.known.ordered[:] = [3, 4, 9, -NEVER, 5, 9]
    assert who(batch, anchor="due", from_days=-10, until_days=0, stop_on_order=True) == [0, 3]


@pytest.mark.parametrize(
    ("trigger", "named"),
    [
        ({"anchor": "moon"}, "anchor"),
        ({"anchor": "due", "from_days": 3, "until_days": 1}, "until_days"),
        ({"anchor": "ordered", "stop_on_order": True}, "stop_on_order"),
        ({"anchor": "quiet", "stop_on_order": True}, "stop_on_order"),
        ({"anchor": "joined", "after": 3}, "after"),
        ({}, "anchor"),
    ],
    ids=["anchor", "backwards", "order ends an order", "order ends silence", "unknown", "nothing"],
)
def test_a_wrong_trigger_is_named(trigger: dict[str, Any], named: str) -> None:
    with pytest.raises((msgspec.ValidationError, ParameterError), match=named):
        msgspec.convert(trigger, Trigger)
    changes = {"trigger": {"until_days": None, **trigger}}
    if trigger and "anchor" in trigger:
        with pytest.raises(ConfigError, match=named):
            load_scenario("newsletter", changes)
