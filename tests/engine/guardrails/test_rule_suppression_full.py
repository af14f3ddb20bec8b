"""Suppression from events, lists and kinds of lines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.errors import ConfigError
from engine.guardrails.registry import make_rule
from tests.engine.guardrails.one_contact import CATALOG, found, left, one, rule, utc

NOW = utc(2026, 11, 3, 15)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
BOUNCES = rule(
    "incidents", closing=[{"event": "hard_bounced"}, {"event": "soft_bounced", "count": 3, "window_s": 14 * 86_400}]
)
COMPLAINTS = rule("incidents", closing=[{"event": "complained"}], applies_to=["promotional"])


def channels(names: set[str]) -> set[str]:
    return {name.split("|")[0] for name in names}


def test_a_hard_bounce_closes_its_channel_at_once_and_for_good() -> None:
    contact = one(events=[(utc(2019, 1, 1), "hard_bounced", "email")])
    assert channels(left(BOUNCES, contact, NOW)) == {"sms"}
    assert "hard_bounced" in found(BOUNCES, contact, NOW, "email|now|receipt").reason


def test_a_bounce_elsewhere_closes_nothing_here() -> None:
    assert len(left(BOUNCES, one(events=[(NOW - DAY, "hard_bounced", "fax")]), NOW)) == CATALOG.k - 1


@pytest.mark.parametrize(
    ("span", "closed"),
    [(14 * DAY - MICROSECOND, True), (14 * DAY, False), (timedelta(0), True)],
)
def test_three_soft_bounces_within_a_fortnight(span: timedelta, closed: bool) -> None:
    """Half-open to the microsecond, wherever in the history the fortnight lies."""
    for last in (NOW - DAY, NOW - 400 * DAY):
        events = [(at, "soft_bounced", "email") for at in (last - span, last - span / 2, last)]
        assert (channels(left(BOUNCES, one(events=events), NOW)) == {"sms"}) == closed


def test_bounces_of_two_channels_are_counted_apart() -> None:
    events = [(NOW - DAY, "soft_bounced", channel) for channel in ("email", "email", "sms")]
    assert channels(left(BOUNCES, one(events=events), NOW)) == {"email", "sms"}


def test_a_complaint_ends_marketing_on_its_channel() -> None:
    kept = left(COMPLAINTS, one(events=[(utc(2020, 1, 1), "complained", "email")]), NOW)
    assert not any(name.startswith("email") and not name.endswith("receipt") for name in kept)
    assert {"email|now|receipt", "sms|now|promo"} <= kept


def test_unknown_events_block_and_none_do_not() -> None:
    assert left(BOUNCES, one(), NOW) == set()
    assert len(left(BOUNCES, one(events=[]), NOW)) == CATALOG.k - 1


@pytest.mark.parametrize(
    ("kind", "passes"), [("mobile", True), ("voip", True), ("landline", False), ("", False), (None, False)]
)
def test_no_text_to_a_landline(kind: str | None, passes: bool) -> None:
    made = rule("line_type", allowed={"sms": ["mobile", "voip"]})
    kept = left(made, one(line_type=kind), NOW)
    assert ("sms|now|promo" in kept) == passes
    assert {"email|now|promo", "email|now|receipt"} <= kept


def test_no_line_type_at_all_is_unknown() -> None:
    made = rule("line_type", allowed={"sms": ["mobile"]})
    assert channels(left(made, one(), NOW)) == {"email"}
    assert found(made, one(), NOW, "sms|now|promo").observed == "unknown"


@pytest.mark.parametrize(
    ("lists", "passes"),
    [("", True), ("vip", True), ("minor", False), ("employee,vip", False), ("minors", False), (None, False)],
)
def test_lists_that_get_nothing(lists: str | None, passes: bool) -> None:
    """A misspelt list blocks too."""
    made = rule("lists", harmless=["vip"])
    assert bool(left(made, one(lists=lists), NOW)) == passes


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("incidents", {"closing": [{"event": "sneezed"}]}),
        ("incidents", {"closing": [{"event": "complained", "count": 0}]}),
        ("incidents", {"closing": [{"event": "complained", "window_s": 0}]}),
        ("incidents", {"closing": [], "applies_to": ["fun"]}),
        ("line_type", {"allowed": {"sms": ["pigeon"]}}),
        ("lists", {"blocks": ["vip"], "harmless": ["vip"]}),
    ],
)
def test_parameters_are_checked(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        make_rule(name, params)
