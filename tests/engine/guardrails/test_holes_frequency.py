"""Holes that other systems are documented to have in caps and gaps, each as a case that must not pass here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry
from engine.time.localtime import instant_of
from tests.engine.guardrails.histories import CATALOG, Send, contact, found, gone, left

DAY_S = 86_400
PROMOTIONS = {"shoes", "shoes10", "hats30", "news", "laces"}


def allowed(who: Any, now: datetime, *entries: tuple[str, dict[str, Any]]) -> set[str]:
    """Actions that a pack of consent (all granted) and the entries leaves."""
    common = {"kind": "eng", "jurisdiction": "any", "source": "test", "checked_on": date(2026, 1, 1)}
    rules = [RuleEntry(id="C1", rule="consent", **common)]
    rules += [RuleEntry(id=f"X{at}", rule=name, params=params, **common) for at, (name, params) in enumerate(entries)]
    granted = replace(who, consent=np.ones_like(who.consent))
    layer = Guardrails(Pack(name="t", version="1", rules=tuple(rules)), CATALOG)
    dense = layer.eligibility(granted, now)[0].dense()[0]
    return {CATALOG.action_names[action] for action in np.flatnonzero(dense)}


def test_23_00_and_00_00_are_one_hour_apart() -> None:
    """Braze caps by calendar day: one at 23:00 and one at 00:00 are two days. Here: caps, topics and templates roll."""
    midnight = datetime(2026, 11, 4, 0, 0, tzinfo=UTC)
    at = instant_of(midnight)
    who = contact([Send(1, topic="news", template="news")], now_at=at)
    daily: list[tuple[str, dict[str, Any]]] = [
        ("frequency", {"caps": [{"max": 1, "window_s": DAY_S}]}),
        ("topic_cap", {"max": 1, "window_s": DAY_S}),
        ("cooldown", {"window_s": DAY_S}),
    ]
    for rule, params in daily:
        assert "email|now|news" not in allowed(who, midnight, (rule, params)), rule
        assert "news" in left(rule, params, who, at + 23 * 3_600_000_000), rule
        assert "news" in gone(rule, params, who, at + 23 * 3_600_000_000 - 1), rule


def test_a_cap_counts_every_channel() -> None:
    """Klaviyo caps each channel alone: an e-mail and a text are two messages to the same person."""
    both = [Send(5, "email", topic="sale", discount=0.1), Send(3, "sms", topic="sale", discount=0.1)]
    assert gone("frequency", {"caps": [{"max": 2, "window_s": DAY_S}]}, contact(both)) == PROMOTIONS
    assert "shoes" in gone("topic_cap", {"max": 2, "window_s": DAY_S}, contact(both))
    assert "hats30" in gone("discount", {"max_depth": None, "max_sends": 2, "window_s": DAY_S}, contact(both))
    assert left("sunset", {"max_unengaged": 2, "window_s": DAY_S}, contact(both)) == {"receipt"}


def test_a_channel_that_the_catalog_no_longer_has_still_counts() -> None:
    gone_channel = [Send(5, "whatsapp"), Send(3, "push")]
    assert gone("frequency", {"caps": [{"max": 2, "window_s": DAY_S}]}, contact(gone_channel)) == PROMOTIONS


def test_a_message_type_limit_does_not_override_the_channels() -> None:
    """Iterable: a looser limit of a message type wins over the channel's. Here the strictest wins, in any order."""
    by_channel = ("frequency", {"caps": [{"max": 1, "window_s": DAY_S, "channels": ["email"]}]})
    by_topic = ("topic_cap", {"max": 9, "window_s": DAY_S})
    who = contact([Send(2, "email", topic="sale")])
    now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    for entries in ((by_channel, by_topic), (by_topic, by_channel)):
        names = allowed(who, now, *entries)
        assert "email|now|shoes" not in names
        assert "sms|now|shoes" in names


def test_zero_is_never_and_null_is_no_cap_in_every_cap() -> None:
    """Mautic reads 0 as no cap in one place and as never in another."""
    caps: list[tuple[str, dict[str, Any], str]] = [
        ("frequency", {"caps": [{"window_s": DAY_S}]}, "max"),
        ("topic_cap", {"window_s": DAY_S}, "max"),
        ("cooldown", {"window_s": DAY_S}, "max"),
        ("sunset", {"window_s": DAY_S}, "max_unengaged"),
        ("discount", {"window_s": DAY_S, "max_depth": None}, "max_sends"),
        ("discount", {"window_s": DAY_S, "max_sends": None}, "max_depth"),
    ]
    often = [Send(hours, topic="sale", template="shoes10", discount=0.1) for hours in range(1, 20)]
    for rule, params, field in caps:
        for number, who in ((0, contact()), (None, contact(often))):
            value = {"caps": [{**params["caps"][0], field: number}]} if "caps" in params else {**params, field: number}
            held = gone(rule, value, who)
            assert ("shoes10" in held) == (number == 0), (rule, field, number)


def test_transactional_sends_are_exempt_and_counted_apart() -> None:
    """They use nothing up, nothing holds them, and the explanation still says how many there were."""
    receipts = [Send(hours, purpose="transactional", topic="sale") for hours in (1, 2, 3)]
    daily = {"caps": [{"max": 1, "window_s": DAY_S}]}
    assert gone("frequency", daily, contact(receipts)) == set()
    assert left("frequency", daily, contact([*receipts, Send(4)])) == {"receipt"}
    finding = found("frequency", daily, contact([*receipts, Send(4)]))["news"]
    assert finding.observed == 1
    assert "3 exempt" in finding.reason


def test_a_reserved_send_counts_before_it_leaves() -> None:
    """Two decisions within a minute: the first one's send is only planned, and uses the cap up."""
    assert gone("frequency", {"caps": [{"max": 1, "window_s": DAY_S}]}, contact([Send(-1)])) == PROMOTIONS
    assert "news" in gone("cooldown", {"window_s": DAY_S}, contact([Send(-1, template="news")]))
