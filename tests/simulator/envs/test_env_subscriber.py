"""`tactful/Subscriber-v0`: the API, the mask, seeds, and that it is the world itself."""

from __future__ import annotations

import warnings
from dataclasses import fields
from importlib import resources
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from engine.errors import ConfigError, ParameterError
from engine.types import HOLD
from simulator.envs import SUBSCRIBER, SubscriberEnv
from simulator.people.people import GONE
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

DAYS = 20
SCENARIOS = sorted(
    file.name.removesuffix(".yaml")
    for file in (resources.files("conf") / "scenario").iterdir()
    if file.name.endswith(".yaml")
)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


@pytest.fixture
def env(scenario: Scenario) -> SubscriberEnv:
    return SubscriberEnv(scenario, days=DAYS)


def chosen(mask: np.ndarray[Any, Any], day: int) -> int:
    """Some allowed action, another each day."""
    allowed = np.flatnonzero(mask)
    return int(allowed[(7 * day + 3) % len(allowed)])


def life(env: SubscriberEnv, **reset: Any) -> list[bytes]:
    """Everything that an episode shows, as bytes."""
    observation, info = env.reset(**reset)
    shown, day, over = [observation.tobytes()], 0, False
    while not over:
        observation, reward, terminated, truncated, info = env.step(np.int64(chosen(info["action_mask"], day)))
        over, day = terminated or truncated, day + 1
        shown += [observation.tobytes(), np.float64(reward).tobytes(), info["action_mask"].tobytes()]
    return shown


def test_check_env_is_clean() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(SUBSCRIBER, days=DAYS).unwrapped)


def test_made_by_its_module_and_wrapped_by_gymnasium() -> None:
    made = gymnasium.make(f"simulator.envs:{SUBSCRIBER}", days=DAYS)
    made = gymnasium.wrappers.RecordEpisodeStatistics(made)
    _, info = made.reset(seed=5)
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, info = made.step(made.action_space.sample(info["action_mask"]))
        total, over = total + float(reward), terminated or truncated
    assert info["episode"]["r"] == pytest.approx(total)


def test_many_in_gymnasiums_own_vector() -> None:
    many = gymnasium.make_vec(SUBSCRIBER, num_envs=3, vectorization_mode="sync", days=3)
    observations, info = many.reset(seed=1)
    assert observations.shape == (3, *many.single_observation_space.shape)
    assert info["action_mask"].shape == (3, many.single_action_space.n)


def test_same_seed_same_life(env: SubscriberEnv, scenario: Scenario) -> None:
    first = life(env, seed=11)
    assert life(SubscriberEnv(scenario, days=DAYS), seed=11) == first
    assert life(env, seed=11) == first
    assert life(env, seed=12) != first


def test_later_episodes_are_other_contacts_of_the_same_world(env: SubscriberEnv) -> None:
    env.reset(seed=4)
    second = life(env)
    assert env.world.first == 1
    assert life(env, seed=4, options={"contact": 1}) == second


def test_luck_is_another_future_of_the_same_contact(env: SubscriberEnv) -> None:
    plain = life(env, seed=4, options={"contact": 7})
    other = life(env, seed=4, options={"contact": 7, "luck": 2})
    assert env.world.people.contact_id[0] == "contact-00000007"
    assert plain != other


def test_it_is_the_world_byte_for_byte(env: SubscriberEnv, scenario: Scenario) -> None:
    contact, seed = 9, 21
    world = World(scenario, 16, seed)
    _, info = env.reset(seed=seed, options={"contact": contact})
    for day in range(DAYS):
        mask = world.eligibility(world.contacts(np.arange(16))).dense()[contact]
        assert info["action_mask"].tobytes() == mask.astype(np.int8).tobytes()
        action = np.zeros(16, dtype=np.int32)
        action[contact] = chosen(mask, day)
        happened = world.advance(action)
        _, reward, terminated, _, info = env.step(np.int64(action[contact]))
        assert reward == happened.reward_usd[contact]
        if terminated:
            break
    for spec in fields(env.world.state):
        mine, theirs = getattr(env.world.state, spec.name), getattr(world.state, spec.name)
        if isinstance(mine, np.ndarray):
            assert mine[0].tobytes() == theirs[contact].tobytes(), spec.name


def test_what_the_guardrails_removed_is_held(env: SubscriberEnv) -> None:
    for contact in range(20):
        _, info = env.reset(seed=2, options={"contact": contact})
        removed = np.flatnonzero(info["action_mask"] == 0)
        if len(removed):
            break
    assert env.action_masks().tolist() == info["action_mask"].astype(bool).tolist()
    _, _, _, _, info = env.step(np.int64(removed[0]))
    assert info["refused"]
    assert not info["happened"]["sent"]
    _, _, _, _, info = env.step(np.int64(HOLD))
    assert not info["refused"]


def test_hold_is_all_there_is_before_the_contact_joins(scenario: Scenario) -> None:
    world = World(scenario, 400, 3)
    late = int(np.flatnonzero(world.people.join_day > 2)[0])
    _, info = SubscriberEnv(scenario).reset(seed=3, options={"contact": late})
    assert not info["deciding"]
    assert np.flatnonzero(info["action_mask"]).tolist() == [HOLD]


def test_it_ends_when_the_contact_is_gone_or_the_days_are_over(scenario: Scenario) -> None:
    changes = {"dynamics": {"leaves": 50.0, "lapses": 50.0, "lapses_further": 50.0, "onboarding_ends": 50.0}}
    env = SubscriberEnv("newsletter", changes=changes, days=DAYS)
    ends = set()
    for contact in range(12):
        env.reset(seed=3, options={"contact": contact})
        for step in range(DAYS):
            _, _, terminated, truncated, _ = env.step(np.int64(HOLD))
            assert terminated == (env.world.state.stage[0] == GONE)
            assert truncated == (not terminated and step == DAYS - 1)
            if terminated or truncated:
                break
        ends.add(terminated)
        with pytest.raises(ParameterError, match="reset"):
            env.step(np.int64(HOLD))
    assert True in ends


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_shipped_scenario_is_an_environment(name: str) -> None:
    env = SubscriberEnv(name, days=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Render modes can be tried only of an environment that gymnasium made; the pictures have tests of their own.
        check_env(env, skip_render_check=True)
    for contact in range(3):
        observation, info = env.reset(seed=8, options={"contact": contact})
        for day in range(env.steps):
            assert observation in env.observation_space
            observation, _, terminated, _, info = env.step(np.int64(chosen(info["action_mask"], day)))
            assert not info["refused"]
            if terminated:
                break


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda env: env.step(np.int64(0)), "reset"),
        (lambda env: env.reset(options={"hour": 3}), "contact and luck"),
        (lambda env: env.reset(options={"contact": -1}), "contact and luck"),
        (lambda env: (env.reset(seed=1), env.step(np.int64(1000))), r"in \[0, 49\)"),
        (lambda env: (env.reset(seed=1), env.step(np.int64(-1))), r"in \[0, 49\)"),
        (lambda env: SubscriberEnv(env.scenario, days=0), "positive"),
        (lambda env: SubscriberEnv(env.scenario, first=-1), "positive"),
        (lambda env: SubscriberEnv(env.scenario, render_mode="human"), "rgb_array"),
    ],
    ids=["no-reset", "option", "contact", "too-large", "negative", "days", "first", "mode"],
)
def test_bad_arguments_are_named(env: SubscriberEnv, call: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        call(env)


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no scenario"):
        SubscriberEnv("nowhere")
