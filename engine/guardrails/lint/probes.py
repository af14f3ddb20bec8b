"""Made-up contacts on which lint tries rules: one about whom all is known and nothing is wrong, and small steps away.

Whether a number is looser than another is asked of the rules themselves, so that lint need not know their parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

import numpy as np

from engine.catalog import NOW, Arm, Catalog
from engine.contacts.contacts import EVENTS, NO, YES, ContactBatch, Events, plain_contacts
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.guardrails.lint.flaws import Linted
from engine.guardrails.lint.params import named
from engine.guardrails.rule import Scene
from engine.time.localtime import DAY_US, HOUR_US, MINUTE_US, instant_of
from engine.types import NOT_AN_INSTANT, PURPOSES

CHANNELS: Final = ("email", "sms", "push")
STATES: Final = (
    *("AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY", "LA"),
    *("ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK"),
    *("OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY"),
    *("DC", "PR", "GU", "VI", "AS", "MP"),
)
ABROAD: Final = ("CA", "GB", "DE", "FR", "IN")
MONDAY: Final = instant_of(datetime(2026, 11, 16, tzinfo=UTC))
NOON: Final = MONDAY + 2 * DAY_US + 12 * HOUR_US
TOPIC: Final = "probe"
_STEP_US: Final = 15 * MINUTE_US
_WEEK_US: Final = 7 * DAY_US
_BASES: Final = ("express_written", "express", "implied_purchase", "implied_inquiry", "soft_opt_in")
_LISTS: Final = ("", "deceased", "employee", "litigator", "minor")
_LINES: Final = ("", "landline", "mobile", "voip")
_YES_NO: Final = ("no", "yes")
_PLACES: Final = (*(("US", state) for state in ("", *STATES)), *((country, "") for country in ABROAD))


@dataclass(frozen=True)
class Person:
    """One probe; what is not said is as harmless as can be.

    Attributes:
        said: words for a message.
        country / state: residence; the area code is of the same state.
        sends: (age in microseconds, channel position) of promotional sends, oldest first.
        events: (age, kind, channel position), oldest first.
        consent: level of every record.
        withdrawn: channel position on which the promotional record alone is denied; -1 none.
        suppressed: level on every channel.
        basis / consent_age: basis and age of every record.
        lists / line / objects: further flags.
    """

    said: str
    country: str = "US"
    state: str = ""
    sends: tuple[tuple[int, int], ...] = ()
    events: tuple[tuple[int, str, int], ...] = ()
    consent: int = YES
    basis: str = "express_written"
    consent_age: int = 10 * DAY_US
    lists: str = ""
    line: str = "mobile"
    objects: str = "no"
    suppressed: int = NO
    withdrawn: int = -1


def probe_catalog(rules: Sequence[Linted], catalog: Catalog | None = None) -> Catalog:
    """One slot ("now"), every channel that the pack or the catalog names, one harmless arm per purpose."""
    known = () if catalog is None else catalog.channels
    spoken = [name for one in rules for _, names in named(one.entry.params, ("channels", "channel")) for name in names]
    channels = tuple(dict.fromkeys([*CHANNELS, *known, *spoken]))
    arms = tuple(
        Arm(id=purpose, purpose=purpose, approved=True, margin_usd=1000.0, attributes={"topic": TOPIC})
        for purpose in PURPOSES
    )
    return Catalog(
        name="probes", channels=tuple(name for name in channels if name not in ("*", "")), hours=(NOW,), arms=arms
    )


def ideal_contacts(board: Catalog) -> ContactBatch:
    """A harmless contact in every state, and in some countries."""
    people = [Person(said=f"of {state or country}", country=country, state=state) for country, state in _PLACES]
    return contacts_of(people, board, MONDAY)


def week_of_scenes(board: Catalog, people: ContactBatch, margin_s: int) -> Iterator[Scene]:
    """The same contacts at every quarter of an hour of a week, in UTC."""
    for at in range(MONDAY, MONDAY + _WEEK_US, _STEP_US):
        yield Scene(board, people, at, margin_s, calm(board))


def calm(board: Catalog) -> Conditions:
    """Nothing is wrong on the sender's side."""
    every = board.channels
    return Conditions(
        use_case="probe",
        health={name: ChannelHealth(1_000_000) for name in every},
        sent_today=dict.fromkeys(every, 0),
        sent_yesterday=dict.fromkeys(every, 1_000_000_000),
        sent_7d=dict.fromkeys(every, 0),
        killed=False,
    )


