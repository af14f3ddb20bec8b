"""Sends that are planned for later: they close slots less than a window away, no others, and the findings say so."""

from __future__ import annotations

from typing import Any

import pytest

from engine.guardrails.judging import judge
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Cell
from tests.engine.guardrails.histories import CATALOG, DAY_US, HOUR_US, NOW_AT, Send, contact, found, gone, scene

DAY_S = 86_400
OF_SHOES = {"template": "shoes10", "topic": "sale", "category": "shoes", "discount": 0.2}
# Rule, its parameters, an arm that a send of shoes10 at another price closes.
CAPS: list[tuple[str, dict[str, Any], str]] = [
    ("frequency", {"caps": [{"max": 1, "window_s": 5 * DAY_S}]}, "news"),
    ("topic_cap", {"max": 1, "window_s": 5 * DAY_S}, "shoes"),
    ("cooldown", {"window_s": 5 * DAY_S}, "shoes"),
    ("sequence", {"pairs": [{"a": {"arm": "news"}, "b": {"category": "shoes"}, "window_s": 5 * DAY_S}]}, "news"),
    ("discount", {"max_depth": None, "max_sends": 1, "window_s": 5 * DAY_S}, "hats30"),
    ("sticky_price", {"life_s": 5 * DAY_S}, "shoes10"),
    ("sunset", {"max_unengaged": 1, "window_s": 5 * DAY_S}, "news"),
]
IDS = [rule for rule, _, _ in CAPS]


@pytest.mark.parametrize(("rule", "params", "arm"), CAPS, ids=IDS)
def test_a_send_planned_beyond_the_window_closes_nothing(rule: str, params: dict[str, Any], arm: str) -> None:
    """By arm the last slot counts, 09:00 tomorrow, in 21 hours; by slot the one that is looked at, now."""
    last = 0 if rule in ("frequency", "sunset") else 21
    far, near = (contact([Send(-5 * 24 - hours, **OF_SHOES)]) for hours in (last, last - 0.001))
    assert arm not in gone(rule, params, far)
    assert arm in gone(rule, params, near)


@pytest.mark.parametrize(("rule", "params", "arm"), CAPS, ids=IDS)
def test_the_gap_before_a_planned_send_is_found(rule: str, params: dict[str, Any], arm: str) -> None:
    """Sent two days ago and planned in fifteen: open again in three days, not only in twenty."""
    who = contact([Send(48, **OF_SHOES), Send(-15 * 24, **OF_SHOES)])
    assert found(rule, params, who)[arm].next_allowed_at == NOW_AT + 3 * DAY_US


@pytest.mark.parametrize(("rule", "params", "arm"), CAPS, ids=IDS)
def test_without_a_gap_it_opens_after_the_planned_send(rule: str, params: dict[str, Any], arm: str) -> None:
    """Sent two days ago and planned in six: closed until eleven days ahead."""
    who = contact([Send(48, **OF_SHOES), Send(-6 * 24, **OF_SHOES)])
    assert found(rule, params, who)[arm].next_allowed_at == NOW_AT + 11 * DAY_US


def test_frequency_counts_what_it_says_that_it_counts() -> None:
    """Three a week: two sent and two planned for the day after tomorrow; another is planned in a month."""
    rule = make_rule("frequency", {"caps": [{"max": 3, "window_s": 7 * DAY_S}]})
    who = scene(contact([Send(24), Send(48), Send(-48), Send(-49), Send(-24 * 30)]))
    finding = rule.explain(who, 0, Cell(0, CATALOG.hours.index("now"), 0, 0))
    assert finding.observed == 4
    assert finding.reason.startswith("4 sends on all channels within 604800 s of 2026-11-03T12:00:00+00:00")


def test_a_pair_of_sends_that_no_window_holds_together_closes_nothing_between_them() -> None:
    """Two a day: one 20 hours ago, one in 20 hours; a third fits between, since no 24 hours hold all three."""
    params = {"caps": [{"max": 2, "window_s": DAY_S}]}
    verdict = judge(make_rule("frequency", params), scene(contact([Send(20), Send(-20)]))).channel_hour
    assert verdict is not None
    assert not verdict[0, 0, :, CATALOG.hours.index("now")].any()
    both = judge(make_rule("frequency", params), scene(contact([Send(11), Send(-12.9)]))).channel_hour
    assert both is not None
    assert both[0, 0, :, CATALOG.hours.index("now")].all()


def test_only_the_slots_near_a_planned_send_are_closed() -> None:
    """One in 16 hours, planned for tomorrow 04:00 (16 hours from now): 12:00 is open, 20:00 and tomorrow 09:00 not."""
    params = {"caps": [{"max": 1, "window_s": 16 * 3600}]}
    verdict = judge(make_rule("frequency", params), scene(contact([Send(-16)]))).channel_hour
    assert verdict is not None
    closed = {hour: bool(verdict[0, 0, 0, at]) for at, hour in enumerate(CATALOG.hours)}
    assert closed == {9: True, 20: True, "now": False}


def test_a_planned_send_of_a_zone_that_nobody_knows_closes_two_days_before_it() -> None:
    """A slot without a clock may leave at any time within 49 hours, so one planned for 5 days later still is near."""
    params = {"window_s": 5 * DAY_S}
    for hours, expected in ((5 * 24 + 49, False), (5 * 24 + 48.999, True)):
        who = contact([Send(-hours, template="news")], zone=None)
        assert ("news" in gone("cooldown", params, who)) is expected
    assert HOUR_US * 24 == DAY_US
