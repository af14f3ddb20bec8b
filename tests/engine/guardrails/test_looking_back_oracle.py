"""A slow oracle of the rules that look back: plain loops over one contact, from the words of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch
from engine.guardrails.rule import Scene
from engine.time.localtime import DAY_US, FARTHEST_SLOT_US
from engine.types import NOT_AN_INSTANT, PURPOSES
from tests.engine.guardrails.histories import CATALOG, NOW_AT, WALL, allowed_of, detailed, scene

DAY_S = 86_400
PROMOTIONAL = "promotional"


@dataclass(frozen=True)
class Person:
    """One contact in plain words; lists are oldest first."""

    known: bool
    sends: list[dict[str, Any]]
    events_known: bool
    events: list[dict[str, Any]]
    states: list[str | None]
    motive: float


def named(levels: tuple[str, ...], code: int) -> str | None:
    return None if code < 0 else levels[code]


def people(contacts: ContactBatch) -> list[Person]:
    out = []
    events, details, levels = contacts.events, contacts.sent_details, contacts.levels
    assert events is not None
    for row in range(contacts.n):
        sends = [
            {
                "at": int(contacts.sent_at[at]),
                "purpose": PURPOSES[contacts.sent_purpose[at]],
                "depth": float(details["sent_discount"][at]),
                **{
                    key: named(levels[f"sent_{key}"], int(details[f"sent_{key}"][at]))
                    for key in ("topic", "template", "category")
                },
            }
            for at in range(contacts.sent_offsets[row], contacts.sent_offsets[row + 1])
        ]
        happened = [
            {
                "at": int(events.at[at]),
                "kind": EVENTS[events.kind[at]],
                "category": named(events.categories, int(events.category[at])),
            }
            for at in range(events.offsets[row], events.offsets[row + 1])
        ]
        states = [named(levels[name], int(contacts.extra[name][row])) for name in ("state", "area_state")]
        out.append(
            Person(
                bool(contacts.history_known[row]),
                sends,
                bool(events.known[row]),
                happened,
                states,
                float(contacts.extra["motive_price"][row]),
            )
        )
    return out


def fullest(times: list[int], planned: int, window: int) -> int:
    """The most sends in one window over a moment; it begins at the moment or at a send before it."""
    begins = [planned, *(at for at in times if planned - window < at <= planned)]
    return max(sum(begin <= at < begin + window for at in times) for begin in begins)


def topic_cap(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """At most one per topic in nine days, in Florida."""
    if not person.known:
        return False
    if not any(state in ("FL", None) for state in person.states):
        return True
    mine = arm.attributes.get("topic")
    same = [s["at"] for s in person.sends if s["purpose"] == PROMOTIONAL and (not mine or s["topic"] in (mine, None))]
    return all(fullest(same, planned, 9 * DAY_US) < 1 for planned in instants)


def cooldown(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """The same template at most twice in twenty days; shoes and shoes10 share one."""
    shared = {"shoes": {"shoes", "shoes10"}, "shoes10": {"shoes", "shoes10"}}
    names = shared.get(arm.id, {arm.id})
    sent = [s["at"] for s in person.sends if s["template"] is None or s["template"] in names]
    return person.known and all(fullest(sent, planned, 20 * DAY_US) < 2 for planned in instants)


def sequence(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """News not within six days after hats."""
    sent = [s["at"] for s in person.sends if s["category"] in ("hats", None)]
    held = arm.id == "news" and any(abs(planned - at) < 6 * DAY_US for at in sent for planned in instants)
    return person.known and not held


def discount(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """At most 20 % deep, and one in nine days."""
    if not person.known or arm.discount_depth > 0.2:
        return False
    sent = [s["at"] for s in person.sends if s["depth"] > 0 or np.isnan(s["depth"])]
    return arm.discount_depth == 0 or all(fullest(sent, planned, 9 * DAY_US) < 1 for planned in instants)


def first_touch(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """No discount on the first touch in seven days, unless P(price) > 0.5."""
    if not person.known:
        return False
    if arm.discount_depth == 0 or person.motive > 0.5:
        return True
    touches = [s["at"] for s in person.sends if s["purpose"] == PROMOTIONAL and s["at"] <= NOW_AT]
    latest = slot[1]
    return all(any(at > planned - 7 * DAY_US for at in touches) for planned in (*instants, latest))


def recent_purchase(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """Not what was bought in six days, unless it is cross-sell."""
    if not person.events_known:
        return False
    if arm.attributes.get("cross_sell") == "yes":
        return True
    bought = [
        e["at"]
        for e in person.events
        if e["kind"] == "purchased" and (not arm.category or e["category"] in (arm.category, None))
    ]
    return all(not any(at > planned - 6 * DAY_US for at in bought) for planned in instants)


def open_ticket(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """Nothing while a ticket is open, and three days after."""
    count, closed = 0, None
    for event in person.events:
        if event["kind"] in ("ticket_opened", "complained"):
            count += 1
        elif event["kind"] == "ticket_closed":
            count, closed = max(0, count - 1), event["at"]
    return person.events_known and count == 0 and (closed is None or slot[0] >= closed + 3 * DAY_US)


def sunset(person: Person, arm: Arm, instants: list[int], slot: tuple[int, int]) -> bool:
    """Two sends in nine days unheard, or twelve days without a sign."""
    if not person.known or not person.events_known:
        return False
    signs = [e["at"] for e in person.events if e["kind"] in ("opened", "clicked")]
    sends = [s["at"] for s in person.sends if s["purpose"] == PROMOTIONAL]
    last = max(signs, default=None)
    unheard = [at for at in sends if last is None or at > last]
    # Slots without an instant may lie anywhere between the two: as near to each send as that allows.
    tried = {slot[0], slot[1], *(max(slot[0], min(slot[1], at + 9 * DAY_US - 1)) for at in unheard)}
    if any(fullest(unheard, planned, 9 * DAY_US) >= 2 for planned in tried):
        return False
    return not sends or slot[1] < (sends[0] if last is None else last) + 12 * DAY_US


CASES: list[tuple[Callable[..., bool], dict[str, Any]]] = [
    (topic_cap, {"max": 1, "window_s": 9 * DAY_S, "states": ["FL"]}),
    (cooldown, {"max": 2, "window_s": 20 * DAY_S}),
    (sequence, {"pairs": [{"a": {"arm": "news"}, "b": {"category": "hats"}, "window_s": 6 * DAY_S}]}),
    (discount, {"max_depth": 0.2, "max_sends": 1, "window_s": 9 * DAY_S}),
    (first_touch, {"tau": 0.5, "window_s": 7 * DAY_S}),
    (recent_purchase, {"window_s": 6 * DAY_S}),
    (open_ticket, {}),
    (sunset, {"max_unengaged": 2, "window_s": 9 * DAY_S, "idle_s": 12 * DAY_S}),
]


def span(at: Scene, row: int) -> tuple[list[int], list[tuple[int, int]], int]:
    """Planned instants of all slots (now where there is none), and the earliest and latest of each slot."""
    planned = [int(instant) for instant in at.planned[row]]
    slots = [
        (instant, instant) if instant != NOT_AN_INSTANT else (at.now_at, at.now_at + FARTHEST_SLOT_US)
        for instant in planned
    ]
    return [first for first, _ in slots], slots, max(last for _, last in slots)


@pytest.mark.parametrize("catalog", [CATALOG, WALL], ids=["with now", "wall hours"])
@pytest.mark.parametrize(("passes", "params"), CASES, ids=[passes.__name__ for passes, _ in CASES])
def test_the_oracle_agrees(passes: Callable[..., bool], params: dict[str, Any], catalog: Catalog) -> None:
    for seed in (1, 2):
        at = scene(detailed(catalog, 1500, NOW_AT, seed), catalog=catalog)
        allowed = allowed_of(passes.__name__, params, at)
        seen = set()
        for row, person in enumerate(people(at.contacts)):
            instants, slots, latest = span(at, row)
            for hour, slot in enumerate(slots):
                bounds = (slot[0], latest) if passes is first_touch else slot
                for number, arm in enumerate(catalog.arms):
                    expected = arm.purpose != PROMOTIONAL or passes(person, arm, instants, bounds)
                    got = bool(allowed[row, catalog.index(1, hour, number)])
                    assert got == expected, (row, person, arm.id, catalog.hours[hour])
                    seen.add(expected)
        assert seen == {True, False}
