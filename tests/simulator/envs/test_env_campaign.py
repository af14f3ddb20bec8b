"""`tactful/Campaign-v0`: the vector API, its batches, and that each contact is the one of the classic environment."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from engine.errors import ParameterError
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from policies.peers.constant import UniformPolicy
from simulator.envs import CAMPAIGN, CampaignEnv, SubscriberEnv
from simulator.people.people import GONE
from simulator.rollout import HoldActor, PolicyActor, Turn, play
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

N, DAYS, SEED = 60, 12, 13


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


def campaign(scenario: Scenario, **changes: Any) -> CampaignEnv:
    return CampaignEnv(**({"num_envs": N, "scenario": scenario, "days": DAYS, "block_rows": 17} | changes))


def some_actions(env: CampaignEnv, rng: np.random.Generator) -> CodeArray:
    """A third allowed sends, a few forbidden ones, else hold."""
    masks = env.action_masks()
    drawn = (masks.cumsum(axis=1) > (rng.random(N) * masks.sum(axis=1))[:, None]).argmax(axis=1)
    drawn = np.where(rng.random(N) < 0.1, rng.integers(0, masks.shape[1], N), drawn)
    return np.where(rng.random(N) < 0.4, drawn, HOLD).astype(np.int32)


def played(env: CampaignEnv, seed: int = SEED) -> list[Any]:
    """An episode: (observations, masks, actions, rewards, terminations, truncations, info) of each step."""
    rng = np.random.default_rng(1)
    observations, _ = env.reset(seed=seed)
    steps = []
    for _ in range(DAYS):
        masks, actions = env.action_masks(), some_actions(env, rng)
        following, *rest = env.step(actions)
        steps.append((observations, masks, actions, *rest))
        observations = following
    return steps


def test_what_an_agent_is_handed_opens_nothing(scenario: Scenario) -> None:
    """Factors, masks, info and observations are written to; the step refuses what was removed all the same."""
    honest, env = campaign(scenario, masks=True), campaign(scenario, masks=True)
    honest.reset(seed=SEED)
    _, info = env.reset(seed=SEED)
    rng = np.random.default_rng(2)
    for _ in range(4):
        removed = np.where(env.action_masks().all(axis=1), HOLD, (~env.action_masks()).argmax(axis=1)).astype(np.int32)
        actions = np.where(rng.random(N) < 0.7, removed, HOLD).astype(np.int32)
        before = honest.action_masks()
        for _, factors in env.eligibility():
            for array in (factors.channel_arm, factors.channel_hour, factors.purpose_codes):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = True
                with pytest.raises(ValueError, match="WRITEABLE"):
                    array.setflags(write=True)
        env.action_masks()[...] = True
        for value in info.values():
            value[...] = True
        assert np.array_equal(env.action_masks(), before)
        expected, found = honest.step(actions), env.step(actions)
        assert np.array_equal(found[-1]["refused"], actions != HOLD)
        assert np.array_equal(found[1], expected[1])
        info = found[-1]
        found[0][...] = 1.0


def test_blocks_change_nothing(scenario: Scenario) -> None:
    small, large = (played(campaign(scenario, block_rows=rows)) for rows in (7, 1000))
    for one, other in zip(small, large, strict=True):
        for mine, theirs in zip(one[:-1], other[:-1], strict=True):
            assert mine.tobytes() == theirs.tobytes()
        assert {name: value.tobytes() for name, value in one[-1].items()} == {
            name: value.tobytes() for name, value in other[-1].items()
        }


def test_each_contact_is_the_subscriber_of_its_number(scenario: Scenario) -> None:
    steps = played(campaign(scenario))
    env = SubscriberEnv(scenario, days=DAYS)
    refusals = 0
    for contact in range(0, N, 3):
        observation, info = env.reset(seed=SEED, options={"contact": contact})
        for observations, masks, actions, rewards, _, truncations, infos in steps:
            assert observation.tobytes() == observations[contact].tobytes()
            assert info["action_mask"].astype(bool).tobytes() == masks[contact].tobytes()
            observation, reward, terminated, truncated, info = env.step(actions[contact])
            assert reward == rewards[contact]
            assert info["refused"] == infos["refused"][contact]
            refusals += info["refused"]
            if terminated:
                break
            assert truncated == truncations[contact]
    assert refusals > 0


def test_it_is_the_world(scenario: Scenario) -> None:
    steps = played(campaign(scenario))
    world = World(scenario, N, SEED)
    for *_, actions, rewards, _, _, infos in steps:
        assert world.advance(np.where(infos["refused"], HOLD, actions)).reward_usd.tobytes() == rewards.tobytes()


def test_an_episode_ends_for_all_at_once(scenario: Scenario) -> None:
    env = campaign(scenario)
    steps = played(env)
    assert not any(step[4].any() or step[5].any() for step in steps[:-1])
    gone = np.concatenate([world.state.stage == GONE for world in env.worlds])
    assert steps[-1][4].tolist() == gone.tolist()
    assert steps[-1][5].tolist() == (~gone).tolist()


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_autoreset(scenario: Scenario, mode: AutoresetMode) -> None:
    env = campaign(scenario, autoreset_mode=mode.value, masks=True)
    assert env.metadata["autoreset_mode"] is mode
    played(env)
    fresh = campaign(scenario, first=N)
    expected, _ = fresh.reset(seed=SEED)
    hold = np.zeros(N, dtype=np.int32)
    if mode is AutoresetMode.NEXT_STEP:
        observations, rewards, terminations, truncations, _ = env.step(hold + 1)
        assert not (rewards.any())
        assert not (terminations.any())
        assert not (truncations.any())
    elif mode is AutoresetMode.SAME_STEP:
        env.reset(seed=SEED)
        for _ in range(DAYS):
            observations, _, _, truncations, info = env.step(hold)
        assert truncations.any()
        assert info["_final_obs"].all()
        assert info["_final_info"].all()
        assert info["final_obs"][:, 0].tolist() == [1.0] * N
        assert info["final_info"]["action_mask"].shape == info["action_mask"].shape
    else:
        with pytest.raises(ParameterError, match="reset"):
            env.step(hold)
        observations, _ = env.reset(options={"reset_mask": np.ones(N, dtype=np.bool_)})
    assert observations.tobytes() == expected.tobytes()


def test_same_seed_same_world(scenario: Scenario) -> None:
    env = campaign(scenario)
    first, _ = env.reset(seed=3)
    second, _ = env.reset()
    again, _ = env.reset(seed=3)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != second.tobytes()
    assert env.reset(seed=4)[0].tobytes() != first.tobytes()


def test_actors_play_what_step_would(scenario: Scenario) -> None:
    """`play` and `run` and a world that is stepped by hand agree; observations are asked for by nobody."""
    actor = PolicyActor(UniformPolicy())
    env, world = campaign(scenario), World(scenario, N, SEED)
    env.reset(seed=SEED)
    totals = env.run(actor)
    summed = np.zeros(N)
    for _ in range(DAYS):
        rewards, _, truncations, info = env.play(actor)
        happened = play(world, actor)
        assert rewards.tobytes() == happened.reward_usd.tobytes()
        assert info["action"].tobytes() == happened.action.tobytes()
        summed += rewards
    assert env.over
    assert truncations.any()
    assert totals.tobytes() == summed.tobytes()
    rewards, _, truncations, info = env.play(actor)
    assert not (rewards.any())
    assert not (truncations.any())
    assert not (info["action"].any())
    assert env.worlds[0].first == N


def test_step_and_play_can_be_mixed(scenario: Scenario) -> None:
    env, twin = campaign(scenario), campaign(scenario)
    for one in (env, twin):
        one.reset(seed=SEED)
    env.play(HoldActor())
    mine = env.step(np.ones(N, dtype=np.int32))
    twin.step(np.zeros(N, dtype=np.int32))
    theirs = twin.step(np.ones(N, dtype=np.int32))
    for one, other in zip(mine[:4], theirs[:4], strict=True):
        assert one.tobytes() == other.tobytes()


def test_never_sending_earns_the_organic_margin(scenario: Scenario) -> None:
    env = campaign(scenario, num_envs=500, days=30)
    env.reset(seed=SEED)
    totals = env.run(HoldActor())
    world, organic = World(scenario, 500, SEED), np.zeros(500)
    money = scenario.spec.money
    for _ in range(30):
        happened = world.advance(np.zeros(500, dtype=np.int32))
        organic += money.margin_share * (happened.organic_usd - happened.refund_usd) - happened.discount_usd
    np.testing.assert_allclose(totals, organic, atol=1e-9)


class MaskKeeper:
    """Sends the last action of each row's eligible set, and remembers that it was one."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        dense: BoolArray = turn.eligibility.dense()
        action = dense.shape[1] - 1 - dense[:, ::-1].argmax(axis=1)
        return action.astype(np.int32), np.ones(len(action))


