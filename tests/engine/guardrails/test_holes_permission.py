"""Holes of other systems in permission and hours, each as a named test on the shipped pack part."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from engine.contacts.contacts import ContactBatch
from engine.guardrails.pack import load_pack
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Rule
from engine.optout.classify import classify
from tests.engine.guardrails.one_contact import left, one

NOON = datetime(2026, 11, 3, 12, 5, tzinfo=ZoneInfo("America/New_York"))


@pytest.fixture(scope="module")
def hours() -> list[Rule]:
    """The rules about hours of the shipped pack."""
    return [make_rule(entry.rule, entry.params) for entry in load_pack("full").rules if entry.id.startswith("Q")]


def passes(hours: list[Rule], contact: ContactBatch, action: str, now: datetime = NOON) -> bool:
    return all(action in left(made, contact, now) for made in hours)


HOME = {"country": "US", "state": "NY", "area_state": "NY"}


def test_amazon_pinpoint_sends_when_the_time_zone_is_missing(hours: list[Rule]) -> None:
    assert passes(hours, one(**HOME), "sms|now|promo")
    for action in ("sms|now|promo", "sms|12|promo", "email|now|promo", "email|now|receipt"):
        assert not passes(hours, one(None, **HOME), action)


def test_laudspeaker_keeps_the_offset_of_the_workspace(hours: list[Rule]) -> None:
    """Noon of the sender in New York is 09:05 in Los Angeles, 02:05 in Tokyo."""
    assert passes(hours, one("America/Los_Angeles", **HOME), "sms|now|promo")
    abroad = one("Asia/Tokyo", country="JP", state="", area_state="")
    assert not passes(hours, abroad, "sms|now|promo")
    assert passes(hours, abroad, "sms|9|promo")


@pytest.mark.parametrize(
    "reply", ["STOP PLEASE", "please stop texting me", "Stop!", "stop.", "opt out", "Unsubscribe me", "stpo"]
)
def test_mautic_and_braze_read_stop_only_as_the_exact_word(reply: str) -> None:
    assert classify(reply).verdict == "stop"


def test_a_contact_who_may_be_in_several_zones_gets_only_hours_open_in_all(hours: list[Rule]) -> None:
    early = datetime(2026, 11, 3, 9, 30, tzinfo=ZoneInfo("America/New_York"))
    assert passes(hours, one(**HOME), "sms|now|promo", early)
    assert not passes(hours, one(plausible_zones="America/New_York,America/Chicago", **HOME), "sms|now|promo", early)
