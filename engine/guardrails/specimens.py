"""Made-up contacts with every kind of hole, on which `check_rule` tries a rule: seeded, the same in every run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.contacts import (
    CONSENT_BASES,
    EVENTS,
    NO,
    OBJECTIONS,
    OTHER_CHANNEL,
    UNKNOWN,
    YES,
    ContactBatch,
    Events,
    order_sends,
    plain_contacts,
)
from engine.time.localtime import DAY_US
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, PURPOSES, IntArray

ZONES: Final = (
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "Europe/London",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "Africa/Casablanca",
)
LOCALES: Final = ("en-US", "en", "de-DE", "pt-BR")
# Of the coded columns; every one of them also comes missing.
LEVELS: Final = {
    "country": ("US", "CA", "DE", "FR", "IN"),
    "state": ("FL", "TX", "KY", "RI", "NY", "ON", ""),
    "area_state": ("FL", "TX", "KY", "CA", "ON", ""),
    "line_type": ("mobile", "landline", "voip", ""),
    "lists": ("", "minor", "employee,minor", "vip", "litigator"),
    "plausible_zones": ("America/New_York,America/Chicago", "UTC", "Asia/Kolkata,Europe/Paris,Pacific/Apia"),
    "profiling_objection": OBJECTIONS,
}
SENT_LEVELS: Final = {
    "sent_topic": ("spring", "debt"),
    "sent_template": ("a", "b", "c"),
    "sent_category": ("shoes", "hats"),
}
CATEGORIES: Final = ("shoes", "hats", "tea")
# Around the ends of rolling windows, to the microsecond.
_EDGES: Final = (-1, 0, 1)


def specimen_contacts(catalog: Catalog, n: int, now_at: int, seed: int = 0) -> ContactBatch:
    """n contacts with every input that a rule may read, and with each of them missing in some.

    All zones of `ZONES` and none, every consent level, full, empty and unknown histories of sends and events. Sends and
    events lie anywhere in 40 days, at exact multiples of hours before now (and a microsecond beside), and ahead of now.
    """
    rng = np.random.default_rng(seed)
    channels = len(catalog.channels)
    offsets, at = _sends(rng, n, now_at)
    sent_channel = rng.integers(-1, channels, len(at)).astype(np.int32)
    sent_purpose = rng.integers(0, len(PURPOSES), len(at)).astype(np.int32)
    at, sent_channel, sent_purpose = order_sends(offsets, at, sent_channel, sent_purpose)
    levels = np.array([UNKNOWN, NO, YES], dtype=np.int8)
    contacts = plain_contacts(
        np.array([f"specimen-{row}" for row in range(n)], dtype=object),
        catalog,
        zones=ZONES,
        zone_code=rng.integers(-1, len(ZONES), n).astype(np.int32),
        locales=LOCALES,
        locale_code=rng.integers(-1, len(LOCALES), n).astype(np.int32),
        consent=rng.choice(levels, (n, channels, len(PURPOSES)), p=[0.1, 0.2, 0.7]),
        suppressed=rng.choice(levels, (n, channels), p=[0.05, 0.8, 0.15]),
        sent_offsets=offsets,
        sent_at=at,
        sent_channel=sent_channel,
        sent_purpose=sent_purpose,
        history_known=(np.diff(offsets) > 0) | (rng.random(n) < 0.8),
    )

    return _with_further_inputs(contacts, rng, now_at)


def _with_further_inputs(contacts: ContactBatch, rng: np.random.Generator, now_at: int) -> ContactBatch:
    n, m = contacts.n, len(contacts.sent_at)
    extra: dict[str, NDArray[Any]] = {name: _codes(rng, len(levels), n) for name, levels in LEVELS.items()}
    extra["motive_price"] = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
    due = now_at + np.arange(n) % 41 * (DAY_US // 4) - DAY_US + np.arange(n) % 3 - 1
    extra["due_at"] = np.where(np.arange(n) % 7 == 3, NOT_AN_INSTANT, due)
    shape = contacts.consent.shape
    given = now_at - rng.integers(0, 800, shape) * DAY_US + rng.choice(_EDGES, shape)
    extra["consent_at"] = np.where(rng.random(shape) < 0.1, NOT_AN_INSTANT, given)
    extra["consent_basis"] = rng.integers(-1, len(CONSENT_BASES), shape).astype(np.int8)
    ends = now_at + rng.integers(-48, 400, shape) * 3_600 * MICROSECONDS_PER_S + rng.choice(_EDGES, shape)
    extra["consent_expires_at"] = np.where(rng.random(shape) < 0.6, NOT_AN_INSTANT, ends)
    details: dict[str, NDArray[Any]] = {name: _codes(rng, len(levels), m) for name, levels in SENT_LEVELS.items()}
    details["sent_discount"] = rng.choice(np.array([0.0, 0.1, 0.25, np.nan]), m)
    events = _events(rng, n, shape[1], now_at)
    return replace(contacts, extra=extra, sent_details=details, levels=LEVELS | SENT_LEVELS, events=events)


def _codes(rng: np.random.Generator, levels: int, n: int) -> NDArray[np.int32]:
    return np.where(rng.random(n) < 0.15, UNKNOWN, rng.integers(0, levels, n)).astype(np.int32)


def _events(rng: np.random.Generator, n: int, channels: int, now_at: int) -> Events:
    offsets, at = _sends(rng, n, now_at)
    kind = rng.integers(0, len(EVENTS), len(at)).astype(np.int32)
    channel = rng.integers(OTHER_CHANNEL, channels, len(at)).astype(np.int32)
    category = _codes(rng, len(CATEGORIES), len(at))
    at, kind, channel, category = order_sends(offsets, at, kind, channel, category)
    known = (np.diff(offsets) > 0) | (rng.random(n) < 0.5)
    return Events(offsets, at, kind, channel, category, CATEGORIES, known)


def _sends(rng: np.random.Generator, n: int, now_at: int) -> tuple[IntArray, IntArray]:
    lengths = rng.integers(0, 7, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    anywhere = rng.integers(-40 * DAY_US, 2 * DAY_US, total)
    on_the_hour = -rng.integers(0, 32 * 24, total) * 3_600 * MICROSECONDS_PER_S + rng.choice(_EDGES, total)
    return offsets, now_at + np.where(rng.random(total) < 0.5, anywhere, on_the_hour)
