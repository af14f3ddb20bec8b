"""First touches by hand: no discount, unless price is the motive."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.guardrails.histories import HOUR_US, NOW_AT, Send, contact, found, gone

RULE = {"tau": 0.5}
DISCOUNTED = {"shoes10", "hats30"}


@pytest.mark.parametrize(("motive", "expected"), [(np.nan, DISCOUNTED), (0.5, DISCOUNTED), (0.51, set())])
def test_a_price_motive_must_be_above_tau(motive: float, expected: set[str]) -> None:
    assert gone("first_touch", RULE, contact(motive_price=motive)) == expected


def test_a_later_touch_may_bring_a_discount() -> None:
    assert gone("first_touch", RULE, contact([Send(24 * 400)])) == set()
    assert gone("first_touch", RULE, contact([Send(1, purpose="transactional")])) == DISCOUNTED
    assert (
        gone("first_touch", {**RULE, "counts": ["transactional"]}, contact([Send(1, purpose="transactional")])) == set()
    )


def test_after_a_while_the_next_touch_is_a_first_one_again() -> None:
    """The last slot is 21 hours ahead (09:00 tomorrow): the touch must be inside the window even there."""
    monthly = {**RULE, "window_s": 30 * 86_400}
    assert gone("first_touch", monthly, contact([Send(24 * 30 - 22)])) == set()
    assert gone("first_touch", monthly, contact([Send(24 * 30 - 21)])) == DISCOUNTED


def test_a_planned_send_is_no_touch_before_it_leaves() -> None:
    who = contact([Send(-5)])
    assert gone("first_touch", RULE, who) == DISCOUNTED
    assert found("first_touch", RULE, who)["hats30"].next_allowed_at == NOW_AT + 5 * HOUR_US
    assert found("first_touch", RULE, contact())["hats30"].next_allowed_at is None


def test_an_unknown_history_blocks_and_an_unknown_motive_does_not_open() -> None:
    assert "shoes" in gone("first_touch", RULE, contact(None, motive_price=0.9))
    bare = contact()
    without = type(bare)(**{**vars(bare), "extra": {}})
    assert gone("first_touch", RULE, without) == DISCOUNTED
