"""A contact to whom the full pack leaves sends, and a sender in good health: tests spoil one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch, Events, plain_contacts
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.time.localtime import instant_of
from engine.types import NOT_AN_INSTANT, PURPOSES

CHANNELS = ("email", "sms", "push")
CATALOG = Catalog(
    name="perfect",
    channels=CHANNELS,
    hours=(0, 9, 12, 20, "now"),
    arms=(
        Arm(id="promo", approved=True, category="shoes", margin_usd=5.0, attributes={"topic": "news"}),
        Arm(id="other", approved=True, category="hats", margin_usd=5.0, attributes={"topic": "events"}),
        Arm(id="receipt", approved=True, purpose="transactional"),
    ),
)
HEALTHY = Conditions(
    use_case="welcome",
    health={channel: ChannelHealth(10_000) for channel in CHANNELS},
    sent_today=dict.fromkeys(CHANNELS, 10),
    sent_yesterday=dict.fromkeys(CHANNELS, 10_000),
    sent_7d=dict.fromkeys(CHANNELS, 1_000),
    killed=False,
)

Sends = tuple[tuple[datetime, str, str], ...]


def perfect(
    zone: str | None = "America/New_York",
    sends: Sends | None = (),
    events: tuple[tuple[datetime, str], ...] | None = (),
    catalog: Catalog = CATALOG,
    **extra: Any,
) -> ContactBatch:
    """One contact in New York.

    Args:
        zone: None is unknown.
        sends: (at, channel, purpose), None is an unknown history.
        events: (at, kind) on e-mail, None is unknown.
        catalog: the actions.
        extra: levels of coded columns that differ, None is missing.
    """
    facts = {
        "country": "US",
        "state": "NY",
        "area_state": "NY",
        "line_type": "mobile",
        "lists": "",
        "profiling_objection": "no",
    } | extra
    known, seen = sorted(sends or ()), sorted(events or ())
    m, wide = len(known), (1, len(catalog.channels), len(PURPOSES))
    codes = np.zeros(m, dtype=np.int32)
    levels = {name: (str(value),) for name, value in facts.items() if value is not None}
    return plain_contacts(
        np.array(["c"], dtype=object),
        catalog,
        zones=() if zone is None else (zone,),
        zone_code=np.array([-1 if zone is None else 0], dtype=np.int32),
        consent=np.ones(wide, dtype=np.int8),
        suppressed=np.zeros(wide[:2], dtype=np.int8),
        history_known=np.array([sends is not None]),
        sent_offsets=np.array([0, m]),
        sent_at=np.array([instant_of(at) for at, _, _ in known], dtype=np.int64),
        sent_channel=np.array([catalog.channels.index(channel) for _, channel, _ in known], dtype=np.int32),
        sent_purpose=np.array([PURPOSES.index(purpose) for _, _, purpose in known], dtype=np.int32),
        extra={name: np.array([-1 if facts[name] is None else 0], dtype=np.int32) for name in facts}
        | {
            "motive_price": np.array([0.1]),
            "consent_at": np.full(wide, instant_of(datetime.fromisoformat("2026-01-05T12:00:00Z"))),
            "consent_basis": np.zeros(wide, dtype=np.int8),
            "consent_expires_at": np.full(wide, NOT_AN_INSTANT),
        },
        # Every send is of another topic, template and category than the arms of the catalog.
        sent_details={
            "sent_topic": codes,
            "sent_template": codes,
            "sent_category": codes,
            "sent_discount": np.zeros(m),
        },
        levels={name: levels.get(name, ("x",)) for name in facts}
        | {"sent_topic": ("past",), "sent_template": ("past",), "sent_category": ("past",)},
        events=None
        if events is None
        else Events(
            np.array([0, len(seen)]),
            np.array([instant_of(at) for at, _ in seen], dtype=np.int64),
            np.array([EVENTS.index(kind) for _, kind in seen], dtype=np.int32),
            np.zeros(len(seen), dtype=np.int32),
            np.full(len(seen), -1, dtype=np.int32),
            (),
            np.ones(1, dtype=np.bool_),
        ),
    )


def without(contact: ContactBatch, **consent: int) -> ContactBatch:
    """The contact with the consent of one purpose on all channels at another level."""
    changed = contact.consent.copy()
    for purpose, level in consent.items():
        changed[:, :, PURPOSES.index(purpose)] = level
    return replace(contact, consent=changed)
