"""One contact in words, and what a rule leaves to it: for the tests of single rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import CONSENT_BASES, EVENTS, ContactBatch, Events, plain_contacts
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Finding, Rule, Scene
from engine.time.localtime import instant_of
from engine.types import NOT_AN_INSTANT, PURPOSES

CATALOG = Catalog(
    name="one",
    channels=("email", "sms"),
    hours=(*range(24), "now"),
    arms=(
        Arm(id="promo", approved=True),
        Arm(id="receipt", approved=True, purpose="transactional"),
        Arm(id="similar", approved=True, attributes={"own_similar": "yes"}),
    ),
)
MARGIN_S = 600
LEVELS = ("country", "state", "area_state", "line_type", "lists", "plausible_zones", "profiling_objection")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def one(zone: str | None = "America/New_York", **facts: Any) -> ContactBatch:
    """A contact with every consent that is not named; facts are inputs of rules, consents in words.

    Args:
        zone: its time zone.
        facts: levels by name; `consent`: {(channel, purpose): {"level", "at", "basis", "expires"}}; `events`: list of
            (instant, kind, channel).
    """
    shape = (1, len(CATALOG.channels), len(PURPOSES))
    level, basis = np.ones(shape, dtype=np.int8), np.full(shape, -1, dtype=np.int8)
    at, ends = (np.full(shape, NOT_AN_INSTANT, dtype=np.int64) for _ in range(2))
    for (channel, purpose), record in facts.pop("consent", {}).items():
        where = (0, CATALOG.channels.index(channel), PURPOSES.index(purpose))
        level[where] = record.get("level", 1)
        if record.get("basis"):
            basis[where] = CONSENT_BASES.index(record["basis"])
        if record.get("at"):
            at[where] = instant_of(record["at"])
        if record.get("expires"):
            ends[where] = instant_of(record["expires"])
    events = facts.pop("events", None)
    extra: dict[str, Any] = {"consent_at": at, "consent_basis": basis, "consent_expires_at": ends}
    extra |= {name: np.array([-1 if value is None else 0], dtype=np.int32) for name, value in facts.items()}
    return plain_contacts(
        np.array(["one"], dtype=object),
        CATALOG,
        zones=() if zone is None else (zone,),
        zone_code=np.array([-1 if zone is None else 0], dtype=np.int32),
        consent=level,
        suppressed=np.zeros(shape[:2], dtype=np.int8),
        history_known=np.array([True]),
        extra=extra,
        levels={name: () if value is None else (value,) for name, value in facts.items()},
        events=None if events is None else _events(events),
    )


def _events(events: list[tuple[datetime, str, str | None]]) -> Events:
    events = sorted(events, key=lambda event: event[0])
    return Events(
        np.array([0, len(events)]),
        np.array([instant_of(at) for at, _, _ in events], dtype=np.int64),
        np.array([EVENTS.index(kind) for _, kind, _ in events], dtype=np.int32),
        np.array([CATALOG.channels.index(c) if c in CATALOG.channels else -1 for _, _, c in events], dtype=np.int32),
        np.full(len(events), -1, dtype=np.int32),
        (),
        np.array([True]),
    )


def rule(name: str, **params: Any) -> Rule:
    return make_rule(name, params)


def left(made: Rule, contact: ContactBatch, now: datetime) -> set[str]:
    """Names of the send actions that a rule leaves."""
    scene = Scene(CATALOG, contact, instant_of(now), MARGIN_S)
    dense = removed(judge(made, scene), 1, CATALOG).dense()[0]
    return {CATALOG.action_names[action] for action in np.flatnonzero(dense) if action}


def found(made: Rule, contact: ContactBatch, now: datetime, action: str) -> Finding:
    scene = Scene(CATALOG, contact, instant_of(now), MARGIN_S)
    return dict(findings(made, scene))[CATALOG.resolve(action)]
