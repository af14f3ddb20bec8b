"""Intervals of shares and of differences of shares: known limits, and what they become when events are many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from engine.ope.metrics.intervals import delta_bounds, gap_bounds, share_bounds


def test_equal_weights_give_clopper_and_pearson() -> None:
    """7 of 50, one row a unit: the textbook's 0.0582 to 0.2674."""
    stderr = math.sqrt(0.14 * 0.86 / 50)
    low, high = share_bounds(0.14, stderr, 50.0, 50, 0.05)
    assert (low, high) == pytest.approx((beta.ppf(0.025, 7, 44), beta.ppf(0.975, 8, 43)))
    assert (low, high) == pytest.approx((0.0582, 0.2674), abs=1e-4)


def test_nothing_seen_still_has_an_upper_limit() -> None:
    """0 of 100: 1 - 0.025^(1/100) = 3.62 %."""
    assert share_bounds(0.0, 0.0, 100.0, 100, 0.05) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert share_bounds(1.0, 0.0, 100.0, 100, 0.05) == pytest.approx((0.025 ** (1 / 100), 1.0))


def test_few_units_make_it_wider() -> None:
    many, few = (share_bounds(0.2, 0.03, 500.0, units, 0.05) for units in (500, 12))
    assert few[0] < many[0] < 0.2 < many[1] < few[1]


def test_a_small_variance_by_chance_makes_no_narrow_interval() -> None:
    assert share_bounds(0.2, 1e-6, 60.0, 100, 0.05) == share_bounds(0.2, 1e-9, 60.0, 100, 0.05)


@given(
    share=st.floats(0.0, 1.0),
    stderr=st.floats(0.0, 0.4),
    effective=st.floats(1.5, 1e6),
    units=st.integers(2, 5000),
    alpha=st.floats(0.01, 0.2),
)
def test_a_share_lies_in_its_interval_within_0_and_1(
    share: float, stderr: float, effective: float, units: int, alpha: float
) -> None:
    low, high = share_bounds(share, stderr, effective, units, alpha)
    assert 0.0 <= low <= share <= high <= 1.0
    narrower = share_bounds(share, stderr, effective, units, min(2 * alpha, 0.5))
    assert low <= narrower[0] + 1e-12
    assert narrower[1] <= high + 1e-12


def test_symmetric_intervals_give_the_delta_method_s_difference() -> None:
    """Half-widths 3 and 4, no correlation: 5; fully correlated and equal: nothing."""
    assert gap_bounds((10.0, 7.0, 13.0), (6.0, 2.0, 10.0), 0.0) == pytest.approx((-1.0, 9.0))
    assert gap_bounds((10.0, 7.0, 13.0), (6.0, 3.0, 9.0), 1.0) == pytest.approx((4.0, 4.0))


def test_student_s_interval() -> None:
    low, high = delta_bounds(1.0, 0.5, 5, 0.05)
    assert (low, high) == pytest.approx((1.0 - 0.5 * 2.776445, 1.0 + 0.5 * 2.776445))
