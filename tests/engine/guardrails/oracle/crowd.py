"""Random contacts with every kind of hole: half of them could receive something, the others lie at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, STOP_EVENTS, ContactBatch, Events, order_sends, plain_contacts
from engine.time.localtime import DAY_US, slot_instants, zone_names
from engine.types import NOT_AN_INSTANT

CHANNELS = ("email", "sms", "push")
ZONES = tuple(sorted(zone_names()))
COUNTRIES = ("US", "CA", "DE", "GB", "FR", "IN")
STATES = ("", "FL", "OK", "WA", "TX", "CT", "MD", "NJ", "KY", "CA", "RI", "NY", "ON")
LINE_TYPES = ("mobile", "landline", "voip", "")
LISTS = ("", "employee", "minor", "deceased", "litigator", "employee,minor", "vip")
PLAUSIBLE = ("America/New_York,America/Chicago", "America/Chicago", "Europe/Berlin,Asia/Tokyo", "America/Phoenix")
CATEGORIES = ("shoes", "hats", "")
# A blank name is none, and may be any.
TEMPLATES = ("promo", "deal", "english", "gone", "", " ")
BASES = ("express_written", "express", "implied_purchase", "implied_inquiry", "soft_opt_in")
TOPICS = ("sale", "news", "")
DEPTHS = np.array([0.0, 0.1, 0.2, 0.25, np.nan])


def arm(name: str, **fields: Any) -> Arm:
    defaults: dict[str, Any] = {"approved": True, "margin_usd": 5.0, "attributes": {"topic": "sale"}}
    return Arm(id=name, **(defaults | fields))


CATALOG = Catalog(
    name="oracle",
    channels=CHANNELS,
    hours=(*range(24), "now"),
    arms=(
        arm("promo", category="shoes"),
        arm("plain", margin_usd=None, attributes={"own_similar": "yes"}),
        arm("receipt", purpose="transactional", margin_usd=None),
        arm(
            "deal", discount_depth=0.2, category="hats", attributes={"topic": "news", "item": "cap", "price_usd": 20.0}
        ),
        arm("steal", discount_depth=0.5, margin_usd=4.0, category="shoes", attributes={"topic": "sale", "item": "cap"}),
        arm("small", margin_usd=0.0004, category="shoes", attributes={"topic": "news", "cross_sell": "yes"}),
        arm("draft", approved=False),
        arm("english", locale="en", category="hats", attributes={"topic": "news", "template": "promo"}),
        arm(
            "canada",
            locale="fr-CA",
            channels=("email",),
            discount_depth=0.1,
            attributes={"item": "hat", "price_usd": 9},
        ),
        arm("texts", channels=("sms", "push"), purpose="transactional", discount_depth=0.3, category="shoes"),
        arm("autumn", valid_from="2026-03-08T05:00:00-05:00", valid_until="2026-11-02T00:00:00Z", category="shoes"),
        arm("ending", attributes={"topic": "news", "due_within_days": 9}),
        arm("over", valid_until="2026-10-25T03:00:00+02:00", attributes={"topic": "news"}),
    ),
)
# Lengths of the windows that packs use, so that sends and events lie exactly at their ends.
WINDOWS_US = np.array(
    [5, 3_600, 57_600, 86_400, *(d * 86_400 for d in (2, 3, 7, 9, 14, 15, 30, 90, 180, 183, 365, 730))]
)
WINDOWS_US = WINDOWS_US * 1_000_000


def crowd(rng: np.random.Generator, zones: tuple[str, ...], now_at: int, catalog: Catalog = CATALOG) -> ContactBatch:
    """One contact per zone, a tenth of them without; columns are now and then absent from the whole batch."""
    n = len(zones)
    zone_code = np.where(rng.random(n) < 0.12, -1, np.arange(n)).astype(np.int32)
    instants = slot_instants(zones, catalog.hours, now_at)
    wide = (n, len(catalog.channels), 2)
    sends, details = _sends(rng, instants, now_at)
    levels = np.array([-1, 0, 1], dtype=np.int8)
    extra: dict[str, Any] = {
        "country": _codes(rng, n, COUNTRIES, 0.08, first=0.6),
        "state": _codes(rng, n, STATES, 0.08, first=0.4),
        "area_state": _codes(rng, n, STATES, 0.08, first=0.4),
        "line_type": _codes(rng, n, LINE_TYPES, 0.05, first=0.7),
        "lists": _codes(rng, n, LISTS, 0.05, first=0.7),
        "plausible_zones": _codes(rng, n, PLAUSIBLE, 0.3),
        "profiling_objection": _codes(rng, n, ("no", "yes"), 0.08, first=0.8),
        "motive_price": np.where(rng.random(n) < 0.1, np.nan, rng.choice([0.0, 0.2, 0.5, 0.6, 0.9, 1.0], n)),
        "due_at": _due(np.random.default_rng(now_at % 2**63), instants, now_at),
        "consent_at": _instants(rng, wide, now_at, -1, 0.05),
        "consent_basis": rng.choice([-1, 0, 1, 2, 3, 4], wide, p=[0.05, 0.5, 0.2, 0.1, 0.05, 0.1]).astype(np.int8),
        "consent_expires_at": _instants(rng, wide, now_at, 1, 0.7),
    }
    known = sends["history_known"]
    batch = plain_contacts(
        np.array([f"{row}-{zone}" for row, zone in enumerate(zones)], dtype=object),
        catalog,
        zones=zones,
        zone_code=zone_code,
        locales=("en-GB", "fr-CA", "fr", "en", "EN-us", "eng"),
        locale_code=rng.integers(-1, 6, n).astype(np.int32),
        consent=rng.choice(levels, wide, p=[0.05, 0.05, 0.9]),
        suppressed=rng.choice(levels, wide[:2], p=[0.05, 0.9, 0.05]),
        **(sends | {"history_known": known}),
        extra=extra,
        sent_details=details,
        levels={
            "country": COUNTRIES,
            "state": STATES,
            "area_state": STATES,
            "line_type": LINE_TYPES,
            "lists": LISTS,
            "plausible_zones": PLAUSIBLE,
            "profiling_objection": ("no", "yes"),
            "sent_topic": TOPICS,
            "sent_template": TEMPLATES,
            "sent_category": CATEGORIES,
        },
        events=_events(rng, instants, now_at, len(catalog.channels)),
    )
    droppable = [*extra, *details, "events"]
    for name in rng.choice(droppable, 2, replace=False) if rng.random() < 0.15 else ():
        batch = batch.blanked(str(name))
    return batch


def _codes(
    rng: np.random.Generator, n: int, levels: tuple[str, ...], missing: float, first: float = 0.0
) -> np.ndarray[Any, Any]:
    codes = np.where(rng.random(n) < first, 0, rng.integers(0, len(levels), n))
    return np.where(rng.random(n) < missing, -1, codes).astype(np.int32)


def _due(
    rng: np.random.Generator, instants: np.ndarray[Any, Any], now_at: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Due dates so that the first or the last slot lies at an end of the window to the microsecond, or anywhere."""
    n = len(instants)
    first, last = instants.min(axis=1), instants.max(axis=1)
    edge = np.where(rng.random(n) < 0.5, np.minimum(first, now_at) + 9 * DAY_US, last + 600_000_000)
    anywhere = now_at + rng.integers(-2, 14, n) * DAY_US
    at = np.where(rng.random(n) < 0.6, edge, anywhere) + rng.integers(-1, 2, n)
    return np.where(rng.random(n) < 0.06, NOT_AN_INSTANT, at).astype(np.int64)


