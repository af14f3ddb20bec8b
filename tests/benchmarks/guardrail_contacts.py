"""Contacts for the benchmark of the guardrail layer: every column that rules read, mostly in order, some with holes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch, Events, order_sends, plain_contacts
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.time.localtime import DAY_US, zone_names
from engine.types import NOT_AN_INSTANT

CHANNELS = ("email", "sms", "push")
FEW_ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Europe/Berlin")
ALL_ZONES = tuple(sorted(zone_names()))
STATES = ("", "CA", "CO", "FL", "IL", "NJ", "NY", "OK", "TX", "WA")
# (zone, country, state) that belong together, by position.
PLACES = np.array(
    [
        (0, 2, 3),
        (0, 2, 5),
        (0, 2, 6),
        (0, 0, 0),
        (1, 2, 4),
        (1, 2, 7),
        (1, 2, 8),
        (2, 2, 2),
        (3, 2, 1),
        (3, 2, 9),
        (4, 1, 0),
    ]
)
CATEGORIES = ("", "hats", "shoes")
SENDS_EACH = 5
EVENTS_EACH = 3
CATALOG = Catalog(
    name="bench",
    channels=CHANNELS,
    hours=tuple(range(24)),
    arms=tuple(
        Arm(
            id=f"arm{i}",
            approved=True,
            purpose="transactional" if i == 7 else "promotional",
            category=CATEGORIES[1 + i % 2],
            discount_depth=0.05 * (i % 5),
            margin_usd=5.0,
            valid_until="2027-06-01T00:00:00Z",
            attributes={"topic": ("sale", "news")[i % 2], "item": f"item{i % 4}", "price_usd": 20.0 + i},
        )
        for i in range(8)
    ),
)
WORLD = Conditions(
    use_case="welcome",
    health={channel: ChannelHealth(50_000, 10, 200, 20, 100) for channel in CHANNELS},
    sent_today=dict.fromkeys(CHANNELS, 10_000),
    sent_yesterday=dict.fromkeys(CHANNELS, 20_000),
    sent_7d=dict.fromkeys(CHANNELS, 60_000),
    killed=False,
)


def contacts(seed: int, n: int, zones: tuple[str, ...], now_at: int) -> ContactBatch:
    """n contacts with five sends and three events each in half a year; few lack anything.

    Zone, state and area code belong together, except where all zones are asked for: those are drawn at random.
    """
    rng = np.random.default_rng(seed)
    wide, home = (n, len(CHANNELS), 2), rng.integers(0, len(PLACES), n)
    offsets, columns = _rows(rng, n, SENDS_EACH, now_at)
    m = len(columns)
    events_offsets, events_at = _rows(rng, n, EVENTS_EACH, now_at)
    return plain_contacts(
        np.array([f"{seed}-{row}" for row in range(n)], dtype=object),
        CATALOG,
        zones=zones,
        zone_code=_some(rng, PLACES[home, 0], 0.02) if zones == FEW_ZONES else _codes(rng, n, len(zones), 0.02),
        locales=("en-US", "de-DE"),
        locale_code=_codes(rng, n, 2, 0.02),
        consent=rng.choice(np.array([-1, 0, 1], dtype=np.int8), wide, p=[0.03, 0.02, 0.95]),
        suppressed=rng.choice(np.array([-1, 0, 1], dtype=np.int8), wide[:2], p=[0.01, 0.97, 0.02]),
        sent_offsets=offsets,
        sent_at=columns,
        sent_channel=rng.integers(0, 3, m).astype(np.int32),
        sent_purpose=(rng.random(m) < 0.2).astype(np.int32),
        history_known=np.ones(n, dtype=np.bool_),
        extra=_extra(rng, home, now_at),
        sent_details={
            "sent_topic": _codes(rng, m, 2, 0.1),
            "sent_template": _codes(rng, m, 8, 0.0),
            "sent_category": _codes(rng, m, 3, 0.1),
            "sent_discount": rng.choice([0.0, 0.0, 0.0, 0.1, 0.2], m),
        },
        levels={
            "country": ("CA", "DE", "US"),
            "state": STATES,
            "area_state": STATES,
            "line_type": ("", "landline", "mobile", "voip"),
            "lists": ("", "employee", "minor"),
            "plausible_zones": ("America/Chicago,America/New_York", "America/Phoenix"),
            "profiling_objection": ("no", "yes"),
            "sent_topic": ("news", "sale"),
            "sent_template": CATALOG.arm_ids,
            "sent_category": CATEGORIES,
        },
        events=_events(rng, events_offsets, events_at),
    )


def _rows(rng: np.random.Generator, n: int, each: int, now_at: int) -> tuple[Any, Any]:
    offsets = np.arange(n + 1, dtype=np.int64) * each
    at = now_at - rng.integers(0, 180 * DAY_US, n * each)
    return offsets, np.sort(at.reshape(n, each), axis=1).reshape(-1)


def _codes(rng: np.random.Generator, n: int, levels: int, missing: float) -> np.ndarray[Any, Any]:
    return np.where(rng.random(n) < missing, -1, rng.integers(0, levels, n)).astype(np.int32)


def _some(rng: np.random.Generator, codes: np.ndarray[Any, Any], missing: float) -> np.ndarray[Any, Any]:
    return np.where(rng.random(len(codes)) < missing, -1, codes).astype(np.int32)


def _extra(rng: np.random.Generator, home: np.ndarray[Any, Any], now_at: int) -> dict[str, Any]:
    n = len(home)
    away = rng.integers(0, len(PLACES), n)
    wide = (n, len(CHANNELS), 2)
    return {
        "country": _some(rng, PLACES[home, 1], 0.01),
        "state": _some(rng, PLACES[home, 2], 0.01),
        "area_state": _some(rng, PLACES[np.where(rng.random(n) < 0.9, home, away), 2], 0.01),
        "line_type": rng.choice(np.array([-1, 0, 1, 2, 3], dtype=np.int32), n, p=[0.01, 0.05, 0.02, 0.9, 0.02]),
        "lists": rng.choice(np.array([-1, 0, 1, 2], dtype=np.int32), n, p=[0.01, 0.97, 0.01, 0.01]),
        "plausible_zones": _codes(rng, n, 2, 0.95),
        "profiling_objection": rng.choice(np.array([-1, 0, 1], dtype=np.int32), n, p=[0.01, 0.97, 0.02]),
        "motive_price": np.where(rng.random(n) < 0.05, np.nan, rng.random(n)),
        "consent_at": now_at - rng.integers(0, 700 * DAY_US, wide),
        "consent_basis": rng.choice(np.array([-1, 0, 1, 2, 4], dtype=np.int8), wide, p=[0.01, 0.9, 0.05, 0.02, 0.02]),
        "consent_expires_at": np.where(rng.random(wide) < 0.9, NOT_AN_INSTANT, now_at + 90 * DAY_US),
    }


def _events(rng: np.random.Generator, offsets: Any, at: Any) -> Events:
    m = len(at)
    p = np.array([5, 3, 1, 0.1, 0.2, 0.1, 0.05, 1, 0.2, 0.2])
    at, kind, channel, category = order_sends(
        offsets,
        at,
        rng.choice(len(EVENTS), m, p=p / p.sum()).astype(np.int32),
        rng.integers(0, 3, m).astype(np.int32),
        _codes(rng, m, 3, 0.1),
    )
    return Events(offsets, at, kind, channel, category, CATEGORIES, np.ones(len(offsets) - 1, dtype=np.bool_))
