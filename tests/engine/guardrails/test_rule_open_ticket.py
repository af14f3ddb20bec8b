"""Open tickets by hand: until closed, and three days more."""

from __future__ import annotations

import pytest

from tests.engine.guardrails.histories import DAY_US, NOW_AT, Event, contact, found, left

OPENED, CLOSED, COMPLAINED = "ticket_opened", "ticket_closed", "complained"
PROMOTIONS = {"shoes", "shoes10", "hats30", "news", "laces"}


@pytest.mark.parametrize(
    ("events", "held"),
    [
        ([], False),
        ([(1, "clicked")], False),
        ([(24 * 900, OPENED)], True),  # never closed: open, however old
        ([(24 * 900, COMPLAINED)], True),
        ([(24 * 5, OPENED), (24 * 4, CLOSED)], False),
        ([(24 * 5, OPENED), (24 * 2, CLOSED)], True),
        ([(24 * 5, OPENED), (24 * 3, CLOSED)], False),  # exactly three days
        ([(24 * 9, OPENED), (24 * 8, OPENED), (24 * 7, CLOSED)], True),  # one of two
        ([(24 * 9, OPENED), (24 * 8, COMPLAINED), (24 * 7, CLOSED), (24 * 6, CLOSED)], False),
        ([(24 * 9, CLOSED), (24 * 8, OPENED)], True),  # a closing with nothing open takes nothing away
        ([(24 * 9, OPENED), (24 * 8, CLOSED), (24 * 7, OPENED)], True),  # opened again
    ],
)
def test_promotions_wait_until_all_is_closed(events: list[tuple[float, str]], held: bool) -> None:
    who = contact(events=[Event(*event) for event in events])
    assert left("open_ticket", {}, who) == ({"receipt"} if held else {*PROMOTIONS, "receipt"})


def test_the_end_is_three_days_after_the_last_closing() -> None:
    who = contact(events=[Event(50, OPENED), Event(24, CLOSED)])
    assert found("open_ticket", {}, who)["news"].next_allowed_at == NOW_AT + 2 * DAY_US
    assert found("open_ticket", {}, contact(events=[Event(50, OPENED)]))["news"].next_allowed_at is None


def test_complaints_alone_may_open() -> None:
    assert left("open_ticket", {"opened_by": [COMPLAINED]}, contact(events=[Event(1, OPENED)])) >= PROMOTIONS


def test_unknown_events_block() -> None:
    assert left("open_ticket", {}, contact(events=None)) == {"receipt"}
