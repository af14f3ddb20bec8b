"""Cool-downs by hand: a template, shared by two arms, wears off."""

from __future__ import annotations

import pytest

from tests.engine.guardrails.histories import DAY_US, NOW_AT, Send, contact, found, gone

FIFTEEN_DAYS = {"window_s": 15 * 86_400}
PROMOTIONAL_ARMS = {"shoes", "shoes10", "hats30", "news", "laces"}


def test_arms_that_share_a_template_cool_down_together() -> None:
    """shoes10 has the template "shoes", which is the default template of the arm shoes."""
    for template in ("shoes", "shoes10"):
        assert gone("cooldown", FIFTEEN_DAYS, contact([Send(24, template=template)])) == {"shoes", "shoes10"}
    assert gone("cooldown", FIFTEEN_DAYS, contact([Send(24, template="news")])) == {"news"}


def test_sends_of_retired_templates_hold_nothing() -> None:
    assert gone("cooldown", FIFTEEN_DAYS, contact([Send(1, template="retired")])) == set()


def test_a_send_without_a_template_may_have_been_any_of_them() -> None:
    """A missing input blocks: the one send counts for every template, until it leaves the window."""
    who = contact([Send(24)])
    assert gone("cooldown", FIFTEEN_DAYS, who) == PROMOTIONAL_ARMS
    assert gone("cooldown", {**FIFTEEN_DAYS, "max": 2}, who) == set()
    one_more = contact([Send(24), Send(48, template="news")])
    assert gone("cooldown", {**FIFTEEN_DAYS, "max": 2}, one_more) == {"news"}
    assert found("cooldown", FIFTEEN_DAYS, who)["news"].next_allowed_at == NOW_AT + 14 * DAY_US


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_a_template_that_is_blank_is_none(name: str) -> None:
    assert gone("cooldown", FIFTEEN_DAYS, contact([Send(24, template=name)])) == PROMOTIONAL_ARMS


def test_it_ends_to_the_microsecond_after_the_newest_send() -> None:
    who = contact([Send(24 * 10, template="news"), Send(24, template="news")])
    assert found("cooldown", FIFTEEN_DAYS, who)["news"].next_allowed_at == NOW_AT + 14 * DAY_US
    assert gone("cooldown", FIFTEEN_DAYS, who, NOW_AT + 14 * DAY_US - 1) == {"news"}
    assert gone("cooldown", FIFTEEN_DAYS, who, NOW_AT + 14 * DAY_US) == set()


def test_more_than_one_may_be_allowed() -> None:
    twice = {**FIFTEEN_DAYS, "max": 2}
    assert gone("cooldown", twice, contact([Send(24, template="news")])) == set()
    who = contact([Send(48, template="shoes"), Send(24, template="shoes10")])
    assert found("cooldown", twice, who)["shoes"].observed == 2


def test_every_purpose_counts_but_transactional_arms_are_exempt() -> None:
    assert gone("cooldown", FIFTEEN_DAYS, contact([Send(1, template="receipt")])) == set()
    both = {**FIFTEEN_DAYS, "applies_to": ["promotional", "transactional"]}
    assert gone("cooldown", both, contact([Send(1, template="receipt")])) == {"receipt"}


def test_an_unknown_history_blocks() -> None:
    assert "shoes" in gone("cooldown", FIFTEEN_DAYS, contact(None))
