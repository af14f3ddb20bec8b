"""Topic caps by hand: three per day and topic, where a state says so."""

from __future__ import annotations

import pytest

from tests.engine.guardrails.histories import HOUR_US, NOW_AT, Send, contact, found, gone

FLORIDA = {"max": 3, "window_s": 86_400, "states": ["FL", "OK"]}
THREE = [Send(20, topic="sale"), Send(5, "sms", topic="sale"), Send(1, topic="sale")]


@pytest.mark.parametrize(
    ("state", "area_state", "held"),
    [
        ("FL", "NY", True),
        ("NY", "FL", True),
        ("OK", "", True),
        ("NY", "NY", False),
        ("", "", False),
        (None, "NY", True),  # not known: may be Florida
        ("NY", None, True),
    ],
)
def test_it_holds_in_the_state_of_residence_or_of_the_area_code(state: str, area_state: str, held: bool) -> None:
    about_sale = {"shoes", "shoes10", "hats30", "laces"}  # the last two name no topic: they may be about anything
    who = contact(THREE, state=state, area_state=area_state)
    assert gone("topic_cap", FLORIDA, who) == (about_sale if held else set())


def test_the_fourth_waits_until_the_first_of_three_leaves_the_window() -> None:
    finding = found("topic_cap", FLORIDA, contact(THREE, state="FL"))["shoes"]
    assert (finding.observed, finding.limit["max"], finding.next_allowed_at) == (3, 3, NOW_AT + 4 * HOUR_US)


def test_topics_are_counted_apart_and_sends_without_one_count_for_all() -> None:
    news = [Send(3, topic="news"), Send(2, topic="news")]
    assert gone("topic_cap", FLORIDA, contact([*THREE[:2], *news], state="FL")) == {"hats30", "laces"}
    nameless = [*news, Send(1, topic=None)]
    assert gone("topic_cap", FLORIDA, contact(nameless, state="FL")) == {"news", "hats30", "laces"}


def test_transactional_sends_and_other_channels_do_not_count_where_the_rule_says_so() -> None:
    receipts = [Send(hours, purpose="transactional", topic="sale") for hours in (1, 2, 3)]
    assert gone("topic_cap", FLORIDA, contact(receipts, state="FL")) == set()
    assert gone("topic_cap", {**FLORIDA, "counts": ["transactional"]}, contact(receipts, state="FL")) != set()
    assert gone("topic_cap", {**FLORIDA, "channels": ["sms"]}, contact(THREE, state="FL")) == set()
    texts = [Send(hours, "sms", topic="sale") for hours in (1, 2, 3)]
    assert gone("topic_cap", {**FLORIDA, "channels": ["email"]}, contact(texts, state="FL")) == set()


def test_exactly_one_window_old_no_longer_counts() -> None:
    sends = [Send(24, topic="sale"), *THREE[1:]]
    assert gone("topic_cap", FLORIDA, contact(sends, state="FL")) == set()


def test_the_cap_of_zero_holds_only_in_the_states() -> None:
    zero = {"max": 0, "window_s": 1, "states": ["FL"]}
    assert gone("topic_cap", zero, contact(state="NY", area_state="NY")) == set()
    assert "shoes" in gone("topic_cap", zero, contact(state="FL"))
    assert found("topic_cap", zero, contact(state="FL"))["shoes"].next_allowed_at is None
