"""Holes that other systems are documented to have, each as a case that must not pass here."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry
from engine.time.localtime import instant_of
from engine.types import PURPOSES

CATALOG = Catalog(
    name="holes",
    channels=("email", "sms", "push"),
    hours=(0, 9, 12, 20, "now"),
    arms=(Arm(id="promo", approved=True), Arm(id="receipt", approved=True, purpose="transactional")),
)
NEW_YORK = ZoneInfo("America/New_York")


def pack(**rules: dict[str, object]) -> Pack:
    """Consent and the named rules."""
    common = {
        "kind": "eng",
        "jurisdiction": "any",
        "source": "test",
        "checked_on": datetime(2026, 1, 1, tzinfo=UTC).date(),
    }
    entries = [RuleEntry(id="C1", rule="consent", **common)]
    entries += [
        RuleEntry(id=name, rule=name.rstrip("0123456789"), params=params, **common) for name, params in rules.items()
    ]
    return Pack(name="t", version="1", rules=tuple(entries), latency_margin_s=600)


def contact(zone: str | None = "America/New_York", sends: tuple[tuple[datetime, str], ...] | None = ()) -> ContactBatch:
    """One contact with every consent; sends are promotional."""
    known = sorted(sends or ())
    return plain_contacts(
        np.array(["c"], dtype=object),
        CATALOG,
        zones=() if zone is None else (zone,),
        zone_code=np.array([-1 if zone is None else 0], dtype=np.int32),
        consent=np.ones((1, 3, len(PURPOSES)), dtype=np.int8),
        suppressed=np.zeros((1, 3), dtype=np.int8),
        history_known=np.array([sends is not None]),
        sent_offsets=np.array([0, len(known)]),
        sent_at=np.array([instant_of(at) for at, _ in known], dtype=np.int64),
        sent_channel=np.array([CATALOG.channels.index(channel) for _, channel in known], dtype=np.int32),
        sent_purpose=np.zeros(len(known), dtype=np.int32),
    )


def allowed(rules: Pack, who: ContactBatch, now: datetime) -> set[str]:
    dense = Guardrails(rules, CATALOG).eligibility(who, now)[0].dense()[0]
    return {CATALOG.action_names[action] for action in np.flatnonzero(dense)}


TEXTING = {"windows": {"*": {"mon-sat": ["09:00-20:00"], "sun": ["12:00-20:00"]}}}
TUESDAY_NOON = datetime(2026, 11, 3, 12, 5, tzinfo=NEW_YORK)


def test_a_missing_time_zone_never_sends() -> None:
    """Amazon Pinpoint sends when the zone is missing."""
    assert "sms|12|promo" in allowed(pack(quiet_hours=TEXTING), contact(), TUESDAY_NOON)
    assert allowed(pack(quiet_hours=TEXTING), contact(zone=None), TUESDAY_NOON) == {"hold"}


def test_a_daily_cap_is_not_a_calendar_day() -> None:
    """Braze: 23:00 and 00:00 are two calendar days, but one hour."""
    daily = pack(frequency={"caps": [{"max": 1, "window_s": 86_400}]})
    at_23 = (datetime(2026, 11, 3, 23, tzinfo=NEW_YORK), "email")
    now = datetime(2026, 11, 3, 23, 30, tzinfo=NEW_YORK)
    left = allowed(daily, contact(sends=(at_23,)), now)
    assert "email|0|promo" not in left
    assert not any(name.endswith("|20|promo") for name in left)
    assert "email|0|promo" in allowed(daily, contact(), now)


def test_the_window_is_rolling_to_the_microsecond() -> None:
    daily = pack(frequency={"caps": [{"max": 1, "window_s": 86_400}]})
    sent = datetime(2026, 11, 3, 12, 5, 0, 7, tzinfo=UTC)
    who = contact(sends=((sent, "email"),))
    assert "email|now|promo" not in allowed(daily, who, datetime(2026, 11, 4, 12, 5, 0, 6, tzinfo=UTC))
    assert "email|now|promo" in allowed(daily, who, datetime(2026, 11, 4, 12, 5, 0, 7, tzinfo=UTC))


def test_a_cap_counts_the_other_channels() -> None:
    """Klaviyo caps each channel alone: one e-mail, one SMS and one push inside one window are three messages."""
    weekly = pack(frequency={"caps": [{"max": 3, "window_s": 604_800}]})
    sends = tuple(
        (datetime(2026, 11, day, 9, tzinfo=UTC), channel) for day, channel in ((1, "email"), (2, "sms"), (2, "push"))
    )
    assert not any(name.endswith("promo") for name in allowed(weekly, contact(sends=sends), TUESDAY_NOON))
    assert any(name.endswith("promo") for name in allowed(weekly, contact(sends=sends[:2]), TUESDAY_NOON))


def test_the_most_restrictive_rule_wins() -> None:
    """Iterable: a limit by message type overrides the channel's cap. Here no rule opens what another closed."""
    strict, loose = {"max": 1, "window_s": 604_800, "channels": ["email"]}, {"max": 9, "window_s": 604_800}
    who = contact(sends=((datetime(2026, 11, 1, 9, tzinfo=UTC), "email"),))
    for caps in ([strict, loose], [loose, strict]):
        left = allowed(pack(frequency={"caps": caps}), who, TUESDAY_NOON)
        assert "email|12|promo" not in left
        assert "sms|12|promo" in left
    for first, second in ((strict, loose), (loose, strict)):
        both = pack(frequency1={"caps": [first]}, frequency2={"caps": [second]})
        assert "email|12|promo" not in allowed(both, who, TUESDAY_NOON)