def _instants(
    rng: np.random.Generator, shape: tuple[int, ...], now_at: int, sign: int, missing: float
) -> np.ndarray[Any, Any]:
    """Instants before (-1) or after (1) now: anywhere in three years, or a window's length away to the microsecond."""
    near = now_at + sign * rng.choice(WINDOWS_US, shape) + rng.integers(-1, 2, shape)
    far = now_at + sign * rng.integers(0, 1_100 * DAY_US, shape)
    at = np.where(rng.random(shape) < 0.3, near, far)
    return np.where(rng.random(shape) < missing, NOT_AN_INSTANT, np.maximum(at, 0))


def _rows(rng: np.random.Generator, n: int, p: list[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    lengths = rng.choice([0, 1, 2, 3, 9], n, p=p)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.repeat(np.arange(n), lengths)


def _at(rng: np.random.Generator, owner: Any, instants: Any, now_at: int) -> np.ndarray[Any, Any]:
    """At the very ends of windows over the contact's own slots (or now), anywhere near, or absurd."""
    m = len(owner)
    slots = instants[owner, rng.integers(0, instants.shape[1], m)]
    slots = np.where(rng.random(m) < 0.3, now_at, slots)
    # A quarter lies as far ahead of a slot as the others lie behind it: planned sends.
    sign = np.where(rng.random(m) < 0.25, 1, -1)
    edges = slots + sign * rng.choice(WINDOWS_US, m) + rng.integers(-1, 2, m)
    anywhere = now_at + sign * (rng.random(m) ** 2 * 300 * DAY_US).astype(np.int64) + DAY_US
    hostile = rng.choice([0, now_at, now_at - 1, now_at + 1, 9_000_000_000_000_000], m)
    at: np.ndarray[Any, Any] = np.select([rng.random(m) < 0.5, rng.random(m) < 0.9], [edges, anywhere], hostile)
    return at


def _sends(rng: np.random.Generator, instants: Any, now_at: int) -> tuple[dict[str, Any], dict[str, Any]]:
    offsets, owner = _rows(rng, len(instants), [0.4, 0.25, 0.2, 0.1, 0.05])
    m = len(owner)
    columns = order_sends(
        offsets,
        _at(rng, owner, instants, now_at),
        rng.integers(-1, len(CHANNELS), m).astype(np.int32),
        (rng.random(m) < 0.25).astype(np.int32),
    )
    names = ("sent_at", "sent_channel", "sent_purpose")
    known = (np.diff(offsets) > 0) | (rng.random(len(instants)) < 0.85)
    sends = dict(zip(names, columns, strict=True)) | {"sent_offsets": offsets, "history_known": known}
    details = {
        "sent_topic": _codes(rng, m, TOPICS, 0.1),
        "sent_template": _codes(rng, m, TEMPLATES, 0.15),
        "sent_category": _codes(rng, m, CATEGORIES, 0.1),
        "sent_discount": rng.choice(DEPTHS, m),
    }
    return sends, details


def _events(rng: np.random.Generator, instants: Any, now_at: int, channels: int) -> Events:
    n = len(instants)
    offsets, owner = _rows(rng, n, [0.45, 0.25, 0.15, 0.1, 0.05])
    m = len(owner)
    at, kind, channel, category = order_sends(
        offsets,
        _at(rng, owner, instants, now_at),
        _kinds(rng, m),
        rng.integers(-1, channels, m).astype(np.int32),
        rng.integers(-1, len(CATEGORIES), m).astype(np.int32),
    )
    known = (np.diff(offsets) > 0) | (rng.random(n) < 0.85)
    return Events(offsets, at, kind, channel, category, CATEGORIES, known)


def _kinds(rng: np.random.Generator, m: int) -> NDArray[np.int32]:
    """Kinds of events; those that close a channel for good are rare, or nothing would be left to judge."""
    rare = np.array([0.01 if kind in STOP_EVENTS else 1.0 for kind in EVENTS])
    return rng.choice(len(EVENTS), m, p=rare / rare.sum()).astype(np.int32)
