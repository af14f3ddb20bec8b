"""What a bug of the world would break: silence, volume, blasts, and an optimum of frequency inside.

Figures move with the numbers of the parts, so only directions and wide bounds are asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import ParameterError
from simulator.oracles.calendar import CalendarActor
from simulator.oracles.silence import value_of_silence
from simulator.rollout import HoldActor
from simulator.scenario import Scenario, load_scenario
from simulator.truth import compare
from simulator.world.world import World

DAYS = 90


@pytest.fixture(scope="module")
def free() -> Scenario:
    """Permission and quiet hours alone: no cap hides what too many messages do."""
    return load_scenario("newsletter", {"guardrails": "permission"})


def silent(scenario: Scenario, n: int, seed: int) -> list[bytes]:
    """Every reward, order, stage and intent of a world that is never written to, as bytes."""
    world, told = World(scenario, n, seed), []
    for _ in range(DAYS):
        happened = world.advance(np.zeros(n, dtype=np.int32))
        told += [array.tobytes() for array in (happened.reward_usd, happened.organic, world.state.stage)]
        told += [world.state.intent.tobytes(), world.state.browsed.tobytes(), world.state.known.ordered.tobytes()]
    return told


def test_silence_is_the_world_without_response() -> None:
    """No number of the response matters to who never gets a message, to the last bit."""
    loud = {name: dict.fromkeys(("email", "sms", "push"), 0.9) for name in ("seen", "click", "order")}
    changes: dict[str, Any] = {"response": {**loud, "unsubscribe": {"email": 0.4}, "novelty": 3.0, "appeal": 2.0}}
    assert silent(load_scenario("newsletter", changes), 300, 3) == silent(load_scenario("newsletter"), 300, 3)


@pytest.mark.parametrize("name", ["newsletter", "onboarding", "renewal", "winback"])
def test_silence_is_worth_its_closed_form(name: str) -> None:
    """Paired by contact: what was drawn minus what the distribution of intent and stage says, within 4 errors."""
    n = 6000
    world = World(load_scenario(name), n, 21)
    expected, drawn = value_of_silence(world, DAYS), np.zeros(n)
    for _ in range(DAYS):
        drawn += world.advance(np.zeros(n, dtype=np.int32)).reward_usd
    off = drawn - expected
    assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(n)
    assert np.corrcoef(drawn, expected)[0, 1] > 0.2, "the closed form must know the contacts apart"


def test_the_value_of_silence_by_hand() -> None:
    """One day, one rate: chance 1 - exp(-rate), times the basket, the margin and what does not come back."""
    changes: dict[str, Any] = {
        "population": {"arriving": 0.0, "stages": dict(zip(
            ("onboarding", "active", "lapsing", "lapsed", "gone"), (0.0, 1.0, 0.0, 0.0, 0.0), strict=True))},
        "dynamics": {"intent_demand": 1.0},
        "calendar": {"yearly_peak": 0.0},
        "money": {"margin_share": 0.5, "refund_share": 0.1},
    }  # fmt: skip
    world = World(load_scenario("newsletter", changes), 50, 1)
    by_hand = (1.0 - np.exp(-world.people.order_rate)) * world.people.basket_usd * 0.5 * 0.9
    np.testing.assert_allclose(value_of_silence(world, 1), by_hand, rtol=1e-9)


def test_a_cycle_has_no_closed_form() -> None:
    with pytest.raises(ParameterError, match="cycle"):
        value_of_silence(World(load_scenario("replenishment"), 5, 1), 1)


def test_another_dynamics_has_no_closed_form() -> None:
    world = World(load_scenario("newsletter"), 5, 1)
    world.scenario = replace(world.scenario, dynamics=world.scenario.response)
    with pytest.raises(ParameterError, match="the shipped part"):
        value_of_silence(world, 1)


def test_twice_the_volume_pays_now_and_costs_later(free: Scenario) -> None:
    """Ten a month against twenty: more margin in the first week, less value over ninety days."""
    subjects = {"single": CalendarActor(3.0), "double": CalendarActor(1.5)}
    asked: dict[str, Any] = {"contacts": 5000, "seeds": (2,), "conditional": True}
    sold = {"money": {"unsubscribe_usd": 0.0, "complaint_usd": 0.0}, "guardrails": "permission"}
    short = compare(load_scenario("newsletter", sold), subjects, steps=7, **asked).difference("double", "single")
    long = compare(free, subjects, steps=DAYS, **asked).difference("double", "single")
    assert short.mean > 2.0 * short.stderr
    assert long.mean < -2.0 * long.stderr


def test_a_daily_blast_loses_most_of_its_list(free: Scenario) -> None:
    """A message to everybody every day for ninety days: most of the e-mail list that silence would have kept."""
    subjects = {"never": HoldActor(), "daily": CalendarActor(1.0)}
    found = compare(free, subjects, contacts=1500, steps=DAYS)
    never, daily = (found.values[name] for name in subjects)
    assert daily.list_by_channel[-1, 0] < 0.5 * never.list_by_channel[-1, 0]
    assert daily.list_by_channel[-1, 0] < daily.list_by_channel[DAYS // 2, 0]
    rates = [one.metrics.layers()["efficiency"]["unsubscribe_rate"] for one in (daily, never)]
    assert rates[0] is not None
    assert rates[1] is None


@pytest.mark.slow
def test_the_best_frequency_lies_inside(free: Scenario) -> None:
    """Around seven e-mails a month (Zhang, Kumar & Cosguner 2017): better than none or one, and better than daily."""
    subjects = {str(month): CalendarActor(30.0 / month) for month in (1, 4, 7, 10, 30)}
    found = compare(free, {"0": HoldActor(), **subjects}, contacts=5000, steps=DAYS, conditional=True)
    value = {name: one.mean for name, one in found.values.items()}
    middle = max(value[name] for name in ("4", "7", "10"))
    for name in ("0", "1", "30"):
        assert middle > value[name], value
    for name in ("0", "30"):
        gap = found.difference("7", name)
        assert gap.mean > 2.0 * gap.stderr, name