def wronged_people() -> list[Person]:
    """Harmless but for one thing each: sends, events, consent, flags."""
    flags: list[dict[str, Any]] = [{"consent": level} for level in (NO, -1)]
    flags += [{"suppressed": level} for level in (YES, -1)] + [{"objects": "yes"}]
    flags += [{"withdrawn": channel} for channel in range(len(CHANNELS))]
    flags += [{"lists": name} for name in _LISTS] + [{"line": name} for name in _LINES]
    people = [Person(said=" ".join(f"{key} {value}" for key, value in flag.items()), **flag) for flag in flags]
    ages = tuple(days * DAY_US for days in (100, 180, 185, 364, 366, 729, 731, 1500))
    for (country, basis), age in product(product(("US", *ABROAD), _BASES), ages):
        said = f"of {country} with consent {basis!r} of {age // DAY_US} d ago"
        people.append(Person(said=said, country=country, basis=basis, consent_age=age))
    for count, span, channel in product((1, 2, 3, 4), (1, 24 * 5, 24 * 10, 24 * 13, 24 * 29, 24 * 90), range(2)):
        for kind in EVENTS:
            happened = tuple((span * HOUR_US - step * MINUTE_US, kind, channel) for step in range(count))
            people.append(Person(said=f"with {count} x {kind} {span} h ago on {CHANNELS[channel]}", events=happened))
    for state, count, span, channel in product(("", *STATES), (1, 2, 3, 5, 8), (1, 20, 24 * 6, 24 * 29), range(2)):
        sends = tuple((span * HOUR_US - step * MINUTE_US, channel) for step in range(count))
        said = f"of {state or 'no state'} with {count} sends {span} h ago on {CHANNELS[channel]}"
        people.append(Person(said=said, state=state, sends=sends))
    return people


def contacts_of(people: Sequence[Person], board: Catalog, now_at: int) -> ContactBatch:
    """Probes as a batch, in UTC, with every column that rules may read."""
    n, channels = len(people), len(board.channels)
    records = (n, channels, len(PURPOSES))
    sends = [(now_at - age, channel) for one in people for age, channel in one.sends]
    events = [(now_at - age, EVENTS.index(kind), channel) for one in people for age, kind, channel in one.events]
    coded = {
        "country": ("US", *ABROAD),
        "state": ("", *STATES),
        "lists": _LISTS,
        "line_type": _LINES,
        "profiling_objection": _YES_NO,
        "plausible_zones": ("UTC",),
    }
    values = {
        "country": [one.country for one in people],
        "state": [one.state for one in people],
        "lists": [one.lists for one in people],
        "line_type": [one.line for one in people],
        "profiling_objection": [one.objects for one in people],
        "plausible_zones": ["UTC"] * n,
    }
    extra: dict[str, Any] = {
        name: np.array([levels.index(value) for value in values[name]], dtype=np.int32)
        for name, levels in coded.items()
    }
    extra["area_state"] = extra["state"]
    extra["consent_at"] = _spread([now_at - one.consent_age for one in people], records, np.int64)
    extra["consent_basis"] = _spread([_BASES.index(one.basis) for one in people], records, np.int8)
    extra["consent_expires_at"] = np.full(records, NOT_AN_INSTANT, dtype=np.int64)
    extra["motive_price"] = np.ones(n)
    consent = _spread([one.consent for one in people], records, np.int8)
    for row, one in enumerate(people):
        if one.withdrawn >= 0:
            consent[row, one.withdrawn, 0] = NO
    m = len(sends)
    made = plain_contacts(
        np.array([one.said for one in people], dtype=object),
        board,
        zones=("UTC",),
        zone_code=np.zeros(n, dtype=np.int32),
        consent=consent,
        suppressed=_spread([one.suppressed for one in people], records[:2], np.int8),
        sent_offsets=_offsets([len(one.sends) for one in people]),
        sent_at=np.array([at for at, _ in sends], dtype=np.int64),
        sent_channel=np.array([channel for _, channel in sends], dtype=np.int32),
        sent_purpose=np.zeros(m, dtype=np.int32),
        history_known=np.ones(n, dtype=np.bool_),
        extra=extra,
        levels={**coded, "area_state": coded["state"]},
    )
    codes = np.zeros(m, dtype=np.int32)
    return replace(
        made,
        sent_details={
            "sent_topic": codes,
            "sent_template": codes,
            "sent_category": codes - 1,
            "sent_discount": np.zeros(m),
        },
        levels={**made.levels, "sent_topic": (TOPIC,), "sent_template": ("another",), "sent_category": ()},
        events=Events(
            offsets=_offsets([len(one.events) for one in people]),
            at=np.array([at for at, _, _ in events], dtype=np.int64),
            kind=np.array([kind for _, kind, _ in events], dtype=np.int32),
            channel=np.array([channel for _, _, channel in events], dtype=np.int32),
            category=np.full(len(events), -1, dtype=np.int32),
            categories=(),
            known=np.ones(n, dtype=np.bool_),
        ),
    )


def _spread(values: list[int], shape: tuple[int, ...], kind: Any) -> Any:
    column = np.array(values, dtype=kind).reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(column, shape).copy()


def _offsets(lengths: list[int]) -> Any:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
