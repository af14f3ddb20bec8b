"""The small rules and the windows, by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import plain_contacts
from engine.guardrails.hours.weekly import week_table
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Finding, Scene
from engine.guardrails.rules.content import speaks
from engine.time.localtime import instant_of

CATALOG = Catalog(
    name="hand",
    channels=("email", "sms"),
    hours=(9, "now"),
    arms=(
        Arm(id="promo", approved=True),
        Arm(id="receipt", approved=True, purpose="transactional"),
        Arm(id="draft"),
        Arm(id="mail", approved=True, channels=("email",)),
        Arm(id="german", approved=True, locale="de"),
        Arm(id="soon", approved=True, valid_from="2026-11-05T00:00:00Z", valid_until="2026-12-01T00:00:00Z"),
        Arm(id="short", approved=True, valid_from="2026-11-05T00:00:00Z", valid_until="2026-11-05T06:00:00Z"),
        Arm(id="over", approved=True, valid_until="2026-11-01T00:00:00Z"),
    ),
)
OTHERS = [("eng", "en", False), ("de", "en", False)]
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def scene(now: datetime = NOW, **changes: Any) -> Scene:
    base = {"zones": ("UTC",), "zone_code": np.zeros(1, dtype=np.int32)}
    contacts = plain_contacts(np.array(["c"], dtype=object), CATALOG, **(base | changes))
    return Scene(CATALOG, contacts, instant_of(now), 600)


def left(rule: str, params: dict[str, Any], at: Scene) -> set[str]:
    allowed = removed(judge(make_rule(rule, params), at), 1, CATALOG).dense()[0]
    return {CATALOG.action_names[action] for action in np.flatnonzero(allowed)} - {"hold"}


def found(rule: str, params: dict[str, Any], at: Scene) -> dict[str, Finding]:
    return {CATALOG.action_names[action]: finding for action, finding in findings(make_rule(rule, params), at)}


def test_consent_is_per_channel_and_purpose() -> None:
    """Promotional e-mail granted, transactional SMS granted, promotional SMS denied, transactional e-mail unknown."""
    at = scene(consent=np.array([[[1, -1], [0, 1]]], dtype=np.int8))
    assert {name for name in left("consent", {}, at) if "now" in name} == {
        "sms|now|receipt",
        *(f"email|now|{arm.id}" for arm in CATALOG.arms if arm.purpose == "promotional"),
    }
    reasons = found("consent", {}, at)
    assert reasons["sms|now|promo"].observed == "denied or withdrawn"
    assert reasons["email|now|receipt"].observed == "no record"


def test_suppression_closes_the_channel_for_every_purpose() -> None:
    at = scene(suppressed=np.array([[0, 1]], dtype=np.int8))
    assert {name.split("|")[0] for name in left("suppression", {}, at)} == {"email"}
    assert found("suppression", {}, at)["sms|9|receipt"].observed == "suppressed"
    assert left("suppression", {}, scene()) == set()
    assert found("suppression", {}, scene())["sms|9|receipt"].observed == "unknown"


def test_content_must_be_approved_in_date_and_made_for_the_contact() -> None:
    at = scene(locales=("de-AT", "en"), locale_code=np.zeros(1, dtype=np.int32))
    now = {name for name in left("content", {}, at) if "now" in name}
    assert now == {"email|now|promo", "email|now|receipt", "email|now|mail", "email|now|german"} | {
        "sms|now|promo",
        "sms|now|receipt",
        "sms|now|german",
    }
    reasons = found("content", {}, at)
    assert reasons["email|now|draft"].limit == "approved"
    assert reasons["sms|now|mail"].limit == ["email"]
    assert reasons["email|now|soon"].next_allowed_at == instant_of(datetime(2026, 11, 5, tzinfo=UTC))
    assert reasons["email|now|short"].next_allowed_at is None  # over before the last slot of its first day
    assert reasons["email|now|over"].next_allowed_at is None
    english = scene(locales=("de-AT", "en"), locale_code=np.ones(1, dtype=np.int32))
    assert found("content", {}, english)["email|now|german"].observed == "en"


def test_content_is_in_date_until_the_last_send_that_may_follow() -> None:
    """The slot 9 is planned for the 30th, 09:00, and may leave at 09:10; the arm ends on 1 December, 00:00."""
    assert "email|now|soon" in left("content", {}, scene(datetime(2026, 11, 29, 12, tzinfo=UTC)))
    assert "email|now|soon" not in left("content", {}, scene(datetime(2026, 11, 30, 12, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("contact", "arm", "fits"),
    [
        ("en-US", "en", True),
        ("en-US", "en-US", True),
        ("en_US", "EN", True),
        ("en", "en-US", False),
        ("en", "", True),
        *OTHERS,
    ],
)
def test_languages(contact: str, arm: str, fits: bool) -> None:
    assert speaks(contact, arm) == fits


def minutes(*windows: tuple[int, float, float]) -> set[int]:
    """Minutes of (day, from hour, to hour)."""
    return {int(day * 1440 + m) % 10_080 for day, start, end in windows for m in range(int(start * 60), int(end * 60))}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, set()),
        ({"mon": ("09:00-20:00",)}, minutes((0, 9, 20))),
        ({"sat-mon": ("12:00-12:30",)}, minutes((5, 12, 12.5), (6, 12, 12.5), (0, 12, 12.5))),
        ({"sun": ("22:00-06:00",)}, minutes((6, 22, 30))),
        ({"tue": ("00:00-24:00",)}, minutes((1, 0, 24))),
        ({"wed": ("08:00-09:00", "10:00-11:00")}, minutes((2, 8, 9), (2, 10, 11))),
        ({"daily": ("23:59-00:00",)}, {day * 1440 + 1439 for day in range(7)}),
    ],
)
def test_weekly_windows(spec: dict[str, tuple[str, ...]], expected: set[int]) -> None:
    assert set(np.flatnonzero(week_table(spec)).tolist()) == expected


def test_quiet_hours_say_when_the_slot_passes_again() -> None:
    """On Saturday after 09:10 the slot 9 is Sunday, 09:00: closed. It is planned for Monday once Sunday's 9 is over."""
    rule = {"windows": {"*": {"mon-sat": ["09:00-20:00"], "sun": ["12:00-20:00"]}}}
    saturday = scene(datetime(2026, 11, 7, 21, tzinfo=UTC))
    finding = found("quiet_hours", rule, saturday)["sms|9|promo"]
    assert finding.observed == "Sun 09:00"
    assert finding.next_allowed_at == instant_of(datetime(2026, 11, 8, 10, tzinfo=UTC))
    now = found("quiet_hours", rule, saturday)["sms|now|promo"]
    assert now.next_allowed_at == instant_of(datetime(2026, 11, 8, 12, tzinfo=UTC))
    never = found("quiet_hours", {"windows": {"email": {"mon": ["12:00-13:00"]}}}, saturday)
    assert never["email|9|promo"].next_allowed_at is None
    assert never["sms|now|promo"].next_allowed_at is None  # no window for SMS at all
    assert never["sms|now|promo"].limit == {}


