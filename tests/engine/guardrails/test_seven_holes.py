"""The seven holes of other systems that head the catalogue, each as a case that the full pack must close."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from engine.contacts.contacts import ContactBatch
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, load_pack
from engine.optout.classify import classify
from tests.engine.guardrails.oracle.perfect import CATALOG, HEALTHY, Sends, perfect

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 11, 17, 12, 5, tzinfo=NEW_YORK)  # a Tuesday without a holiday near
FULL = load_pack("full")


def allowed(who: ContactBatch, now: datetime = NOON, pack: Pack = FULL) -> set[str]:
    dense = Guardrails(pack, CATALOG).eligibility(who, now, HEALTHY)[0].dense()[0]
    return {CATALOG.action_names[action] for action in np.flatnonzero(dense)}


def reasons(who: ContactBatch, action: str, now: datetime = NOON, pack: Pack = FULL) -> set[str]:
    explained = Guardrails(pack, CATALOG).explain(who, 0, now, HEALTHY)
    return {reason.id for reason in explained[CATALOG.resolve(action)][1]}


def promotional(names: set[str]) -> set[str]:
    return {name for name in names if name != "hold" and not name.endswith("|receipt")}


def sent(at: datetime, *channels: str) -> Sends:
    return tuple((at, channel, "promotional") for channel in channels)


def with_caps(caps: list[dict[str, object]]) -> Pack:
    """The full pack with other caps in F4."""
    rules = tuple(
        msgspec.structs.replace(entry, params=entry.params | {"caps": caps}) if entry.id == "F4" else entry
        for entry in FULL.rules
    )
    return msgspec.structs.replace(FULL, rules=rules)


def test_the_perfect_contact_may_get_messages() -> None:
    """What the seven cases spoil is sound without them."""
    left = allowed(perfect())
    assert {"email|9|promo", "email|12|promo", "sms|12|promo", "push|12|other", "email|now|receipt"} <= left
    assert "sms|20|promo" not in left


def test_hole_1_a_missing_time_zone_never_sends() -> None:
    """Amazon Pinpoint sends when the time zone is missing."""
    assert promotional(allowed(perfect(zone=None))) == set()
    assert "Q9" in reasons(perfect(zone=None), "email|12|promo")
    assert "Q9" in reasons(perfect(zone=None), "sms|now|promo")


def test_hole_2_a_daily_cap_is_no_calendar_day() -> None:
    """Braze counts calendar days: 23:00 and 00:00 pass, one hour apart."""
    late = datetime(2026, 11, 16, 23, 0, tzinfo=NEW_YORK)
    who = perfect(sends=sent(late, "email"))
    now = datetime(2026, 11, 16, 23, 30, tzinfo=NEW_YORK)
    assert not any(name.split("|")[1] in {"0", "9", "12", "20"} for name in promotional(allowed(who, now)))
    assert "F4" in reasons(who, "email|0|promo", now)
    # Rolling and exact: a whole day after the send, and not a microsecond sooner.
    day = late + timedelta(days=1) - timedelta(hours=12)  # 11:00 of the next day, for a send at 11:00
    who = perfect(sends=sent(day - timedelta(days=1), "email"))
    assert "F4" in reasons(who, "email|now|promo", day - timedelta(microseconds=1))
    assert "email|now|promo" in allowed(who, day)


def test_hole_3_a_cap_counts_the_other_channels() -> None:
    """Klaviyo caps each channel alone: an e-mail, a text and a push in one window are three messages."""
    days = [NOON - timedelta(days=back) for back in (2, 3, 4)]
    three = sum((sent(at, channel) for at, channel in zip(days, ("email", "sms", "push"), strict=True)), ())
    opened = ((NOON - timedelta(days=1), "opened"),)  # so that nobody has stopped listening
    assert promotional(allowed(perfect(sends=three, events=opened))) == set()
    assert reasons(perfect(sends=three, events=opened), "email|12|promo") == {"F4"}
    assert "email|12|promo" in allowed(perfect(sends=three[:2], events=opened))


@pytest.mark.parametrize("order", [1, -1])
def test_hole_4_the_most_restrictive_limit_wins(order: int) -> None:
    """Iterable: a limit by message type overrides the channel's cap. Here no cap opens what another closed."""
    strict = {"max": 1, "window_s": 604_800, "channels": ["email"]}
    loose = {"max": 9, "window_s": 604_800}
    who = perfect(sends=sent(NOON - timedelta(days=2), "email"))
    left = allowed(who, pack=with_caps([strict, loose][::order]))
    assert not any(name.startswith("email") for name in promotional(left))
    assert "sms|12|promo" in left
    assert "email|12|promo" in allowed(who)


def test_hole_5_quiet_hours_are_the_recipients() -> None:
    """Laudspeaker keeps the workspace's offset: noon in New York is two in the morning in Tokyo."""
    assert "sms|now|promo" in allowed(perfect())
    tokyo = perfect(zone="Asia/Tokyo", country="JP", state="", area_state="")
    assert "sms|now|promo" not in allowed(tokyo)
    assert reasons(tokyo, "sms|now|promo") == {"Q9"}
    assert "sms|12|promo" in allowed(tokyo)


@pytest.mark.parametrize("text", ["STOP", "stop please", "Stop!", "please unsubscribe me", "opt out", "StopAll"])
def test_hole_6_stop_is_understood_in_a_sentence(text: str) -> None:
    """Mautic and Braze's default match STOP only as the whole reply; what is understood closes the channel for good."""
    assert classify(text).verdict == "stop"
    assert classify("HELP").verdict == "help"
    gone = perfect()
    gone.suppressed[0, CATALOG.channels.index("sms")] = 1
    assert not any(name.startswith("sms") for name in allowed(gone))
    assert any(name.startswith("email") for name in allowed(gone))


def test_hole_7_zero_is_never_and_null_is_no_cap() -> None:
    """Mautic reads 0 as no cap in one place and as block everything in another."""
    zero = with_caps([{"max": 0, "window_s": 60, "channels": ["sms"]}])
    null = with_caps([{"max": None, "window_s": 60}])
    assert not any(name.startswith("sms") for name in promotional(allowed(perfect(), pack=zero)))
    assert "email|12|promo" in allowed(perfect(), pack=zero)
    assert allowed(perfect(), pack=null) == allowed(perfect())
    busy = perfect(
        sends=sent(NOON - timedelta(hours=30), "email", "sms", "push", "push"),
        events=((NOON - timedelta(hours=1), "opened"),),
    )
    assert "F4" in reasons(busy, "email|12|promo")
    assert "F4" not in reasons(busy, "email|12|promo", pack=null)
