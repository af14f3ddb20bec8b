"""Margins by hand: after the discount and the send."""

from __future__ import annotations

import pytest

from tests.engine.guardrails.histories import contact, found, gone

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
