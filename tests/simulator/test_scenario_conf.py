"""Every scenario and every fault: they compose, they run, and each is the use case that it says."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
import yaml

from engine.contacts.contacts import EVENTS, YES
from engine.errors import ConfigError
from engine.guardrails.lint.pack import lint_pack
from engine.guardrails.pack import read_pack
from engine.time.localtime import DAY_US
from engine.types import FloatArray
from simulator.people.people import NEVER
from simulator.scenario import load_scenario, scenario_from
from tests.simulator.worlds import CONF, FAULTS, SCENARIOS, USE_CASES, arm_left, days, mean_clicks, world

REQUIRED = ("trigger", "outcome", "attribution_window_days", "risk_class", "catalog", "name", "description")


def plain(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((CONF / "scenario" / f"{name}.yaml").read_text())
    return data


def test_the_seven_use_cases_and_five_faults_ship() -> None:
    assert set(USE_CASES) <= set(SCENARIOS)
    assert set(FAULTS) >= {
        "consent_withdrawn",
        "complaint_spike",
        "broken_randomisation",
        "channel_outage",
        "stale_feed",
    }


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("name", USE_CASES)
def test_a_use_case_without_a_required_key_is_refused(name: str, key: str) -> None:
    """R32: trigger, outcome, attribution window and risk class are mandatory."""
    data = {other: value for other, value in plain(name).items() if other != key}
    with pytest.raises(ConfigError, match=key) as caught:
        scenario_from(data)
    assert caught.value.hint


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_runs_under_a_uniform_policy_and_in_silence(name: str) -> None:
    """Nobody is written to without consent or while suppressed; in silence nothing is sent and orders still come."""
    lively, silent = world(name), world(name)
    for (rows, _, eligibility, dense), _ in zip(days(lively, 10), days(silent, 10, sends=False), strict=True):
        assert len(rows) == dense.shape[0] == eligibility.n
        assert dense[:, 0].all()
        agreed = (lively.state.consent[rows] == YES).any(axis=(1, 2)) & (lively.state.suppressed[rows] == 0).any(axis=1)
        assert not dense[~agreed, 1:].any()
    assert lively.state.step == silent.state.step == 10
    assert lively.state.sends.count.sum() > 0
    assert silent.state.sends.count.sum() == 0
    assert np.isfinite(lively.state.pressure).all()
    assert not silent.state.pressure.any()


@pytest.mark.parametrize("name", USE_CASES)
def test_the_full_pack_leaves_every_arm_to_somebody(name: str) -> None:
    """It removes more than the scenario's own pack, and leaves no arm without anybody."""
    own, full = world(name, 1500), world(name, 1500, guardrails="full")
    reached = dict.fromkeys(full.catalog.arm_ids, 0)
    share: dict[int, list[float]] = {0: [], 1: []}
    for (_, _, _, first), (_, _, _, second) in zip(days(own, 8), days(full, 8), strict=True):
        if own.state.step in (0, 1) and len(first):
            share[own.state.step] += [first[:, 1:].mean(), second[:, 1:].mean()]
        for arm in reached:
            reached[arm] += int(arm_left(full, second, arm).sum())
    assert min(reached.values()) > 0, reached
    first_day = next(both for both in share.values() if both)
    assert 0.0 < first_day[1] <= first_day[0]


@pytest.mark.parametrize("pack", ["own", "full"])
@pytest.mark.parametrize("name", USE_CASES)
def test_packs_have_no_flaw_over_the_catalogs(name: str, pack: str) -> None:
    scenario = load_scenario(name)
    read = read_pack(scenario.spec.guardrails if pack == "own" else pack)
    found = lint_pack(read, today=dt.date(2026, 11, 23), catalog=scenario.catalog)
    assert [str(flaw) for flaw in found] == []


def test_onboarding_decides_within_the_trial_and_sees_the_four_fields() -> None:
    """R34."""
    block = world("onboarding")
    assert {"use_case", "industry", "team_size", "first_session"} <= set(block.scenario.features.names)
    for rows, contacts, _, _ in days(block, 12):
        left = block.people.due_day[rows] - block.moment.day
        assert ((left >= 0) & (left <= 14)).all()
        seen = contacts.context.columns["team_size"]
        np.testing.assert_array_equal(np.asarray(seen.values), block.people.fields["team_size"][rows])


