"""Oracles and calendars: what they choose in one step, what a planner finds, and what nobody passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.types import HOLD
from simulator.expected import expected_rewards
from simulator.oracles.bound import upper_bound
from simulator.oracles.calendar import CalendarActor
from simulator.oracles.myopic import MyopicOracle, best_sends
from simulator.oracles.planner import PricedActor, PricePlanner, start_gains
from simulator.rollout import HoldActor, play, turn_of
from simulator.scenario import Scenario, load_scenario
from simulator.truth import compare
from simulator.world.world import World


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


def test_the_myopic_oracle_takes_the_best_eligible_action(scenario: Scenario) -> None:
    """Against the whole table: no eligible action of any contact has a higher expected reward."""
    world = World(scenario, 120, 2)
    for _ in range(3):
        turn = turn_of(world)
        table = np.where(turn.eligibility.dense(), expected_rewards(world, turn.rows), -np.inf)
        action, propensity = MyopicOracle().act(turn)
        rows = np.arange(len(action))
        assert (table[rows, action] >= table.max(axis=1) - 1e-12).all()
        assert (propensity == 1.0).all()
        assert len(np.unique(action)) > 3
        play(world, MyopicOracle())


def test_where_nothing_is_eligible_nothing_is_sent() -> None:
    """Without any permission there is no best send, and its gain is minus infinity."""
    world = World(load_scenario("newsletter", {"population": {"no_record": 1.0}}), 20, 1)
    action, gain = best_sends(turn_of(world))
    assert (action == HOLD).all()
    assert (gain == -np.inf).all()


def test_prices_between_the_myopic_oracle_and_silence(scenario: Scenario) -> None:
    world = World(scenario, 60, 2)
    turn = turn_of(world)
    myopic = MyopicOracle().act(turn)[0]
    assert (PricedActor(np.zeros(60)).act(turn)[0] == myopic).all()
    assert (PricedActor(np.full(60, np.inf)).act(turn)[0] == HOLD).all()
    gain = best_sends(turn)[1]
    middle = np.zeros(60)
    middle[turn.rows] = np.median(gain[gain > 0.0])
    assert (PricedActor(middle).act(turn)[0] != HOLD).sum() == (gain > np.median(gain[gain > 0.0])).sum()


def test_prices_fall_towards_the_end(scenario: Scenario) -> None:
    """Ten days before the end of a taper of twenty, half a price is asked for; an infinite one stays."""
    world = World(scenario, 60, 2)
    turn = turn_of(world)
    gain = best_sends(turn)[1]
    price = np.full(60, 1.5 * np.median(gain[gain > 0.0]))
    late = PricedActor(price, ends_day=10.0, taper_days=20.0).act(turn)[0]
    assert (late == PricedActor(price / 2.0).act(turn)[0]).all()
    assert (late != PricedActor(price).act(turn)[0]).any()
    never = PricedActor(np.full(60, np.inf), ends_day=10.0, taper_days=20.0)
    assert (never.act(turn)[0] == HOLD).all()


def test_the_planner_sees_other_luck_and_leaves_the_world_alone(scenario: Scenario) -> None:
    world = World(scenario, 30, 5)
    before = world.state.intent.copy()
    actor = PricePlanner(steps=4, rollouts=1, prices=(0.0, np.inf)).for_batch(world)
    assert world.state.step == 0
    assert (world.state.intent == before).all()
    assert set(np.unique(actor.price_usd)) <= {0.0, np.inf}
    again = PricePlanner(steps=4, rollouts=1, prices=(0.0, np.inf)).for_batch(World(scenario, 10, 5, first=20))
    assert (again.price_usd == actor.price_usd[20:]).all(), "prices must not depend on the batch"


@pytest.mark.slow
def test_a_planner_beats_greed_where_sends_cost_later() -> None:
    """Heavy pressure: each send costs orders that come by themselves; the myopic oracle does not see it."""
    changes: dict[str, Any] = {"dynamics": {"irritation": 0.05}, "guardrails": "permission"}
    heavy = load_scenario("newsletter", changes)
    planner = PricePlanner(steps=30, rollouts=3, prices=(0.0, 1.0, 3.0, np.inf))
    subjects = {"planner": planner, "myopic": MyopicOracle(), "never": HoldActor()}
    found = compare(heavy, subjects, contacts=400, steps=30, conditional=True)
    gap = found.difference("planner", "myopic")
    assert gap.mean > 3.0 * gap.stderr
    silent = found.difference("planner", "never")
    assert silent.mean > -2.0 * silent.stderr


@pytest.mark.parametrize("name", ["newsletter", "replenishment", "renewal", "winback"])
def test_nobody_passes_the_bound(name: str) -> None:
    """Greed, silence and a daily blast, over 20 days: each well below the bound of the same contacts."""
    scenario = load_scenario(name)
    bound = upper_bound(scenario, contacts=250, steps=20, seed=4)
    subjects = {"myopic": MyopicOracle(), "never": HoldActor(), "daily": CalendarActor(1.0)}
    found = compare(scenario, subjects, contacts=250, steps=20, seeds=(4,), conditional=True)
    for one in found.values.values():
        assert one.mean <= bound.mean + 2.0 * one.stderr
    assert found.values["never"].mean <= bound.silent + 2.0 * found.values["never"].stderr
    assert bound.silent <= bound.mean


def test_a_bound_is_reached_where_nothing_is_relaxed() -> None:
    """One step, fresh contacts, everybody at home: greed is then the bound itself, for every contact."""
    changes: dict[str, Any] = {
        "guardrails": "permission",
        "population": {"no_record": 0.0, "unknown_zone": 0.0},
        "response": {"hour_log_odds": 0.0},  # or quiet hours would keep the best hours from being taken
    }
    scenario = load_scenario("newsletter", changes)
    bound = upper_bound(scenario, contacts=300, steps=1, seed=2)
    world = World(scenario, 300, 2)
    gain = best_sends(turn_of(world))[1]
    free = expected_rewards(world, np.arange(300))[:, 0]
    gains = np.zeros(300)
    gains[np.flatnonzero(world.deciding())] = np.maximum(gain, 0.0)
    assert (free + gains).mean() == pytest.approx(bound.mean, rel=1e-9)


def test_a_cap_lowers_the_bound_and_blocks_do_not_move_it(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    free = upper_bound(scenario, contacts=60, steps=15, seed=4)
    capped = upper_bound(scenario, contacts=60, steps=15, seed=4, most_sends=3)
    none = upper_bound(scenario, contacts=60, steps=15, seed=4, most_sends=0)
    assert none.silent == pytest.approx(free.silent)
    assert none.mean < capped.mean < free.mean
    monkeypatch.setattr("simulator.oracles.bound._BLOCK", 25)
    assert upper_bound(scenario, contacts=60, steps=15, seed=4, most_sends=3) == capped


@pytest.mark.parametrize(
    "changes",
    [
        {"response": {"stage_attention": {"lapsed": 2.0}}},
        {"dynamics": {"intent_demand": 0.5}},
        {"dynamics": {"intent_off": 0.95}},
    ],
    ids=["lapsed contacts read more", "intent hinders", "intent swings"],
)
def test_the_bound_refuses_what_its_proof_does_not_cover(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="upper_bound"):
        upper_bound(load_scenario("newsletter", changes), contacts=2, steps=1)


@pytest.mark.parametrize(("every", "expected"), [(1.0, 28), (2.0, 14), (7.0, 4), (30.0 / 7.0, 6.5)])
def test_a_calendar_keeps_its_frequency(every: float, expected: float) -> None:
    """Contacts with a permission that nothing takes away, over 28 days; the spread ones on average."""
    changes: dict[str, Any] = {
        "guardrails": "permission",
        "population": {"arriving": 0.0, "no_record": 0.0, "reach": {"email": 1.0}, "unknown_zone": 0.0},
        "response": {
            "unsubscribe": {"email": 0.0},
            "complaint": {"email": 0.0},
            "hard_bounce": {"email": 0.0},
        },
        "dynamics": {"address_dies": 0.0},
    }
    world = World(load_scenario("newsletter", changes), 300, 1)
    sent = np.zeros(300)
    arms, first = [], 0
    for step in range(28):
        happened = play(world, CalendarActor(every))
        sent[happened.rows] += 1
        arms.append(happened.arm)
        first = len(happened.rows) if step == 0 else first
    assert sent.mean() == pytest.approx(expected, abs=0.3)
    assert sent.max() - sent.min() <= 1
    assert len(np.unique(np.concatenate(arms))) == 4, "arms are taken in turn"
    if every > 1.0:
        assert 0 < first < 300, "contacts are spread over the days"


def test_a_calendar_sends_what_was_asked_for(scenario: Scenario) -> None:
    world = World(scenario, 200, 1)
    actor = CalendarActor(3.0, channel="sms", hour="12", arm="time_saver", spread=False)
    per_step = [play(world, actor) for _ in range(6)]
    assert [len(one.rows) > 0 for one in per_step] == [False, False, True, False, False, True]
    happened = per_step[2]
    wanted = world.catalog.resolve("sms|12|time_saver")
    assert (happened.action[happened.rows] == wanted).all()


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: CalendarActor(0.0), "every_days"),
        (lambda: PricePlanner(steps=0), "steps"),
        (lambda: PricePlanner(steps=1, rollouts=0), "rollouts"),
        (lambda: PricePlanner(steps=1, prices=()), "prices"),
        (lambda: PricePlanner(steps=1, prices=(-1.0,)), "prices"),
    ],
    ids=["no days", "no steps", "no rollouts", "no prices", "negative price"],
)
def test_bad_arguments_are_refused(make: Any, names: str) -> None:
    with pytest.raises(ParameterError, match=names):
        make()


@pytest.mark.parametrize("asked", [{"channel": "fax"}, {"hour": "3"}, {"arm": "spam"}], ids=["channel", "hour", "arm"])
def test_a_calendar_names_what_the_catalog_lacks(scenario: Scenario, asked: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match=next(iter(asked))):
        play(World(scenario, 5, 1), CalendarActor(1.0, **asked))


def test_start_gains_are_the_best_of_the_table(scenario: Scenario) -> None:
    world = World(scenario, 40, 9)
    table = expected_rewards(world, np.arange(40))
    np.testing.assert_allclose(
        start_gains(world), np.maximum((table[:, 1:] - table[:, :1]).max(axis=1), 0.0), atol=1e-12
    )


@pytest.mark.parametrize("part", ["response", "dynamics"])
def test_the_bound_refuses_parts_of_ones_own(scenario: Scenario, part: str) -> None:
    """The proof is about the shipped equations; another part may do what it likes."""

    class Other:
        def bind(self, catalog: object) -> object:
            return object()

    with pytest.raises(ParameterError, match="the shipped part"):
        upper_bound(replace(scenario, **{part: Other()}), contacts=2, steps=1)
