"""Facts in, batches out: what the guardrail rules get to see, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import DataError, ParameterError
from engine.state.facts import Consent, Event, Fact, PastSend, Profile, Suppression
from engine.state.sends.caps import SendRequest
from engine.state.store import SqlState
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT

S = MICROSECONDS_PER_S
NOW = 1_790_000_000 * S
DAY = 86_400 * S
CATALOG = Catalog(name="two", channels=("email", "sms"), hours=("now",), arms=(Arm(id="a", approved=True),))
PROMO = "promotional"


@pytest.fixture
def state(store_url: str) -> Iterator[SqlState]:
    with SqlState(store_url) as opened:
        yield opened


def batch(state: SqlState, *contacts: str, now: int = NOW) -> ContactBatch:
    return state.batch(np.array(contacts, dtype=object), CATALOG, now_at=now)


def consent(
    status: str, at: int | None, *, channel: str | None = "sms", purpose: str | None = PROMO, **more: Any
) -> Consent:
    return Consent("c", channel, purpose, status, at, **({"source": "form"} | more))


GRANT, EARLY, LATE = consent("granted", NOW - 9), NOW - 90, NOW - 1
IMPLIED = {"kind": "implied_purchase", "expires_at": NOW + DAY}


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ([], -1),
        ([GRANT], 1),
        ([consent("granted", NOW - 9, source="")], -1),
        ([consent("granted", None)], -1),
        ([consent("granted", NOW + 1)], -1),
        ([consent("granted", NOW)], 1),
        ([consent("granted", EARLY, expires_at=NOW)], -1),
        ([consent("granted", EARLY, expires_at=NOW + 1)], 1),
        ([consent("denied", EARLY)], 0),
        ([GRANT, consent("withdrawn", LATE)], 0),
        ([consent("withdrawn", EARLY), GRANT], 1),
        ([GRANT, consent("withdrawn", NOW - 9)], 0),
        ([GRANT, consent("withdrawn", NOW + DAY)], 0),
        ([GRANT, consent("withdrawn", LATE, channel=None)], 0),
        ([GRANT, consent("withdrawn", LATE, purpose=None)], 0),
        ([GRANT, consent("withdrawn", LATE, channel="email")], 1),
        ([GRANT, consent("withdrawn", LATE, purpose="transactional")], 1),
        ([consent("granted", EARLY, purpose="transactional")], -1),
        ([consent("granted", EARLY, channel="email")], -1),
        ([consent("granted", EARLY, **IMPLIED)], 1),
        ([consent("withdrawn", EARLY), consent("granted", LATE, **IMPLIED)], 0),
        ([GRANT, consent("granted", LATE, kind="implied_inquiry", expires_at=NOW)], 1),
    ],
)
def test_consent(state: SqlState, facts: list[Fact], level: int) -> None:
    """In any order of arrival, and twice as well as once."""
    state.record([*reversed(facts), *facts])
    state.record(facts)
    found = batch(state, "c")
    assert found.consent[0, 1, 0] == level
    assert (found.extra["consent_expires_at"][0, 1, 0] > NOW) == (level == 1)


def test_consent_that_ends_first_does_not_shorten_the_other(state: SqlState) -> None:
    state.record([consent("granted", EARLY), consent("granted", LATE, **IMPLIED)])
    assert batch(state, "c").extra["consent_expires_at"][0, 1, 0] == np.iinfo(np.int64).max
    assert batch(state, "c", now=NOW + 2 * DAY).consent[0, 1, 0] == 1


def test_objection_to_profiling(state: SqlState) -> None:
    state.record([consent("withdrawn", EARLY, purpose="profiling", channel=None)])
    assert batch(state, "c").extra["profiling_objection"].tolist() == [1]
    state.record([consent("granted", LATE, purpose="profiling", channel="email")])
    assert batch(state, "c").extra["profiling_objection"].tolist() == [1]  # sms still is refused
    state.record([consent("granted", LATE, purpose="profiling", channel="sms"), Profile("c", NOW)])
    assert batch(state, "c", "nobody").extra["profiling_objection"].tolist() == [0, -1]


def suppression(channel: str | None = "sms", reason: str = "opt_out", at: int = EARLY, **more: Any) -> Suppression:
    return Suppression("c", channel, reason, at, **more)


@pytest.mark.parametrize(
    ("facts", "levels"),
    [
        ([], [0, 0]),
        ([suppression()], [0, 1]),
        ([suppression(None)], [1, 1]),
        ([suppression("fax")], [0, 0]),
        ([suppression(at=NOW + DAY)], [0, 1]),
        ([suppression(until_at=NOW)], [0, 0]),
        ([suppression(until_at=NOW + 1)], [0, 1]),
        ([suppression(), suppression(at=LATE, lifted=True)], [0, 0]),
        ([suppression(), suppression(at=NOW + 1, lifted=True)], [0, 1]),
        ([suppression(at=LATE), suppression(lifted=True)], [0, 1]),
        ([suppression(reason="hard_bounce"), suppression(at=LATE, lifted=True)], [0, 1]),
        ([suppression(None), suppression(at=LATE, lifted=True)], [1, 1]),
    ],
)
def test_suppression(state: SqlState, facts: list[Fact], levels: list[int]) -> None:
    state.record([Profile("c", EARLY), *facts, *facts])
    assert batch(state, "c").suppressed.tolist() == [levels]


def test_unknown_contact_is_unknown_everywhere(state: SqlState) -> None:
    """Nobody knows whether it is suppressed: that is not the same as free. What is known of it still counts."""
    state.record([suppression("sms")])
    found = batch(state, "nobody", "c")
    assert found.suppressed.tolist() == [[-1, -1], [-1, 1]]
    assert found.zone_code.tolist() == [-1, -1]
    assert found.history_known.tolist() == [False, False]
    assert found.extra["open_ticket"].tolist() == [-1, -1]
    assert found.extra["region"].tolist() == [None, None]


def test_profiles(state: SqlState) -> None:
    state.record([Profile("a", NOW, zone="Europe/Paris", zone_source="explicit", locale="fr", region="FR-IDF")])
    state.record([Profile("a", NOW - 5, zone="Asia/Tokyo", zone_source="device", locale="ja")])
    state.record([Profile("a", NOW + 5, area_code="212", history_from_at=NOW - DAY, due_at=NOW + 9 * DAY)])
    state.record([Profile("b", NOW, zone="America/New_York", zone_source="device")])
    found = batch(state, "b", "x", "a")
    assert [None if code < 0 else found.zones[code] for code in found.zone_code] == [
        "America/New_York",
        None,
        "Europe/Paris",
    ]
    assert found.locales == ("fr",)
    assert found.history_known.tolist() == [False, False, True]
    assert found.extra["zone_observed_at"].tolist() == [NOW, NOT_AN_INSTANT, NOW]
    assert found.extra["zone_source"].tolist() == ["device", None, "explicit"]
    assert found.extra["area_code"].tolist() == [None, None, "212"]
    assert found.extra["due_at"].tolist() == [NOT_AN_INSTANT, NOT_AN_INSTANT, NOW + 9 * DAY]


def test_sends_that_count(state: SqlState) -> None:
    """Oldest first by contact, with planned ones; not those whose lease is over; other channels are -1."""
    past = [PastSend(f"p{at}", "a", "fax", "transactional", NOW - at) for at in (3, 9)]
    state.record([*past, PastSend("b", "b", "email", PROMO, NOW - 1)])
    wanted = [SendRequest("soon", "a", "sms", PROMO, NOW + DAY), SendRequest("now", "a", "email", PROMO, NOW)]
    state.reserve(wanted, (), now_at=NOW, lease_s=60)
    found = batch(state, "b", "nobody", "a", "b", now=NOW + 60 * S)
    assert found.contact_id.tolist() == ["b", "nobody", "a", "b"]
    assert found.sent_offsets.tolist() == [0, 1, 1, 4, 5]
    assert found.sent_at.tolist() == [NOW - 1, NOW - 9, NOW - 3, NOW + DAY, NOW - 1]
    assert found.sent_channel.tolist() == [0, -1, -1, 1, 0]
    assert found.sent_purpose.tolist() == [0, 1, 1, 0, 0]


def test_events(state: SqlState) -> None:
    events = [
        Event("c", "open", NOW - 9, event_id="e1", channel="email"),
        Event("c", "click", NOW - 5),
        Event("c", "purchase", NOW - 7, category="shoes", value_usd=12.5),
        Event("c", "click", NOW + 1),
        Event("c", "ticket_opened", NOW - 8),
    ]
    state.record([Profile("c", EARLY), *events, *events])
    with pytest.raises(DataError, match=r"'e1' .open. of this contact is known otherwise: at"):
        state.record([Event("c", "open", NOW - 1, event_id="e1")])
    found = batch(state, "c")
    extra = {
        name: found.extra[name].tolist() for name in ("engaged_at", "purchased_at", "open_ticket", "ticket_closed_at")
    }
    assert extra == {
        "engaged_at": [NOW - 5],
        "purchased_at": [NOW - 7],
        "open_ticket": [1],
        "ticket_closed_at": [NOT_AN_INSTANT],
    }
    state.record([Event("c", "ticket_closed", NOW - 2)])
    assert batch(state, "c").extra["open_ticket"].tolist() == [0]
    history = state.history(np.array(["x", "c"], dtype=object), now_at=NOW)
    assert history.event_offsets.tolist() == [0, 0, 5]
    assert history.event_kind.tolist() == ["open", "ticket_opened", "purchase", "click", "ticket_closed"]
    assert history.event_category.tolist() == [None, None, "shoes", None, None]


def test_empty_batch_and_many_contacts(state: SqlState) -> None:
    assert batch(state).n == 0
    names = [f"c{number}" for number in range(5000)]
    state.record([Profile(name, NOW, zone="UTC") for name in names])
    found = batch(state, *names, "c7")
    assert (found.n, found.zone_code.sum()) == (5001, 0)


def test_all_or_nothing(state: SqlState) -> None:
    facts: list[Any] = [Profile("c", NOW), "no fact"]
    with pytest.raises(ParameterError, match="facts"):
        state.record(facts)
    state.record([PastSend("d", "x", "sms", PROMO, NOW)])
    with pytest.raises(DataError, match="another contact"):
        state.record([Profile("c", NOW), GRANT, PastSend("d", "c", "sms", PROMO, NOW)])
    assert batch(state, "c").suppressed.tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Profile("", NOW),
        lambda: Profile("c", NOW, history_from_at=True),
        lambda: Profile("c", NOW, due_at=1.5),
        lambda: Consent("c", None, PROMO, "granted", NOW),
        lambda: Consent("c", "sms", None, "granted", NOW),
        lambda: Consent("c", "sms", "promo", "granted", NOW),
        lambda: Consent("c", "sms", PROMO, "maybe", NOW),
        lambda: Consent("c", "sms", PROMO, "granted", NOW, kind="tacit"),
        lambda: Consent("c", "sms", PROMO, "withdrawn", None),
        lambda: Consent("c", "sms", PROMO, "withdrawn", NOW, expires_at=NOW),
        lambda: Consent("c", "sms", PROMO, "granted", NOW, expires_at=NOW),
        lambda: Suppression("c", "", "x", NOW),
        lambda: Suppression("c", "sms", "x", NOW, until_at=NOW),
        lambda: Suppression("c", "sms", "", NOW),
        lambda: Event("c", "dance", NOW),
        lambda: Event("c", "purchase", NOW, value_usd=float("nan")),
        lambda: Event("c", "open", 1_790_000_000_000_000_000),
        lambda: PastSend("d", "c", "sms", "promo", NOW),
    ],
)
def test_bad_facts_are_refused(build: Any) -> None:
    with pytest.raises(ParameterError):
        build()


def test_bad_zone_and_bad_ids_are_refused(state: SqlState) -> None:
    with pytest.raises(DataError, match="Europe/Paris"):
        Profile("c", NOW, zone="Europe/Pariss")
    for contacts in ([1], [None], [""]):
        with pytest.raises(ParameterError):
            state.batch(np.array(contacts, dtype=object), CATALOG, now_at=NOW)
    with pytest.raises(ParameterError, match="distinct"):
        state.history(np.array(["a", "a"], dtype=object), now_at=NOW)
