"""Sunset by hand: three sends in ninety days, or half a year, without a sign of interest."""

from __future__ import annotations

from tests.engine.guardrails.histories import (
    CATALOG,
    DAY_US,
    NOW_AT,
    Event,
    Send,
    allowed_of,
    contact,
    found,
    left,
    scene,
)

THREE_IN_90_DAYS = {"max_unengaged": 3, "window_s": 90 * 86_400}
IDLE = {"max_unengaged": None, "window_s": 1, "idle_s": 180 * 86_400}
UNHEARD = [Send(24 * 60), Send(24 * 30), Send(24 * 10)]


def test_the_third_unengaged_send_is_the_last_until_one_leaves_the_window() -> None:
    assert left("sunset", THREE_IN_90_DAYS, contact(UNHEARD)) == {"receipt"}
    assert found("sunset", THREE_IN_90_DAYS, contact(UNHEARD))["news"].next_allowed_at == NOW_AT + 30 * DAY_US
    assert "news" in left("sunset", THREE_IN_90_DAYS, contact(UNHEARD[1:]))


def test_a_sign_of_interest_starts_the_count_again() -> None:
    for kind in ("opened", "clicked"):
        assert "news" in left("sunset", THREE_IN_90_DAYS, contact(UNHEARD, [Event(24 * 20, kind)]))
    assert "news" not in left("sunset", THREE_IN_90_DAYS, contact(UNHEARD, [Event(24 * 61, "opened")]))
    for kind in ("soft_bounced", "purchased", "complained"):
        assert "news" not in left("sunset", THREE_IN_90_DAYS, contact(UNHEARD, [Event(1, kind)]))
    clicks = {**THREE_IN_90_DAYS, "engaged_by": ["clicked", "purchased"]}
    assert "news" not in left("sunset", clicks, contact(UNHEARD, [Event(1, "opened")]))
    assert "news" in left("sunset", clicks, contact(UNHEARD, [Event(1, "purchased")]))


def test_transactional_sends_are_not_counted() -> None:
    receipts = [Send(hours, purpose="transactional") for hours in (1, 2, 3)]
    assert "news" in left("sunset", THREE_IN_90_DAYS, contact(receipts))


def test_too_long_without_a_sign_ends_it_for_good() -> None:
    assert "news" in left("sunset", IDLE, contact([Send(24 * 179)]))
    assert "news" not in left("sunset", IDLE, contact([Send(24 * 180), Send(1)]))
    assert found("sunset", IDLE, contact([Send(24 * 180)]))["news"].next_allowed_at is None
    old = [Event(24 * 200, "opened")]
    assert "news" not in left("sunset", IDLE, contact([Send(24 * 300)], old))
    assert "news" in left("sunset", IDLE, contact([Send(24 * 300)], [*old, Event(24 * 9, "clicked")]))
    assert "news" in left("sunset", IDLE, contact([], old))  # nothing was sent: there was nothing to answer


def test_a_slot_that_reaches_the_end_is_closed_before_the_end() -> None:
    """The end is one hour away; the slot at 20:00 is eight hours away."""
    allowed = allowed_of("sunset", IDLE, scene(contact([Send(24 * 180 - 1)])))[0]
    assert allowed[CATALOG.index(0, 2, 3)]
    assert not allowed[CATALOG.index(0, 1, 3)]


def test_unknown_history_or_events_block() -> None:
    assert left("sunset", THREE_IN_90_DAYS, contact(None)) == {"receipt"}
    assert left("sunset", THREE_IN_90_DAYS, contact([], None)) == {"receipt"}
