"""Numbers that are written as texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.files.tables import numbers_of


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_every_float_comes_back(values: list[float]) -> None:
    shown = [[repr(value), f"{value:.17e}", f"{value:+}"] for value in values]
    read = numbers_of(pa.array([text for texts in shown for text in texts], pa.string()))
    assert read.tolist() == [value for value in values for _ in range(3)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), ("+.5", 0.5), ("7.", 7.0), ("-1E+3", -1000.0), ("64.0422650443282", 64.0422650443282)],
)
def test_numbers(text: str, value: float) -> None:
    assert numbers_of(pa.array([text])).tolist() == [value]


@pytest.mark.parametrize(
    "text", ["", "1,5", "1 000", "1_000", "0x10", "nan", "inf", "--1", "+-1", "1e", ".", "٣", "1.2.3", None]
)
def test_what_is_no_number(text: str | None) -> None:
    assert np.isnan(numbers_of(pa.array([text], pa.string()))).all()
