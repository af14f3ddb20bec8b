"""Margins by hand: after the discount and the send."""

from __future__ import annotations

import pytest

from engine.catalog import Arm, Catalog
from engine.guardrails.rule import Scene
from tests.engine.guardrails.histories import NOW_AT, allowed_of, contact, found, gone

FREE = {"*": 0.0}


@pytest.mark.parametrize(
    ("floor", "costs", "expected"),
    [
        (0, FREE, {"hats30"}),  # a discount, and no price: nobody knows what it costs
        (15, FREE, {"hats30", "laces"}),  # 20 - 0.1 x 50 = 15
        (15.01, FREE, {"hats30", "laces", "shoes10"}),
        (14.9, {"email": 0.2, "sms": 0.0}, {"hats30", "laces", "shoes10"}),
        (0, {"email": 0.001, "*": 9.0}, {"hats30"}),  # laces: 0.001 - 0.001 is not below 0
        (0, {"email": 0.002}, {"hats30", "laces"}),
        (0, {"sms": 0.0}, {"hats30", "shoes10"}),  # the cost of an e-mail is unknown
        (-100, FREE, {"hats30"}),
        (None, {}, set()),
    ],
)
def test_arms_below_the_floor_are_removed(floor: float | None, costs: dict[str, float], expected: set[str]) -> None:
    """Arms without a margin and without a discount pass: shoes, news."""
    assert gone("margin_floor", {"floor_usd": floor, "send_cost_usd": costs}, contact()) == expected


def test_the_finding_says_what_is_left() -> None:
    reasons = found("margin_floor", {"floor_usd": 16, "send_cost_usd": {"email": 0.5}}, contact())
    assert reasons["shoes10"].observed == pytest.approx(14.5)
    assert (reasons["hats30"].observed, reasons["hats30"].next_allowed_at) == ("unknown", None)


@pytest.mark.parametrize(
    ("margin", "price", "depth", "cost", "floor", "removed"),
    [
        (6.01, 30.0, 0.2, 0.01, 0.0, False),  # exactly 0; in binary floats -4.4e-16
        (6.01, 30.0, 0.2, 0.01, 0.01, True),
        (6.0099, 30.0, 0.2, 0.01, 0.0, True),  # a hundredth of a cent too little
        (0.3, 1.0, 0.1, 0.2, 0.0, False),
        (0.3, 1.0, 0.1, 0.2, -0.0, False),
        (1.1, 10.0, 0.1, 0.1, 0.0, False),
        (3.3, 1.1, 0.1, 0.19, 3.0, False),
    ],
)
def test_money_is_compared_as_it_is_written(
    margin: float, price: float, depth: float, cost: float, floor: float, removed: bool
) -> None:
    deal = Arm(id="deal", approved=True, margin_usd=margin, discount_depth=depth, attributes={"price_usd": price})
    catalog = Catalog(name="money", channels=("email",), hours=("now",), arms=(deal,))
    rule = {"floor_usd": floor, "send_cost_usd": {"*": cost}}
    scene = Scene(catalog, contact(catalog=catalog), NOW_AT, 600)
    assert (not allowed_of("margin_floor", rule, scene)[0, 1]) is removed
