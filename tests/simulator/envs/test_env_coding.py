"""The fixed coding of observations: by hand, and that nothing leaves its range."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSpec
from simulator.envs.coding import CLOCK, Coding, scaled
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

MONDAY = datetime(2026, 9, 7, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


def spec(unit: str, low: float | None = None) -> FeatureSpec:
    return FeatureSpec(
        name="x", type="numeric", unit=unit, source="s", collected_where="w", customer_benefit="one two three", low=low
    )


def encoded(coding: Coding, context: ContextBatch) -> np.ndarray:
    out = np.full((context.n, coding.d), np.nan, dtype=np.float32)
    coding.into(out, context, np.ones(context.n, dtype=np.bool_), 0.25, MONDAY)
    return out


def changed(context: ContextBatch, name: str, column: Column) -> ContextBatch:
    return ContextBatch(context.schema, {**context.columns, name: column}, context.n)


def test_columns_by_hand(scenario: Scenario) -> None:
    """log(1 + 3) / log(1 + 50) = 0.3526 for a count of 3; a stale value is 0 with its own indicator."""
    coding = Coding(scenario)
    context = World(scenario, 3, 1).contacts(np.arange(3)).context
    states = np.array([PRESENT, MISSING, STALE], dtype=np.uint8)
    context = changed(context, "visits_7d", Column(np.array([3.0, np.nan, np.nan]), states))
    levels = context.columns["usual_hour"].levels
    context = changed(context, "usual_hour", Column(np.array([2, -1, -1], dtype=np.int32), states, levels))
    out = encoded(coding, context)
    at = {name: position for position, name in enumerate(coding.names)}
    assert out[:, : len(CLOCK)].tolist() == [[0.25, 1.0, 0.0, 1.0]] * 3
    assert out[:, at["visits_7d"]].tolist() == pytest.approx([np.log(4.0) / np.log(51.0), 0.0, 0.0])
    assert out[:, at["visits_7d=missing"]].tolist() == [0.0, 1.0, 0.0]
    assert out[:, at["visits_7d=stale"]].tolist() == [0.0, 0.0, 1.0]
    shown = [f"usual_hour={name}" for name in (*levels, "missing", "stale")]
    assert out[:, [at[name] for name in shown]].tolist() == [
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    ]


def test_levels_are_read_by_name_not_by_code(scenario: Scenario) -> None:
    coding = Coding(scenario)
    context = World(scenario, 2, 1).contacts(np.arange(2)).context
    present = np.zeros(2, dtype=np.uint8)
    codes = np.array([0, 1], dtype=np.int32)
    out = encoded(coding, changed(context, "device", Column(codes, present, ("desktop", "android"))))
    at = {name: position for position, name in enumerate(coding.names)}
    assert out[:, at["device=desktop"]].tolist() == [1.0, 0.0]
    assert out[:, at["device=android"]].tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="levels \\['fridge'\\]"):
        encoded(coding, changed(context, "device", Column(codes, present, ("fridge", "desktop"))))


def test_every_row_is_within_the_limits(scenario: Scenario) -> None:
    coding, world = Coding(scenario), World(scenario, 500, 2)
    for step in range(10):
        out = encoded(coding, world.contacts(np.arange(500)).context)
        assert np.isfinite(out).all()
        assert (out >= coding.low).all()
        assert (out <= coding.high).all()
        one_hot = [position for position, name in enumerate(coding.names) if name.startswith("lifecycle_stage=")]
        assert out[:, one_hot].sum(axis=1).tolist() == [1.0] * 500
        world.advance(np.full(500, 1 + step, dtype=np.int32))
    assert len(set(coding.names)) == coding.d


@given(
    unit=st.sampled_from(["days", "count", "usd", "pages", "share", "kg"]),
    value=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_scaled_is_odd_bounded_and_rising(unit: str, value: float) -> None:
    low, high, mirrored = scaled(spec(unit), np.array([value, value + abs(value) + 1.0, -value])).tolist()
    assert -1.0 <= low <= high <= 1.0
    assert mirrored == -low