def test_an_actor_of_ones_own_is_never_refused(scenario: Scenario) -> None:
    env = campaign(scenario)
    env.reset(seed=SEED)
    for _ in range(3):
        masks = env.action_masks()
        _, _, _, info = env.play(MaskKeeper())
        assert masks[np.arange(N), info["action"]].all()
        assert (info["action"] != HOLD).any()


def test_factors_and_masks_agree(scenario: Scenario) -> None:
    env = campaign(scenario, masks=True)
    _, info = env.reset(seed=SEED)
    dense = np.concatenate([factors.dense() for _, factors in env.eligibility()])
    deciding = info["deciding"]
    assert [rows.start for rows, _ in env.eligibility()] == list(range(0, N, 17))
    assert not deciding.all()
    assert deciding.any()
    assert info["action_mask"][deciding].tolist() == dense[deciding].tolist()
    assert info["action_mask"][~deciding].sum(axis=1).tolist() == [1] * int((~deciding).sum())


def test_made_by_gymnasium_with_warnings_as_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(CAMPAIGN, num_envs=5, days=3)
        env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
        observations, _ = env.reset(seed=1)
        assert observations in env.observation_space
        for _ in range(3):
            actions = env.action_space.sample()
            observations, _, _, _, info = env.step(actions)
        assert actions in env.action_space
        assert info["episode"]["l"].tolist() == [3] * 5
        env.close()


