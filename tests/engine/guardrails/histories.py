"""Contacts with sends, their details and events, for the rules that look back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch, Events, order_sends, plain_contacts
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Finding, Scene
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import DAY_US, instant_of
from engine.types import PURPOSES

TOPICS = ("sale", "news", "loyalty")
CATEGORIES = ("shoes", "hats", "coats")
STATES = ("", "FL", "NY", "OK")
DEPTHS = (0.0, 0.1, 0.2, 0.5, np.nan)
CATALOG = Catalog(
    name="histories",
    channels=("email", "sms"),
    hours=(9, 20, "now"),
    arms=(
        Arm(id="shoes", approved=True, category="shoes", attributes={"topic": "sale", "item": "s1"}),
        Arm(
            id="shoes10",
            approved=True,
            category="shoes",
            discount_depth=0.1,
            margin_usd=20.0,
            attributes={"topic": "sale", "item": "s1", "price_usd": 50.0, "template": "shoes"},
        ),
        Arm(id="hats30", approved=True, category="hats", discount_depth=0.3, margin_usd=5.0),
        Arm(id="news", approved=True, attributes={"topic": "news"}),
        Arm(id="laces", approved=True, category="shoes", margin_usd=0.001, attributes={"cross_sell": "yes"}),
        Arm(id="receipt", approved=True, purpose="transactional", category="shoes", attributes={"topic": "sale"}),
    ),
)
WALL = Catalog(name="wall", channels=CATALOG.channels, hours=(9, 20), arms=CATALOG.arms)
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
NOW_AT = instant_of(NOW)
HOUR_US = 3_600_000_000


def detailed(catalog: Catalog, n: int, now_at: int, seed: int = 0) -> ContactBatch:
    """The specimens with everything that a rule may read, and holes in it."""
    rng = np.random.default_rng(seed + 1)
    contacts = specimen_contacts(catalog, n, now_at, seed)
    m = len(contacts.sent_at)
    templates = (*catalog.arm_ids, "retired")
    lengths = rng.integers(0, 6, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    steps = -rng.integers(0, 20 * 24, total) * HOUR_US + rng.choice((-1, 0, 1), total)
    columns = order_sends(
        offsets,
        now_at + steps,
        rng.integers(0, len(EVENTS), total).astype(np.int32),
        rng.integers(-1, len(catalog.channels), total).astype(np.int32),
        rng.integers(-1, len(CATEGORIES), total).astype(np.int32),
    )
    return replace(
        contacts,
        sent_details={
            "sent_topic": rng.integers(-1, len(TOPICS), m).astype(np.int32),
            "sent_template": rng.integers(-1, len(templates), m).astype(np.int32),
            "sent_category": rng.integers(-1, len(CATEGORIES), m).astype(np.int32),
            "sent_discount": rng.choice(DEPTHS, m),
        },
        extra={
            "state": rng.integers(-1, len(STATES), n).astype(np.int32),
            "area_state": rng.integers(-1, len(STATES), n).astype(np.int32),
            "motive_price": np.where(rng.random(n) < 0.3, np.nan, rng.random(n)),
        },
        levels={
            "sent_topic": TOPICS,
            "sent_template": templates,
            "sent_category": CATEGORIES,
            "state": STATES,
            "area_state": STATES,
        },
        events=Events(offsets, *columns, CATEGORIES, (lengths > 0) | (rng.random(n) < 0.8)),
    )


@dataclass(frozen=True)
class Send:
    """One send: hours before now, and its details."""

    ago_h: float
    channel: str = "email"
    purpose: str = "promotional"
    topic: str | None = None
    template: str | None = None
    category: str | None = None
    discount: float = 0.0


@dataclass(frozen=True)
class Event:
    """One event: hours before now."""

    ago_h: float
    kind: str
    category: str | None = None


def contact(
    sends: Sequence[Send] | None = (),
    events: Sequence[Event] | None = (),
    *,
    zone: str | None = "UTC",
    catalog: Catalog = CATALOG,
    now_at: int = NOW_AT,
    state: str | None = "",
    area_state: str | None = "",
    motive_price: float = np.nan,
) -> ContactBatch:
    """One contact; None: nobody knows."""
    listed = sorted(sends or (), key=lambda send: -send.ago_h)
    happened = sorted(events or (), key=lambda event: -event.ago_h)
    templates = tuple(dict.fromkeys(send.template for send in listed if send.template is not None))
    return plain_contacts(
        np.array(["c"], dtype=object),
        catalog,
        zones=() if zone is None else (zone,),
        zone_code=np.array([-1 if zone is None else 0], dtype=np.int32),
        history_known=np.array([sends is not None]),
        sent_offsets=np.array([0, len(listed)]),
        sent_at=np.array([now_at - round(send.ago_h * HOUR_US) for send in listed], dtype=np.int64),
        sent_channel=_codes(catalog.channels, [send.channel for send in listed]),
        sent_purpose=_codes(PURPOSES, [send.purpose for send in listed]),
        sent_details={
            "sent_topic": _codes(TOPICS, [send.topic for send in listed]),
            "sent_template": _codes(templates, [send.template for send in listed]),
            "sent_category": _codes(CATEGORIES, [send.category for send in listed]),
            "sent_discount": np.array([send.discount for send in listed], dtype=np.float64),
        },
        extra={
            "state": _codes(STATES, [state]),
            "area_state": _codes(STATES, [area_state]),
            "motive_price": np.array([motive_price]),
        },
        levels={
            "sent_topic": TOPICS,
            "sent_template": templates,
            "sent_category": CATEGORIES,
            "state": STATES,
            "area_state": STATES,
        },
        events=Events(
            np.array([0, len(happened)]),
            np.array([now_at - round(event.ago_h * HOUR_US) for event in happened], dtype=np.int64),
            _codes(EVENTS, [event.kind for event in happened]),
            np.full(len(happened), -1, dtype=np.int32),
            _codes(CATEGORIES, [event.category for event in happened]),
            CATEGORIES,
            np.array([events is not None]),
        ),
    )


def _codes(levels: Sequence[str], values: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array([levels.index(value) if value in levels else -1 for value in values], dtype=np.int32)


def scene(contacts: ContactBatch, now_at: int = NOW_AT, catalog: Catalog = CATALOG) -> Scene:
    return Scene(catalog, contacts, now_at, 600)


def left(rule: str, params: dict[str, Any], contacts: ContactBatch, now_at: int = NOW_AT) -> set[str]:
    """Arms that may be sent as an e-mail right now."""
    allowed = removed(judge(make_rule(rule, params), scene(contacts, now_at)), 1, CATALOG).dense()[0]
    return {arm.id for at, arm in enumerate(CATALOG.arms) if allowed[CATALOG.index(0, 2, at)]}


def gone(rule: str, params: dict[str, Any], contacts: ContactBatch, now_at: int = NOW_AT) -> set[str]:
    """Arms that may not be sent as an e-mail right now."""
    return set(CATALOG.arm_ids) - left(rule, params, contacts, now_at)


def found(rule: str, params: dict[str, Any], contacts: ContactBatch, now_at: int = NOW_AT) -> dict[str, Finding]:
    """Findings of e-mails right now, by arm."""
    by_action = dict(findings(make_rule(rule, params), scene(contacts, now_at)))
    return {
        arm.id: by_action[CATALOG.index(0, 2, at)]
        for at, arm in enumerate(CATALOG.arms)
        if CATALOG.index(0, 2, at) in by_action
    }


def allowed_of(rule: str, params: dict[str, Any], at: Scene) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n, k) what one rule leaves."""
    return removed(judge(make_rule(rule, params), at), at.contacts.n, at.catalog).dense()


