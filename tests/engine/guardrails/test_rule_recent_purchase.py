"""Recent purchases by hand: the category that was bought is left alone, what goes with it is not."""

from __future__ import annotations

from tests.engine.guardrails.histories import DAY_US, NOW_AT, Event, contact, found, gone

RULE = {"window_s": 14 * 86_400}
SHOES = {"shoes", "shoes10", "news"}  # news names no category: it may be about shoes


def bought(ago_h: float, category: str | None = "shoes") -> Event:
    return Event(ago_h, "purchased", category)


def test_the_same_category_is_held_and_cross_sell_stays() -> None:
    assert gone("recent_purchase", RULE, contact(events=[bought(24)])) == SHOES
    assert gone("recent_purchase", RULE, contact(events=[bought(24, "hats")])) == {"hats30", "news"}
    assert gone("recent_purchase", RULE, contact(events=[bought(24, "coats")])) == {"news"}


def test_a_purchase_of_no_known_category_may_be_of_any() -> None:
    assert gone("recent_purchase", RULE, contact(events=[bought(24, None)])) == SHOES | {"hats30"}


def test_all_promotions_may_be_held() -> None:
    assert gone("recent_purchase", {**RULE, "scope": "all"}, contact(events=[bought(24, "coats")])) == SHOES | {
        "hats30"
    }


def test_it_ends_two_weeks_after_the_newest_purchase() -> None:
    who = contact(events=[bought(24 * 13), bought(24 * 4)])
    finding = found("recent_purchase", RULE, who)["shoes"]
    assert (finding.observed, finding.next_allowed_at) == (2, NOW_AT + 10 * DAY_US)
    assert gone("recent_purchase", RULE, contact(events=[bought(24 * 14)])) == set()


def test_other_events_do_not_hold() -> None:
    assert gone("recent_purchase", RULE, contact(events=[Event(1, "clicked", "shoes")])) == set()


def test_unknown_events_block_promotions() -> None:
    assert gone("recent_purchase", RULE, contact(events=None)) == {*SHOES, "hats30", "laces"}