def test_onboarding_texts_only_in_the_last_days_of_the_trial() -> None:
    block = world("onboarding", 1500)
    sms = block.catalog.channels.index("sms")
    texted = 0
    for rows, _, _, dense in days(block, 10):
        ends = arm_left(block, dense, "trial_ends")
        left = block.people.due_day[rows] - block.moment.day
        assert not ends[(left > 3) | (left < 1)].any()
        texted += int(ends.sum())
        actions = np.arange(1, block.catalog.k)
        on_sms = block.catalog.split(actions)[0] == sms
        other = block.catalog.split(actions)[2] != block.catalog.arm_ids.index("trial_ends")
        assert not dense[:, actions[on_sms & other]].any()
    assert texted > 0


def test_onboarding_technical_evaluators_want_depth_and_small_teams_short_value() -> None:
    block = world("onboarding", 3000)
    fields, levels = block.people.fields, block.people.levels
    technical = fields["use_case"] == levels["use_case"].index("technical_evaluation")
    small = ~technical & (fields["team_size"] == levels["team_size"].index("small"))
    depth, short = (block.catalog.arm_ids.index(name) for name in ("technical_depth", "short_value"))
    by_technical, by_small = mean_clicks(block, np.flatnonzero(technical)), mean_clicks(block, np.flatnonzero(small))
    assert by_technical[depth] - by_technical[short] > by_small[depth] - by_small[short]
    assert by_technical[depth] > by_small[depth]
    assert by_small[short] > by_technical[short]


def test_a_journey_stops_when_the_contact_has_ordered() -> None:
    """R48: with every visit ending in an order that is known the next day, nobody is asked again."""
    block = world("renewal", 1500)
    due = block.people.due_day - block.moment.day
    inside = (due >= 0) & (due <= 30)
    block.state.known.ordered[:] = -NEVER
    assert (block.deciding() == inside).all()
    block.state.known.ordered[:] = block.state.step
    assert not block.deciding().any()
    block.state.known.ordered[:] = -200
    assert (block.deciding() == inside).all()


def test_browse_abandonment_decides_for_recent_visitors() -> None:
    block = world("browse_abandonment")
    seen = 0
    for rows, _, _, _ in days(block, 10):
        ago = block.state.step - block.state.known.browsed[rows]
        assert ((ago >= 1) & (ago <= 7)).all()
        assert (block.state.known.ordered[rows] < block.state.known.browsed[rows]).all()
        seen += len(rows)
    assert seen > 100


def test_browse_abandonment_holds_incentives_back_on_the_first_touch() -> None:
    """R35: unless price is likely to be the motive; later a text with an incentive is possible."""
    block = world("browse_abandonment", 2500)
    later = early = 0
    for rows, contacts, _, dense in days(block, 12):
        touched = (block.state.sends.at[rows] > 0).any(axis=1)
        by_price = contacts.extra["motive_price"] > 0.5
        for arm in ("price_incentive", "last_chance_incentive"):
            assert not arm_left(block, dense, arm)[~touched & ~by_price].any()
        early += int(arm_left(block, dense, "price_incentive")[~touched & by_price].sum())
        later += int(arm_left(block, dense, "last_chance_incentive")[touched & ~by_price].sum())
    assert early > 0
    assert later > 0


def test_the_estimate_of_a_price_motive_is_right_as_often_as_it_says() -> None:
    """Four motives alike: read right with 0.75, else at random: P(price | shown price) = 0.75 + 0.25 / 4 = 0.8125."""
    even = dict.fromkeys(("price", "assortment", "convenience", "trust"), 0.25)
    block = world("browse_abandonment", 40_000, population={"motives": even})
    told: FloatArray = block.contacts(np.arange(block.n)).extra["motive_price"]
    assert set(np.round(np.unique(told[~np.isnan(told)]), 4)) == {0.0625, 0.8125}
    price = block.people.motive == 0
    for value in (0.0625, 0.8125):
        rows = np.isclose(told, value)
        assert price[rows].mean() == pytest.approx(value, abs=4 * np.sqrt(value * (1 - value) / rows.sum()))
    assert np.isnan(told).mean() == pytest.approx(0.2, abs=0.01)