def test_frequency_names_the_cap_that_holds_longest() -> None:
    hour = 3_600_000_000
    at = instant_of(NOW)
    sends = {
        "sent_offsets": np.array([0, 2]),
        "sent_at": np.array([at - 30 * hour, at - 2 * hour]),
        "sent_channel": np.zeros(2, dtype=np.int32),
        "sent_purpose": np.zeros(2, dtype=np.int32),
        "history_known": np.ones(1, dtype=np.bool_),
    }
    caps = {"caps": [{"max": 1, "window_s": 86_400}, {"max": 2, "window_s": 7 * 86_400, "channels": ["email"]}]}
    reasons = found("frequency", caps, scene(**sends))
    # two e-mails in seven days: the older one leaves the window after 7 days
    assert reasons["email|now|promo"].observed == 2
    assert reasons["email|now|promo"].next_allowed_at == at + (7 * 24 - 30) * hour
    # one message in a day across channels: 22 hours to go
    assert reasons["sms|now|promo"].limit["channels"] == "all channels"
    assert reasons["sms|now|promo"].next_allowed_at == at + 22 * hour
    assert "sms|now|receipt" not in reasons
    assert found("frequency", caps, scene())["sms|now|promo"].observed == "unknown"


@pytest.mark.parametrize(("early_us", "passes"), [(1, True), (0, False)])
def test_the_end_of_validity_is_exact(early_us: int, passes: bool) -> None:
    """With "now" as the only slot the last send is 600 s after now; an end is half-open like a window's."""
    catalog = Catalog(name="now", channels=("email",), hours=("now",), arms=CATALOG.arms[5:6])
    now_at = instant_of(datetime(2026, 12, 1, tzinfo=UTC)) - 600_000_000 - early_us
    contacts = plain_contacts(np.array(["c"], dtype=object), catalog)
    verdict = judge(make_rule("content", {}), Scene(catalog, contacts, now_at, 600))
    assert removed(verdict, 1, catalog).dense()[0].tolist() == [True, passes]
