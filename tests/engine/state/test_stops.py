"""What speaks against a send closes its channel, however the channel is written; events close it by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.state.facts import STOP_KINDS, Consent, Event, Fact, PastSend, Profile, Suppression, fact_id
from engine.state.protocols import Refused
from engine.state.sends.caps import SendRequest
from engine.state.sends.pack_caps import caps_of
from engine.state.store import SqlState
from engine.state.tables import CONSENT, EVENT, SUPPRESSION
from engine.storage.database import insert, writing
from engine.time.localtime import datetime_of
from engine.types import MICROSECONDS_PER_S

S = MICROSECONDS_PER_S
DAY = 86_400 * S
# Noon of a weekday.
NOW = 1_789_992_000 * S
CHANNELS = ("email", "sms")
CATALOG = Catalog(name="two", channels=CHANNELS, hours=("now",), arms=(Arm(id="a", approved=True),))
PROMO = "promotional"
PROFILE = Profile("c", NOW - DAY, zone="UTC", history_from_at=NOW - 900 * DAY)
GRANTS = [Consent("c", channel, PROMO, "granted", NOW - 90 * DAY, source="form") for channel in CHANNELS]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqlState]:
    with SqlState(f"sqlite:///{tmp_path / 'state.sqlite'}") as opened:
        opened.record([PROFILE, *GRANTS])
        yield opened


def batch(state: SqlState) -> ContactBatch:
    return state.batch(np.array(["c"], dtype=object), CATALOG, now_at=NOW)


def open_channels(state: SqlState, pack: str = "default") -> list[str]:
    eligible, _ = Guardrails(load_pack(pack), CATALOG).eligibility(batch(state), datetime_of(NOW))
    actions = np.flatnonzero(eligible.dense()[0])
    return [CHANNELS[int(channel)] for channel in CATALOG.split(actions)[0] if channel >= 0]


def written_before(state: SqlState, table: sa.Table, fact: Consent | Suppression | Event, **changes: Any) -> None:
    """A row as it was recorded before names were understood."""
    row = {**vars(fact), "fact_id": fact_id(fact), **changes}
    row.pop("event_id", None)
    with writing(state._writer.engine, "an old row") as connection:
        connection.execute(insert(connection, table), [row])


def test_a_contact_whom_nothing_stops_is_open_everywhere(state: SqlState) -> None:
    assert open_channels(state) == ["email", "sms"]


STOPS = {
    "withdrawal": lambda channel: Consent("c", channel, PROMO, "withdrawn", NOW - DAY),
    "denial": lambda channel: Consent("c", channel, PROMO, "denied", NOW - DAY),
    "suppression": lambda channel: Suppression("c", channel, "opt_out", NOW - DAY),
    **{kind: lambda channel, kind=kind: Event("c", kind, NOW - DAY, channel=channel) for kind in STOP_KINDS},
}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    ("channel", "left"),
    [
        ("sms", ["email"]),
        ("SMS", ["email"]),
        (" Sms\u200b", ["email"]),
        ("text message", ["email"]),
        ("E-Mail", ["sms"]),
        ("push", ["email", "sms"]),  # a channel, but none of this catalog
        ("smss", []),
        ("emial", []),
        (None, []),
    ],
)
def test_a_stop_closes_the_channel_that_it_means_and_all_where_none_can_be_told(
    state: SqlState, stop: str, channel: str | None, left: list[str]
) -> None:
    state.record([STOPS[stop](channel)])
    assert open_channels(state) == left


@pytest.mark.parametrize(
    ("table", "fact", "changes"),
    [
        (CONSENT, Consent("c", "sms", PROMO, "withdrawn", NOW - DAY), {"channel": "SMS"}),
        (SUPPRESSION, Suppression("c", "sms", "opt_out", NOW - DAY), {"channel": "Text"}),
        (EVENT, Event("c", "unsubscribe", NOW - DAY, channel="sms"), {"channel": " SMS"}),
        (EVENT, Event("c", "complaint", NOW - DAY, channel="sms"), {}),
        (EVENT, Event("c", "hard_bounce", NOW - DAY, channel="sms"), {}),
    ],
)
def test_rows_of_a_store_that_is_older_close_their_channel_too(
    state: SqlState, table: sa.Table, fact: Any, changes: dict[str, Any]
) -> None:
    written_before(state, table, fact, **changes)
    assert open_channels(state) == ["email"]


@pytest.mark.parametrize("pack", ["default", "journeys", "permission"])
@pytest.mark.parametrize("kind", STOP_KINDS)
def test_events_stop_in_every_pack(state: SqlState, pack: str, kind: str) -> None:
    assert open_channels(state, pack)
    state.record([Event("c", kind, NOW - DAY, channel="sms"), Event("c", kind, NOW - DAY, channel="email")])
    assert open_channels(state, pack) == []


@pytest.mark.parametrize("kind", ["open", "click", "reply", "soft_bounce", "unreachable", "purchase", "delivered"])
def test_other_events_stop_nothing_by_themselves(state: SqlState, kind: str) -> None:
    state.record([Event("c", kind, NOW - DAY, channel="sms")])
    assert open_channels(state) == ["email", "sms"]


def test_an_event_leaves_its_suppression_beside_it(state: SqlState) -> None:
    assert state.record([Event("c", "complaint", NOW - DAY, channel="SMS")]) == 1
    assert batch(state).suppressed.tolist() == [[0, 1]]
    assert state.record([Event("c", "complaint", NOW - DAY, channel="sms")]) == 0


@pytest.mark.parametrize(
    ("lift", "left"),
    [
        (Suppression("c", "SMS", "Unsubscribe", NOW - 1, lifted=True), ["email", "sms"]),
        (Suppression("c", "sms", "unsubscribe", NOW - 2 * DAY, lifted=True), ["email"]),
        (Suppression("c", "sms", "complaint", NOW - 1, lifted=True), ["email"]),
        (Suppression("c", "email", "unsubscribe", NOW - 1, lifted=True), ["email"]),
        (Suppression("c", None, "unsubscribe", NOW - 1, lifted=True), ["email"]),
        (Suppression("c", "smss", "unsubscribe", NOW - 1, lifted=True), ["email"]),
        (Consent("c", "sms", PROMO, "granted", NOW - 1, source="form"), ["email"]),
    ],
)
def test_only_a_later_lift_of_the_channel_and_reason_opens_again(state: SqlState, lift: Fact, left: list[str]) -> None:
    state.record([Event("c", "unsubscribe", NOW - DAY, channel="sms"), lift])
    assert open_channels(state) == left


def test_a_lift_settles_a_stop_whose_channel_could_not_be_told(state: SqlState) -> None:
    state.record([Suppression("c", "smss", "opt_out", NOW - DAY)])
    assert open_channels(state) == []
    state.record(
        [
            Suppression("c", "sms", "opt_out", NOW - DAY),
            Suppression("c", "smss", "opt_out", NOW - 1, lifted=True),
        ]
    )
    assert open_channels(state) == ["email"]


@pytest.mark.parametrize("channel", ["smss", "kiosk", "push"])
def test_a_grant_for_a_channel_that_is_none_of_the_catalog_opens_nothing(tmp_path: Path, channel: str) -> None:
    with SqlState(f"sqlite:///{tmp_path / 'state.sqlite'}") as state:
        state.record([PROFILE, Consent("c", channel, PROMO, "granted", NOW - DAY, source="form")])
        assert batch(state).consent.max() == -1


def test_an_agreement_to_profiling_on_an_unknown_channel_agrees_to_nothing(state: SqlState) -> None:
    state.record([Consent("c", "email", "Profiling", "withdrawn", NOW - 2 * DAY)])
    state.record([Consent("c", "emial", "profiling", "granted", NOW - DAY, source="form")])
    assert batch(state).extra["profiling_objection"].tolist() == [1]


def capped() -> Guardrails:
    """One text a day, and nothing else but consent."""
    pack = load_pack()
    caps = [{"max": 1, "window_s": 86_400, "channels": ["sms"]}]
    rules = [msgspec.structs.replace(entry, params={"caps": caps}) for entry in pack.rules if entry.rule == "frequency"]
    consent = [entry for entry in pack.rules if entry.rule == "consent"]
    return Guardrails(msgspec.structs.replace(pack, rules=(*consent, rules[0])), CATALOG)


@pytest.mark.parametrize(("channel", "counts"), [("Text", True), ("smss", True), ("push", False), ("email", False)])
def test_a_past_send_on_a_channel_that_cannot_be_told_counts_towards_every_cap(
    state: SqlState, channel: str, counts: bool
) -> None:
    state.record([PastSend("m", "c", channel, PROMO, NOW - 3600 * S)])
    eligible, _ = capped().eligibility(batch(state), datetime_of(NOW))
    assert eligible.dense()[0].tolist() == [True, True, not counts]
    reserved = state.reserve(
        [SendRequest("d", "c", "sms", PROMO, NOW)], caps_of(capped(), batch(state)), now_at=NOW, lease_s=60
    )
    assert isinstance(reserved[0], Refused) == counts


def test_a_consent_of_which_nobody_said_how_it_was_given_does_not_outweigh_a_refusal(state: SqlState) -> None:
    state.record([Consent("c", "sms", PROMO, "withdrawn", NOW - DAY)])
    state.record([Consent("c", "sms", PROMO, "granted", NOW - 1, source="form", kind="unknown")])
    assert open_channels(state) == ["email"]
    state.record([Consent("c", "sms", PROMO, "granted", NOW - 1, source="form", kind="Express")])
    assert open_channels(state) == ["email", "sms"]


@pytest.mark.parametrize(
    ("make", "near"),
    [
        (lambda: Event("c", "unsubscribed", NOW, channel="sms"), "unsubscribe"),
        (lambda: Consent("c", "sms", "promotion", "withdrawn", NOW), "promotional"),
        (lambda: Consent("c", "sms", PROMO, "granted", NOW, kind="expres"), "express"),
        (lambda: PastSend("m", "c", "sms", "transaction", NOW), "transactional"),
        (lambda: Profile("c", NOW, line_type="mobil"), "mobile"),
    ],
)
def test_unknown_names_of_fixed_lists_are_refused_with_the_nearest(make: Any, near: str) -> None:
    with pytest.raises(ParameterError, match=f"did you mean '{near}'"):
        make()


@pytest.mark.parametrize(
    "fields",
    [{"region": "Florida"}, {"region": "XX", "country": "US"}, {"area_code": "21"}, {"lists": "min/or"}],
)
def test_a_profile_that_could_not_be_read_later_is_refused_at_the_door(fields: dict[str, str]) -> None:
    with pytest.raises(ParameterError):
        Profile("c", NOW, **fields)