def test_replenishment_follows_the_contacts_own_cycle() -> None:
    block = world("replenishment", 1000)
    for rows, _, _, _ in days(block, 20):
        left = block.state.due_day[rows] - block.moment.day
        assert ((left >= -10) & (left <= 5)).all()
    ordered = block.state.ordered >= 0
    assert ordered.sum() > 10
    due, last = block.state.due_day[ordered], block.state.ordered[ordered]
    np.testing.assert_allclose(due - last, block.people.cycle_days[ordered])


def test_renewal_asks_for_another_message_by_usage_and_support() -> None:
    """R37: the same date, but what answers best differs between high and low usage, and after much support."""
    block = world("renewal", 4000)
    fields, levels = block.people.fields, block.people.levels
    calm = fields["support"] != levels["support"].index("heavy")
    best = {}
    for level in ("high", "low"):
        rows = np.flatnonzero(calm & (fields["usage"] == levels["usage"].index(level)))
        best[level] = block.catalog.arm_ids[int(mean_clicks(block, rows).argmax())]
    heavy = np.flatnonzero(~calm)
    assert best["high"] != best["low"]
    assert best["low"] == "getting_more"
    trust, recap = (block.catalog.arm_ids.index(name) for name in ("service_review", "usage_recap"))
    after, before = mean_clicks(block, heavy), mean_clicks(block, np.flatnonzero(calm))
    assert after[trust] - after[recap] > before[trust] - before[recap]
    assert {"usage", "support"} <= set(block.scenario.features.names)


def test_renewal_notices_come_once_a_week_in_the_last_two_weeks() -> None:
    block = world("renewal", 1500)
    notice = block.catalog.arm_ids.index("renewal_notice")
    for rows, _, _, dense in days(block, 15):
        left = block.people.due_day[rows] - block.moment.day
        assert not arm_left(block, dense, "renewal_notice")[left > 14].any()
    sends = block.state.sends
    for at, arms in zip(sends.at, sends.arm, strict=True):
        own = at[arms == notice]
        assert (np.diff(own) >= 7 * DAY_US).all()
    assert (sends.arm == notice).any()


def test_cross_sell_masks_more_of_the_same_for_recent_buyers() -> None:
    """R18: not the arms that go with it."""
    block = world("cross_sell", 2000)
    held = open_again = 0
    for rows, contacts, _, dense in days(block, 10):
        ago = block.state.step - block.state.known.ordered[rows]
        assert ((ago >= 1) & (ago <= 21)).all()
        assert contacts.events is not None
        assert (contacts.events.kind == EVENTS.index("purchased")).sum() >= contacts.events.known.sum()
        own = np.array(block.people.categories)[block.people.category[rows]]
        anything = arm_left(block, dense, "goes_well_with")
        for category in ("fashion", "home", "sport"):
            same = arm_left(block, dense, f"more_{category}") & (own == category)
            # Fourteen days after the purchase, and a day more because an arm must pass at every slot.
            assert not same[ago <= 13].any()
            held += int((anything & (own == category) & (ago <= 13)).sum())
            open_again += int(same[ago > 14].sum())
    assert held > 0
    assert open_again > 0


def test_winback_has_its_roles_and_decides_for_quiet_contacts() -> None:
    """R29: price, features, urgency; R36: no discount on the first touch to other motives."""
    block = world("winback", 1500)
    roles = {arm.id: arm for arm in block.catalog.arms}
    assert roles["price_comeback"].discount_depth > 0
    assert float(roles["new_features"].attributes["richness"]) > 0.5
    assert float(roles["last_call"].attributes["urgency"]) > 0.9
    seen = 0
    for rows, contacts, _, dense in days(block, 8):
        known = block.state.known
        last = np.maximum(known.engaged, known.ordered)[rows]
        assert ((last == -NEVER) | (block.state.step - last >= 60)).all()
        first = ~(block.state.sends.at[rows] > 0).any(axis=1)
        by_price = contacts.extra["motive_price"] > 0.5
        assert not arm_left(block, dense, "price_comeback")[first & ~by_price].any()
        seen += len(rows)
    assert seen > 200


def test_newsletter_decides_for_the_whole_list() -> None:
    block = world("newsletter")
    for rows, _, _, _ in days(block, 5):
        np.testing.assert_array_equal(rows, np.flatnonzero(block.people.join_day <= block.moment.day))
