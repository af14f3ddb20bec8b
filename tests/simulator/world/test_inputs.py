"""Inputs of the guardrail rules from the world: what is read, and no more; by hand, and the same in any block."""

from __future__ import annotations

import numpy as np
import pytest

from engine.contacts.contacts import CONSENT_BASES, EVENTS
from engine.features import ContextBatch
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT
from simulator.people.people import NEVER
from simulator.people.register import country_of_zone, states_of_zone
from simulator.scenario import load_scenario
from simulator.world.world import World
from tests.simulator.worlds import days, send, world

FULL = {
    "area_state", "consent_at", "consent_basis", "country", "due_at", "events", "line_type", "lists", "motive_price",
    "profiling_objection", "sent_category", "sent_discount", "sent_template", "sent_topic", "state",
}  # fmt: skip


def test_only_what_the_pack_reads_is_made() -> None:
    plain = world("newsletter").contacts(np.arange(5))
    assert plain.extra == {}
    assert plain.sent_details == {}
    assert plain.events is None
    full = world("newsletter", guardrails="full")
    batch = full.contacts(np.arange(5))
    assert set(full.guardrails.extra_inputs) == FULL
    assert {*batch.extra, *batch.sent_details, "events"} == FULL


def test_sends_in_detail_by_hand() -> None:
    block = world("cross_sell", 3, guardrails="full")
    block.advance(send(block, "email", "more_home"))
    block.advance(send(block, "sms", "bundle_price"))
    block._history[:] = True
    batch = block.contacts(np.array([2]))
    levels = batch.levels
    assert [levels["sent_template"][code] for code in batch.sent_details["sent_template"]] == [
        "more_home",
        "bundle_price",
    ]
    category = batch.sent_details["sent_category"]
    assert levels["sent_category"][category[0]] == "home"
    assert category[1] == -1
    np.testing.assert_array_equal(batch.sent_details["sent_discount"], [0.0, 0.1])
    assert (batch.sent_details["sent_topic"] == -1).all()


def test_events_by_hand() -> None:
    """On step 5: ordered on 3, reacted on 1, a case closed on 4, or open until 9, or none; dated, oldest first."""
    block = world("newsletter", 4, guardrails="full")
    for _ in days(block, 5, sends=False):
        pass
    known, state = block.state.known, block.state
    known.ordered[:] = [3, -NEVER, 3, -NEVER]
    known.engaged[:] = [1, -NEVER, -NEVER, 4]
    state.ticket_until[:] = [4, 9, -NEVER, -NEVER]
    block._history[:] = [True, True, True, False]
    events = block.contacts(np.arange(4)).events
    assert events is not None
    names = [
        [EVENTS[kind] for kind in events.kind[a:b]] for a, b in zip(events.offsets, events.offsets[1:], strict=False)
    ]
    assert names == [
        ["opened", "purchased", "ticket_opened", "ticket_closed"],
        ["ticket_opened"],
        ["purchased"],
        [],
    ]
    assert events.known.tolist() == [True, True, True, False]
    assert (events.at < block.moment.now_at).all()
    now = block.moment.now_at
    assert events.at[0] == now - 3 * DAY_US - 1
    assert events.at[1] == now - DAY_US - 1
    bought = events.kind == EVENTS.index("purchased")
    own = [block.people.categories[code] for code in block.people.category[[0, 2]]]
    assert [events.categories[code] for code in events.category[bought]] == own


def test_consent_records_are_dated() -> None:
    """A refusal dates from the form, a grant from an hour later, a withdrawal from the day on which it is on record."""
    block = world("newsletter", 300, guardrails="full")
    at = block.contacts(np.arange(300)).extra["consent_at"]
    joined = block.moment.now_at + block.people.join_day.astype(np.int64) * DAY_US
    granted = block.people.consent == 1
    np.testing.assert_array_equal(at, joined[:, None, None] + np.where(granted, 3_600_000_000, 0))
    block.state.withdrew[7, 1] = 0
    again = block.contacts(np.arange(300)).extra["consent_at"]
    assert again[7, 1, 0] == block.moment.now_at - 1
    again[7, 1, 0] = at[7, 1, 0]
    np.testing.assert_array_equal(again, at)


def test_due_dates_stay_where_they_are() -> None:
    block = world("onboarding", 200)
    rows = np.arange(200)
    first = block.contacts(rows).extra["due_at"]
    np.testing.assert_array_equal(first - block.moment.now_at, (block.people.due_day * DAY_US).astype(np.int64))
    for _ in days(block, 3):
        pass
    np.testing.assert_array_equal(block.contacts(rows).extra["due_at"], first)
    block.state.due_day[0] = np.nan
    assert block.contacts(rows).extra["due_at"][0] == NOT_AN_INSTANT


def test_places_are_those_of_the_zone() -> None:
    assert country_of_zone("America/New_York") == "US"
    assert country_of_zone("Europe/Berlin") == "DE"
    assert country_of_zone("Antarctica/Troll") is None
    assert "FL" in states_of_zone("America/New_York")
    assert "CA" in states_of_zone("America/Los_Angeles")
    assert states_of_zone("Europe/Berlin") == ("",)
    block = world("newsletter", 3000, guardrails="full")
    batch = block.contacts(np.arange(3000))
    states, countries = batch.levels["state"], batch.levels["country"]
    for row in range(0, 3000, 37):
        zone = block.people.zone_code[row]
        code = int(batch.extra["state"][row])
        if zone < 0:
            assert code == batch.extra["country"][row] == -1
            continue
        assert countries[batch.extra["country"][row]] == country_of_zone(block.people.zones[zone])
        assert code == -1 or states[code] in states_of_zone(block.people.zones[zone])
    same = (batch.extra["state"] == batch.extra["area_state"])[batch.extra["state"] >= 0]
    assert 0.8 < same.mean() < 0.98


def test_shares_of_the_register() -> None:
    block = world("newsletter", 20_000, guardrails="full", register={"listed": 0.02, "objects": 0.03})
    batch = block.contacts(np.arange(20_000))
    assert (batch.extra["lists"] > 0).mean() == pytest.approx(0.02, abs=0.005)
    assert (batch.extra["profiling_objection"] == 1).mean() == pytest.approx(0.03, abs=0.006)
    assert (batch.extra["line_type"] == -1).mean() == pytest.approx(0.02, abs=0.005)
    written = batch.extra["consent_basis"] == CONSENT_BASES.index("express_written")
    sms = block.catalog.channels.index("sms")
    assert written[:, sms, 0].mean() == pytest.approx(0.93, abs=0.01)
    assert not written[:, 0].any()


def test_inputs_are_the_same_in_any_block() -> None:
    scenario = load_scenario("renewal", {"guardrails": "full"})
    whole, part = World(scenario, 60, 3), World(scenario, 25, 3, first=35)
    for _ in zip(days(whole, 4), days(part, 4), strict=True):
        pass
    first, second = whole.contacts(np.arange(35, 60)), part.contacts(np.arange(25))
    for name, column in first.extra.items():
        np.testing.assert_array_equal(column, second.extra[name], err_msg=name)
    for name, column in first.sent_details.items():
        np.testing.assert_array_equal(column, second.sent_details[name], err_msg=name)
    assert first.events is not None
    assert second.events is not None
    np.testing.assert_array_equal(first.events.at, second.events.at)
    np.testing.assert_array_equal(first.events.kind, second.events.kind)
    assert isinstance(first.context, ContextBatch)
