"""Live prices by hand: one item, one price, until it ends."""

from __future__ import annotations

import numpy as np
import pytest

from engine.catalog import Arm
from engine.guardrails.history.prices import PriceList, offer_of
from tests.engine.guardrails.histories import DAY_US, NOW_AT, Send, contact, found, gone

WEEK = {"life_s": 7 * 86_400}


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        (Send(24, template="shoes10", discount=0.1), set()),  # the same price
        (Send(24, template="shoes10", discount=0.2), {"shoes10"}),
        (Send(24, template="shoes10", discount=0.0), {"shoes10"}),  # 50 USD were shown, now 45
        (Send(24, template="shoes", category="shoes", discount=0.0), set()),  # this arm shows no price
        (Send(24, template="news"), set()),  # showed no price
        (Send(24, template="retired", category="hats", discount=0.3), set()),
        (Send(24, template="retired", category="hats", discount=0.2), {"hats30"}),
        (Send(24, template=None, category="shoes", discount=np.nan), {"shoes10"}),  # nobody knows how deep
        (Send(24, template="retired", category="coats", discount=0.2), set()),
        (Send(24, template="hats30", category="hats", discount=0.0), {"hats30"}),  # the full price was shown
        (Send(24, discount=0.2), {"shoes10", "hats30"}),  # nobody knows of what: it may have been either
        (Send(24, discount=0.1), {"hats30"}),
        (Send(24, discount=0.0), {"shoes10", "hats30"}),  # it may have shown a full price
        (Send(24, category="hats", discount=0.2), {"hats30"}),
        (Send(24, template="retired", discount=0.2), {"shoes10", "hats30"}),
        (Send(24 * 7, template="shoes10", discount=0.2), set()),  # the price has ended
    ],
)
def test_another_price_of_the_same_waits(send: Send, expected: set[str]) -> None:
    assert gone("sticky_price", WEEK, contact([send])) == expected


def test_it_ends_with_the_newest_price_that_differs() -> None:
    who = contact(
        [Send(24 * 3, template="shoes10", discount=0.2), Send(24, template="shoes10", discount=0.1)],
    )
    finding = found("sticky_price", WEEK, who)["shoes10"]
    assert (finding.observed["depth_sent"], finding.next_allowed_at) == (0.2, NOW_AT + 4 * DAY_US)


def test_prices_in_dollars_are_compared_to_half_a_cent() -> None:
    """40 USD less a quarter, 30 USD plain and 30.01 USD plain, of one item."""
    item = {"item": "x"}
    arms = (
        Arm(id="quarter", discount_depth=0.25, attributes={**item, "price_usd": 40.0}),
        Arm(id="plain", attributes={**item, "price_usd": 30.0}),
        Arm(id="dearer", attributes={**item, "price_usd": 30.01}),
        Arm(id="other", attributes={"item": "y", "price_usd": 9.0}),
        Arm(id="silent", attributes={**item}),
    )
    prices = PriceList(tuple(offer_of(arm) for arm in arms))
    assert prices.differ("quarter", "", 0.25).tolist() == [False, False, True, False, False]
    assert prices.differ("dearer", "", 0.0).tolist() == [True, True, False, False, False]
    assert prices.differ("silent", "", 0.0).tolist() == [False] * 5
    assert prices.differ("silent", "", 0.25).tolist() == [False, True, True, False, False]


def test_an_unknown_history_blocks() -> None:
    assert "shoes" in gone("sticky_price", WEEK, contact(None))
