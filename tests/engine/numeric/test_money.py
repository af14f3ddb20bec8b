"""Amounts as people write them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.guardrails.brakes import Brake, Tier, review
from engine.guardrails.conditions import ChannelHealth, Held
from engine.guardrails.history.prices import PriceList, offer_of
from engine.guardrails.rule import Scene
from engine.numeric.money import exact, exceed, exceeds
from tests.engine.guardrails.histories import NOW_AT, allowed_of, contact

CENTS = st.integers(-10_000_000, 10_000_000)


@given(CENTS, CENTS, CENTS)
def test_differences_of_cents_are_exact(price: int, cost: int, floor: int) -> None:
    """Dollars of whole cents are subtracted and compared as the cents are."""
    left = exact(price / 100) - exact(cost / 100)
    assert (left < exact(floor / 100)) is (price - cost < floor)


@given(CENTS, CENTS, CENTS)
def test_a_sum_exceeds_a_limit_by_a_cent_or_not_at_all(price: int, more: int, limit: int) -> None:
    assert exceeds(price / 100 + more / 100, limit / 100) is (price + more > limit)
    assert bool(exceed(np.array([price / 100 + more / 100]), limit / 100)[0]) is (price + more > limit)


def test_by_hand() -> None:
    assert exact(6.01) - exact(0.2) * exact(30) - exact(0.01) == Decimal(0)
    assert exact(30) == Decimal(30)
    assert 0.1 + 0.2 > 0.3
    assert not exceeds(0.1 + 0.2, 0.3)
    assert exceeds(0.3001, 0.3)
    assert exceed(np.array([0.1 + 0.2, 0.31, np.nan]), 0.3).tolist() == [False, True, False]


@pytest.mark.parametrize(("depth", "most", "removed"), [(0.1 + 0.2, 0.3, False), (0.3, 0.3, False), (0.301, 0.3, True)])
def test_a_depth_at_its_limit_is_not_too_deep(depth: float, most: float, removed: bool) -> None:
    arms = (Arm(id="deal", approved=True, discount_depth=depth),)
    catalog = Catalog(name="depths", channels=("email",), hours=("now",), arms=arms)
    scene = Scene(catalog, contact(catalog=catalog), NOW_AT, 600)
    params = {"max_depth": most, "max_sends": None, "window_s": 86_400}
    assert (not allowed_of("discount", params, scene)[0, 1]) is removed


@pytest.mark.parametrize(("motive", "moved"), [(0.1 + 0.2, False), (0.31, True)])
def test_a_motive_at_its_limit_is_not_above_it(motive: float, moved: bool) -> None:
    arms = (Arm(id="deal", approved=True, discount_depth=0.1),)
    catalog = Catalog(name="motives", channels=("email",), hours=("now",), arms=arms)
    scene = Scene(catalog, contact(catalog=catalog, motive_price=motive), NOW_AT, 600)
    assert bool(allowed_of("first_touch", {"tau": 0.3}, scene)[0, 1]) is moved


def test_a_rate_at_the_release_limit_is_not_below_it() -> None:
    """7 of 100 are 7 %, not below; 0.07 * 100 is 7.000000000000001 in binary floats."""
    tier = Tier(name="on", effect="stop", above=0.08, release_below=0.07)
    brake = Brake(rate="complaints", tiers=(tier,), min_sent=1)
    window = ChannelHealth(10_000, 600)
    assert review(brake, Held("on", 0, 10), window, ChannelHealth(100, 7), 11) == Held("on", 0, 11)
    assert review(brake, Held("on", 0, 10), window, ChannelHealth(100, 6), 11) == Held("none", 0, 11)


def test_two_prices_that_differ_by_half_a_cent_are_two() -> None:
    """4.35 USD against 4.345 USD: in binary floats they differ by a little less than half a cent."""
    item = {"item": "x"}
    arms = (Arm(id="a", attributes={**item, "price_usd": 4.35}), Arm(id="b", attributes={**item, "price_usd": 4.345}))
    assert 4.35 - 4.345 < 0.005
    prices = PriceList(tuple(offer_of(arm) for arm in arms))
    assert prices.differ("a", "", 0.0).tolist() == [False, True]