def require_first(rule: str, params: dict[str, Any], contacts: ContactBatch, catalog: Catalog = CATALOG) -> int:
    """Every `next_allowed_at` of one contact is the first instant at which the action passes, by brute force.

    Looks at every eleventh hour, and at minutes and microseconds before it; returns how many instants it tried.
    """
    base = scene(contacts, catalog=catalog)
    listed = findings(make_rule(rule, params), base)
    ends = {finding.next_allowed_at for _, finding in listed} - {None}
    probes = {*range(NOW_AT, max(ends, default=NOW_AT + 40 * DAY_US), 11 * HOUR_US)}
    for end in ends:
        probes |= {end, end - 1, end - 2, *(end - minute * 60_000_000 for minute in (1, 2, 5, 29, 30, 31, 59, 60, 61))}
    passes = {probe: allowed_of(rule, params, replace(base, now_at=probe))[0] for probe in probes if probe >= NOW_AT}
    for action, finding in listed:
        later = finding.next_allowed_at
        first = min((probe for probe, allowed in passes.items() if allowed[action]), default=None)
        assert first == later, (catalog.action_names[action], finding)
    return len(ends)


def without_sends(contacts: ContactBatch, share: float, seed: int) -> ContactBatch:
    """The same contacts with only some of their sends."""
    kept = np.random.default_rng(seed).random(len(contacts.sent_at)) < share
    return replace(
        contacts,
        sent_offsets=np.concatenate([[0], np.cumsum(kept)])[contacts.sent_offsets],
        sent_at=contacts.sent_at[kept],
        sent_channel=contacts.sent_channel[kept],
        sent_purpose=contacts.sent_purpose[kept],
        sent_details={name: column[kept] for name, column in contacts.sent_details.items()},
    )


def without_events(contacts: ContactBatch, share: float, seed: int, kinds: Sequence[str]) -> ContactBatch:
    """The same contacts with only some of their events of some kinds."""
    events = contacts.events
    assert events is not None
    named = np.isin(events.kind, [EVENTS.index(kind) for kind in kinds])
    kept = ~named | (np.random.default_rng(seed).random(len(events.at)) < share)
    fewer = replace(
        events,
        offsets=np.concatenate([[0], np.cumsum(kept)])[events.offsets],
        at=events.at[kept],
        kind=events.kind[kept],
        channel=events.channel[kept],
        category=events.category[kept],
    )
    return replace(contacts, events=fewer)
