"""Discounts by hand: how deep, and how many in ninety days."""

from __future__ import annotations

import numpy as np

from tests.engine.guardrails.histories import DAY_US, NOW_AT, Send, contact, found, gone

TWO_IN_90_DAYS = {"max_depth": None, "max_sends": 2, "window_s": 90 * 86_400}
DISCOUNTED = {"shoes10", "hats30"}


def test_depth_is_capped_inclusively() -> None:
    for depth, expected in ((0.3, set()), (0.29, {"hats30"}), (0.1, {"hats30"}), (0, DISCOUNTED)):
        rule = {"max_depth": depth, "max_sends": None, "window_s": 1}
        assert gone("discount", rule, contact()) == expected
    finding = found("discount", {"max_depth": 0.2, "max_sends": None, "window_s": 1}, contact())["hats30"]
    assert (finding.observed, finding.next_allowed_at) == (0.3, None)


def test_the_third_discount_waits() -> None:
    two = [Send(24 * 80, discount=0.1), Send(24 * 5, "sms", purpose="transactional", discount=0.05)]
    assert gone("discount", TWO_IN_90_DAYS, contact(two)) == DISCOUNTED
    finding = found("discount", TWO_IN_90_DAYS, contact(two))["shoes10"]
    assert (finding.observed, finding.next_allowed_at) == (2, NOW_AT + 10 * DAY_US)
    assert gone("discount", TWO_IN_90_DAYS, contact([*two[1:], Send(1)])) == set()
    assert gone("discount", TWO_IN_90_DAYS, contact([*two[1:], Send(24 * 90, discount=0.1)])) == set()


def test_an_unknown_depth_counts_as_a_discount() -> None:
    assert gone("discount", TWO_IN_90_DAYS, contact([Send(2, discount=np.nan), Send(1, discount=np.nan)])) == DISCOUNTED


def test_zero_discounts_is_never() -> None:
    never = {"max_depth": None, "max_sends": 0, "window_s": 1}
    assert gone("discount", never, contact()) == DISCOUNTED
    assert found("discount", never, contact())["hats30"].next_allowed_at is None


def test_an_unknown_history_blocks() -> None:
    assert "shoes" in gone("discount", TWO_IN_90_DAYS, contact(None))