def test_quiet_hours_are_the_recipients_not_the_senders() -> None:
    """Laudspeaker keeps the workspace's offset: noon in New York is two in the morning in Tokyo."""
    quiet = pack(quiet_hours=TEXTING)
    assert "sms|now|promo" in allowed(quiet, contact("America/New_York"), TUESDAY_NOON)
    assert "sms|now|promo" not in allowed(quiet, contact("Asia/Tokyo"), TUESDAY_NOON)
    assert "sms|9|promo" in allowed(quiet, contact("Asia/Tokyo"), TUESDAY_NOON)


def test_zero_is_never_and_null_is_no_cap() -> None:
    """Mautic reads 0 as no cap in one place and as never in another."""
    zero = pack(frequency={"caps": [{"max": 0, "window_s": 60, "channels": ["sms"]}]})
    null = pack(frequency={"caps": [{"max": None, "window_s": 60}]})
    assert not any(name.startswith("sms") and name.endswith("promo") for name in allowed(zero, contact(), TUESDAY_NOON))
    assert "email|12|promo" in allowed(zero, contact(), TUESDAY_NOON)
    assert len(allowed(null, contact(sends=None), TUESDAY_NOON)) == CATALOG.k


def test_an_unknown_history_is_not_an_empty_one() -> None:
    daily = pack(frequency={"caps": [{"max": 9, "window_s": 60}]})
    assert not any(name.endswith("promo") for name in allowed(daily, contact(sends=None), TUESDAY_NOON))
    assert "email|12|receipt" in allowed(daily, contact(sends=None), TUESDAY_NOON)
    assert "email|12|promo" in allowed(daily, contact(sends=()), TUESDAY_NOON)


@pytest.mark.parametrize(
    ("now", "passes"),
    [
        (datetime(2026, 11, 3, 8, 59, 59, 999_999, tzinfo=NEW_YORK), False),
        (datetime(2026, 11, 3, 9, 0, tzinfo=NEW_YORK), True),
        (datetime(2026, 11, 3, 19, 49, 59, 999_999, tzinfo=NEW_YORK), True),
        # ten minutes of queue later it is 20:00:00, and the window is half-open
        (datetime(2026, 11, 3, 19, 50, tzinfo=NEW_YORK), False),
        (datetime(2026, 11, 3, 20, 0, tzinfo=NEW_YORK), False),
        (datetime(2026, 11, 8, 11, 59, tzinfo=NEW_YORK), False),
        (datetime(2026, 11, 8, 12, 0, tzinfo=NEW_YORK), True),
    ],
    ids=str,
)
def test_windows_are_half_open_and_allow_for_the_queue(now: datetime, passes: bool) -> None:
    assert ("sms|now|promo" in allowed(pack(quiet_hours=TEXTING), contact(), now)) == passes


def test_transactional_consent_never_unlocks_promotions() -> None:
    who = contact()
    who.consent[:, :, 0] = -1
    assert {name.split("|")[-1] for name in allowed(pack(), who, TUESDAY_NOON)} == {"hold", "receipt"}
