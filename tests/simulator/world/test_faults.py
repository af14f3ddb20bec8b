"""Faults: they combine with any scenario, each breaks what it says, and wrong ones are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.contacts.contacts import YES
from engine.errors import ConfigError, ParameterError
from engine.features import STALE
from experiments.settings import compose_settings
from experiments.simulate.run_spec import SimulateConfig
from policies.peers.constant import UniformPolicy
from simulator.rollout import PolicyActor, turn_of
from simulator.scenario import faults_from, load_scenario, scenario_from, with_faults
from simulator.world.faults import Fault
from simulator.world.world import World
from tests.simulator.worlds import FAULTS, days, world


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["newsletter", "onboarding"])
def test_every_fault_combines_with_scenarios(name: str, fault: str) -> None:
    scenario = with_faults(load_scenario(name), fault)
    batch = World(scenario, 300, 2)
    for _ in days(batch, 9):
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
    batch, plain_batch = faulty("consent_withdrawn"), world("newsletter", 2000)
    for _ in zip(days(batch, 9, sends=False), days(plain_batch, 9, sends=False), strict=True):
        pass
    before, after = plain_batch.state.consent[:, 0, 0] == YES, batch.state.consent[:, 0, 0] == YES
    assert not (after & ~before).any()
    assert after.sum() / before.sum() == pytest.approx(0.67, abs=0.04)
    assert (batch.state.withdrew[before & ~after] == 7).all()
    rows = np.flatnonzero(batch.deciding())
    dense = batch.eligibility(batch.contacts(rows)).dense()
    assert not dense[(batch.state.consent[rows, :, 0] != YES).all(axis=1), 1:].any()


@pytest.mark.parametrize(("day", "factor"), [(6, 1.0), (7, 100.0), (10, 100.0), (11, 1.0)])
def test_a_complaint_spike_multiplies_complaints_on_its_channel(day: int, factor: float) -> None:
    batch, plain_batch = faulty("complaint_spike", 50), world("newsletter", 50)
    for one in (batch, plain_batch):
        for _ in days(one, day, sends=False):
            pass
    rows = np.arange(50)
    for channel, expected in (("email", factor), ("sms", 1.0)):
        action = batch.catalog.index(batch.catalog.channels.index(channel), 0, 0)
        cells = batch.cells(rows, np.full(50, action))
        spiked, usual = batch.chances(cells).complained, plain_batch.chances(cells).complained
        np.testing.assert_allclose(spiked, np.minimum(usual * expected, 0.5))


def test_an_outage_loses_every_message_of_its_channel() -> None:
    batch = faulty("channel_outage")
    for step, (rows, _, _, _) in enumerate(days(batch, 12)):
        sms = batch.catalog.channels.index("sms")
        cells = batch.cells(rows, np.full(len(rows), batch.catalog.index(sms, 0, 0)))
        delivered = batch.chances(cells).delivered
        assert (delivered.max() == pytest.approx(0.0)) == (7 <= step < 10)


def test_a_stale_feed_ages_what_moves_and_nothing_else() -> None:
    batch = faulty("stale_feed", 300)
    for step, (_, contacts, _, _) in enumerate(days(batch, 18, sends=False)):
        stale = {
            spec.name: float((contacts.context.columns[spec.name].state == STALE).mean())
            for spec in batch.scenario.features.features
        }
        # Two days at most: on the third day of the fault the visits are too old; it ends after the tenth.
        assert (stale["visits_7d"] > 0.9) == (9 <= step < 17)
        assert stale["motive"] == stale["subscription_source"] == 0.0


def test_broken_randomisation_leans_to_the_first_actions_and_says_nothing() -> None:
    """u^2 for u: of two halves the first comes with 0.71 in place of 0.5; what is logged stays nominal."""
    batch, plain_batch = faulty("broken_randomisation", 4000), world("newsletter", 4000)
    actor = PolicyActor(UniformPolicy())
    for step in range(8):
        turn, usual = turn_of(batch), turn_of(plain_batch)
        action, propensity = actor.act(turn)
        honest, _ = actor.act(usual)
        np.testing.assert_allclose(propensity, 1.0 / turn.eligibility.dense().sum(axis=1))
        if step < 7:
            np.testing.assert_array_equal(action, honest)
        else:
            several = turn.eligibility.dense().sum(axis=1) > 3
            place = (np.cumsum(turn.eligibility.dense(), axis=1)[np.arange(len(action)), action] - 1)[several]
            width = turn.eligibility.dense().sum(axis=1)[several]
            assert (place < width / 2).mean() > 0.6
        for one, rows, chosen in ((batch, turn.rows, action), (plain_batch, usual.rows, honest)):
            full = np.zeros(one.n, dtype=np.int32)
            full[rows] = chosen
            one.advance(full)


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
    """HeartSteps knows pushes only."""
    scenario = load_scenario("heartsteps")
    assert "sms" not in scenario.catalog.channels
    with pytest.raises(ConfigError, match="sms") as caught:
        with_faults(scenario, "channel_outage")
    assert caught.value.hint


def test_a_fault_is_on_from_its_first_day_to_before_its_end() -> None:
    """From day 7 for 3 days: on at 7, 8, 9; elapsed 1, 2, 3 days."""
    fault = Fault(kind="stale_feed", from_day=7, days=3)
    assert [fault.elapsed(day) for day in (6.0, 7.0, 8.0, 9.0, 10.0)] == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert Fault(kind="stale_feed").on(1e6)
    assert not Fault(kind="channel_outage", channel="sms").concerns("email")
    with pytest.raises(ParameterError, match="days"):
        Fault(kind="stale_feed", days=-1)
