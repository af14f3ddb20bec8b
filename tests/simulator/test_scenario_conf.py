"""Every scenario and every fault: they compose, they run, and each is the use case that it says."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
import yaml

from engine.contacts import EVENTS, YES
from engine.errors import ConfigError, ParameterError
from engine.features import STALE
from engine.guardrails.lint import lint_pack
from engine.guardrails.pack import read_pack
from engine.localtime import DAY_US
from engine.types import FloatArray
from experiments.settings import compose_settings
from experiments.simulate.config import SimulateConfig
from simulator.faults import Fault
from simulator.overlays import faults_from, with_faults
from simulator.people import NEVER
from simulator.scenario import load_scenario, scenario_from
from simulator.world import World
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


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["newsletter", "onboarding"])
def test_every_fault_combines_with_scenarios(name: str, fault: str) -> None:
    scenario = with_faults(load_scenario(name), fault)
    block = World(scenario, 300, 2)
    for _ in days(block, 9):
        pass
    assert len(scenario.spec.faults) == 1
    assert scenario.spec.faults[0].kind == fault


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_laid_over_a_scenario_on_the_command_line(fault: str) -> None:
    config = compose_settings("simulate", ["scenario=renewal", f"+fault@scenario={fault}"], SimulateConfig)
    scenario = scenario_from(config.scenario)
    assert (scenario.name, [one.kind for one in scenario.spec.faults]) == ("renewal", [fault])


def test_faults_add_up() -> None:
    both = with_faults(load_scenario("newsletter"), "stale_feed", "channel_outage")
    assert [fault.kind for fault in both.spec.faults] == ["stale_feed", "channel_outage"]


def faulty(fault: str, n: int = 2000) -> World:
    return World(with_faults(load_scenario("newsletter"), fault), n, 5)


def test_withdrawn_consent_is_gone_for_good() -> None:
    block, plain_block = faulty("consent_withdrawn"), world("newsletter", 2000)
    for _ in zip(days(block, 9, sends=False), days(plain_block, 9, sends=False), strict=True):
        pass
    before, after = plain_block.state.consent[:, 0, 0] == YES, block.state.consent[:, 0, 0] == YES
    assert not (after & ~before).any()
    assert after.sum() / before.sum() == pytest.approx(0.67, abs=0.04)
    assert (block.state.withdrew[before & ~after] == 7).all()
    rows = np.flatnonzero(block.deciding())
    dense = block.eligibility(block.contacts(rows)).dense()
    assert not dense[(block.state.consent[rows, :, 0] != YES).all(axis=1), 1:].any()


@pytest.mark.parametrize(("day", "factor"), [(6, 1.0), (7, 100.0), (10, 100.0), (11, 1.0)])
def test_a_complaint_spike_multiplies_complaints_on_its_channel(day: int, factor: float) -> None:
    block, plain_block = faulty("complaint_spike", 50), world("newsletter", 50)
    for one in (block, plain_block):
        for _ in days(one, day, sends=False):
            pass
    rows = np.arange(50)
    for channel, expected in (("email", factor), ("sms", 1.0)):
        action = block.catalog.index(block.catalog.channels.index(channel), 0, 0)
        cells = block.cells(rows, np.full(50, action))
        spiked, usual = block.chances(cells).complained, plain_block.chances(cells).complained
        np.testing.assert_allclose(spiked, np.minimum(usual * expected, 0.5))


def test_an_outage_loses_every_message_of_its_channel() -> None:
    block = faulty("channel_outage")
    for step, (rows, _, _, _) in enumerate(days(block, 12)):
        sms = block.catalog.channels.index("sms")
        cells = block.cells(rows, np.full(len(rows), block.catalog.index(sms, 0, 0)))
        delivered = block.chances(cells).delivered
        assert (delivered.max() == pytest.approx(0.0)) == (7 <= step < 10)


def test_a_stale_feed_ages_what_moves_and_nothing_else() -> None:
    block = faulty("stale_feed", 300)
    for step, (_, contacts, _, _) in enumerate(days(block, 18, sends=False)):
        stale = {
            spec.name: float((contacts.context.columns[spec.name].state == STALE).mean())
            for spec in block.scenario.features.features
        }
        # Two days at most: on the third day of the fault the visits are too old; it ends after the tenth.
        assert (stale["visits_7d"] > 0.9) == (9 <= step < 17)
        assert stale["motive"] == stale["subscription_source"] == 0.0


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "faults"),
        ({"faults": []}, "at least one"),
        ({"faults": [{"kind": "flood"}]}, "flood"),
        ({"faults": [{"kind": "stale_feed", "days": 0}]}, "days"),
        ({"faults": [{"kind": "stale_feed", "from_day": -1}]}, "from_day"),
        ({"faults": [{"kind": "consent_withdrawn", "share": 1.5}]}, "share"),
        ({"faults": [{"kind": "stale_feed", "speed": 2}]}, "speed"),
    ],
    ids=["nothing", "none", "unknown kind", "no days", "before the start", "share above one", "unknown key"],
)
def test_a_wrong_fault_is_named(data: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        faults_from(data)
    assert caught.value.hint


def test_a_fault_on_a_channel_that_is_not_there_is_refused() -> None:
    data = plain("newsletter")
    scenario = load_scenario("newsletter")
    assert with_faults(scenario, "channel_outage").spec.faults[0].concerns("sms")
    alone = scenario_from(data | {"catalog": "heartsteps"}) if (CONF / "catalog" / "heartsteps.yaml").exists() else None
    if alone is not None and "sms" not in alone.catalog.channels:
        with pytest.raises(ConfigError, match="sms"):
            with_faults(alone, "channel_outage")


def test_a_fault_is_on_from_its_first_day_to_before_its_end() -> None:
    """From day 7 for 3 days: on at 7, 8, 9; elapsed 1, 2, 3 days."""
    fault = Fault(kind="stale_feed", from_day=7, days=3)
    assert [fault.elapsed(day) for day in (6.0, 7.0, 8.0, 9.0, 10.0)] == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert Fault(kind="stale_feed").on(1e6)
    assert not Fault(kind="channel_outage", channel="sms").concerns("email")
    with pytest.raises(ParameterError, match="days"):
        Fault(kind="stale_feed", days=-1)
