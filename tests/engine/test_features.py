"""Features: what a schema refuses, ageing, and that nothing becomes a silent zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, DataError
from engine.features import (
    MISSING,
    PRESENT,
    STALE,
    FeatureSchema,
    age_states,
    categorical_column,
    numeric_column,
    schema_from,
)
from engine.types import NOT_AN_INSTANT
from tests.strategies import BENEFIT, all_present, categorical_spec, contexts, numeric_spec, schemas

DAY_US = 86_400_000_000


def _plain(**changes: Any) -> dict[str, Any]:
    spec = {
        "name": "recency",
        "type": "numeric",
        "unit": "days",
        "source": "shop",
        "collected_where": "checkout",
        "customer_benefit": BENEFIT,
    }
    return {"features": [{key: value for key, value in {**spec, **changes}.items() if value is not ...}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"customer_benefit": ...}, "customer_benefit"),
        ({"customer_benefit": ""}, "what the contact gains"),
        ({"customer_benefit": "more sales"}, "three words"),
        ({"unit": " "}, "unit"),
        ({"source": ""}, "source"),
        ({"collected_where": ""}, "collected_where"),
        ({"type": "text"}, "type"),
        ({"name": "9lives"}, "letter first"),
        ({"name": "a|b"}, "letter first"),
        ({"max_age_days": 0}, "positive"),
        ({"max_age_days": float("nan")}, "positive"),
        ({"max_age_days": float("inf")}, "finite"),
        ({"low": float("-inf")}, "finite"),
        ({"low": 2, "high": 1}, "at most high"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_schema_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema_from(_plain(**changes), source="features.yaml")
    # msgspec keeps the message of the template, the hint stands in it too.
    assert message in str(caught.value)


def test_names_are_unique() -> None:
    with pytest.raises(ConfigError, match="unique by name"):
        schema_from({"features": _plain()["features"] * 2})


@given(schemas())
def test_a_schema_survives_plain_data(schema: FeatureSchema) -> None:
    assert schema_from(schema.to_builtins()) == schema
    assert schema_from(schema.to_builtins()).version == schema.version


@given(st.data())
def test_what_is_not_present_has_no_value(data: st.DataObject) -> None:
    """Never a silent zero: a missing or stale number is NaN, a missing or stale level has the code -1."""
    schema = data.draw(schemas())
    context = data.draw(contexts(schema, 7))
    for column in context.columns.values():
        absent = column.state != PRESENT
        blank = column.values == -1 if column.levels else np.isnan(column.values)
        assert (blank == absent).all()


@given(st.data())
def test_take_keeps_rows_together(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    context = data.draw(contexts(schema, 6))
    rows = np.array(data.draw(st.lists(st.integers(0, 5), max_size=8)), dtype=np.int64)
    taken = context.take(rows)
    assert taken.n == len(rows)
    for name, column in taken.columns.items():
        np.testing.assert_array_equal(column.values, context.columns[name].values[rows])
        np.testing.assert_array_equal(column.state, context.columns[name].state[rows])
    assert context.take(np.array([True, False] * 3)).n == 3
    assert context.take(slice(2, None)).n == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 10.5])
def test_a_bad_number_that_claims_to_be_present_is_refused(value: float) -> None:
    spec = numeric_spec(low=0.0, high=10.0)
    with pytest.raises(DataError, match=r"finite and in \[0, 10\].*row 2 \(1 such rows\)"):
        numeric_column(spec, np.array([0.0, 10.0, value]), all_present(3))
    column = numeric_column(spec, np.array([0.0, 10.0, value]), np.array([0, 0, MISSING], dtype=np.uint8))
    assert np.isnan(column.values[2])


def test_levels_and_codes_are_checked() -> None:
    spec = categorical_spec(levels=("Urban", "Rural"))
    with pytest.raises(DataError, match=r"must be one of .*got .'Lunar'"):
        categorical_column(spec, np.array([0, 1], dtype=np.int32), ("Urban", "Lunar"), all_present(2))
    for code in (-1, 2):
        with pytest.raises(DataError, match="codes without a level"):
            categorical_column(spec, np.array([0, code], dtype=np.int32), ("Urban", "Rural"), all_present(2))
    # A level that no present row uses does no harm.
    states = np.array([PRESENT, STALE], dtype=np.uint8)
    kept = categorical_column(spec, np.array([0, 1], dtype=np.int32), ("Urban", "Lunar"), states)
    assert kept.values.tolist() == [0, -1]


def test_ageing_by_hand() -> None:
    """Limit 7 days: 7 days old is present, 1 us more is stale, the future is missing, unknown age is stale."""
    now = 100 * DAY_US
    as_of = np.array([now - 7 * DAY_US, now - 7 * DAY_US - 1, now + 1, NOT_AN_INSTANT, now], dtype=np.int64)
    aged = age_states(all_present(5), as_of, now, 7.0, NOT_AN_INSTANT)
    assert aged.tolist() == [PRESENT, STALE, MISSING, STALE, PRESENT]
    ageless = age_states(all_present(5), as_of, now, None, NOT_AN_INSTANT)
    assert ageless.tolist() == [PRESENT, PRESENT, MISSING, PRESENT, PRESENT]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-20, 20)), min_size=1), st.floats(0.5, 10))
def test_ageing_never_makes_a_value_present(rows: list[tuple[int, int]], limit: float) -> None:
    state = np.array([s for s, _ in rows], dtype=np.uint8)
    as_of = np.array([d * DAY_US for _, d in rows], dtype=np.int64)
    aged = age_states(state, as_of, 0, limit, NOT_AN_INSTANT)
    assert (aged[state != PRESENT] == state[state != PRESENT]).all()
    young = (as_of <= 0) & (as_of >= -limit * DAY_US)
    assert ((aged == PRESENT) == ((state == PRESENT) & young)).all()
