"""Fatigue: the stock, and the share of attention that is left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.world.attention import attention, decay, steady_stock

STOCKS = st.lists(st.floats(0.0, 60.0), min_size=2, max_size=8)
DROPS = st.floats(0.0, 3.0)
BENDS = st.floats(-2.0, 5.0)


def left(stock: float, drop: float, bend: float) -> float:
    return float(attention(np.array([stock]), np.array([drop]), np.array([bend]))[0])


def test_attention_by_hand() -> None:
    """(1 + 1.5 * 2)^(-0.5 / 1.5) = 4^(-1/3) = 0.63; exp(-0.1 * 3) = 0.7408; 1 - 0.5 = 0.5 on the straight line."""
    assert left(2.0, 0.5, 1.5) == pytest.approx(4.0 ** (-1.0 / 3.0))
    assert left(3.0, 0.1, 0.0) == pytest.approx(np.exp(-0.3))
    assert left(1.0, 0.5, -0.5) == pytest.approx(0.5)
    assert left(2.0, 0.5, -0.5) == 0.0
    assert left(9.0, 0.5, -0.5) == 0.0
    assert left(9.0, 0.0, -0.5) == 1.0


@given(STOCKS, DROPS, BENDS)
def test_attention_falls_from_one_and_stays_in_the_unit_interval(stocks: list[float], drop: float, bend: float) -> None:
    stock = np.sort(np.array([0.0, *stocks]))
    found = attention(stock, np.full(len(stock), drop), np.full(len(stock), bend))
    assert found[0] == 1.0
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found) <= 1e-12).all()


@given(st.floats(0.01, 20.0), st.floats(0.01, 2.0))
def test_the_formula_is_continuous_where_the_bend_is_zero(stock: float, drop: float) -> None:
    for bend in (1e-8, -1e-8):
        assert left(stock, drop, bend) == pytest.approx(left(stock, drop, 0.0), rel=1e-4, abs=1e-9)


def test_drop_is_the_relative_fall_at_rest() -> None:
    """m'(0) = -drop, whatever the bend."""
    for bend in (-0.5, 0.0, 1.5):
        assert (left(1e-6, 0.3, bend) - 1.0) / 1e-6 == pytest.approx(-0.3, rel=1e-3)


def test_a_stock_halves_in_its_half_life() -> None:
    assert float(decay(7.0, 7.0)) == 0.5
    assert float(decay(7.0, 1.0)) ** 7 == pytest.approx(0.5)
    np.testing.assert_allclose(decay(np.array([1.0, 2.0]), 1.0), [0.5, 0.5**0.5])


@given(st.floats(0.05, 3.0), st.floats(0.5, 30.0))
def test_the_steady_stock_is_where_the_stock_settles(per_day: float, half_life: float) -> None:
    stock = 0.0
    for _ in range(3000):
        stock = (stock + 1.0) * 2.0 ** (-1.0 / (per_day * half_life))
    assert stock == pytest.approx(steady_stock(per_day, half_life), rel=1e-6)