def test_what_is_asked_for_has_the_batched_shape(scenario: Scenario) -> None:
    env = campaign(scenario)
    assert env.observation_space.shape == (N, len(env.observation_names))
    assert env.action_space.nvec.tolist() == [len(env.action_names)] * N
    assert not env.over


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda env: CampaignEnv(0, scenario=env.scenario), "at least 1"),
        (lambda env: CampaignEnv(5, scenario=env.scenario, days=-1), "at least 1"),
        (lambda env: CampaignEnv(5, scenario=env.scenario, block_rows=0), "at least 1"),
        (lambda env: env.step(np.zeros(N, dtype=np.int32)), "reset"),
        (lambda env: env.play(HoldActor()), "reset"),
        (lambda env: env.reset(options={"contact": 3}), "reset_mask"),
        (lambda env: env.reset(options={"reset_mask": np.arange(N) < 3}), "reset_mask"),
        (lambda env: env.step(np.zeros(N - 1, dtype=np.int32)), "whole numbers"),
        (lambda env: env.step(np.zeros(N)), "whole numbers"),
        (lambda env: env.step(np.full(N, 49)), r"in \[0, 49\)"),
        (lambda env: env.step(np.full(N, -1)), r"in \[0, 49\)"),
    ],
    ids=[
        "empty", "days", "batch", "step-first", "play-first", "option", "part", "length", "floats", "large", "negative",
    ],
)  # fmt: skip
def test_bad_arguments_are_named(scenario: Scenario, call: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        call(campaign(scenario))
