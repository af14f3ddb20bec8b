"""The picture of a contact: it is drawn, it changes with what happened, and Gymnasium can record it."""

from __future__ import annotations

import gymnasium
import numpy as np

from simulator.envs import SUBSCRIBER, SubscriberEnv
from simulator.envs.picture import DPI, SIZE_INCHES

SHAPE = (int(SIZE_INCHES[1] * DPI), int(SIZE_INCHES[0] * DPI), 3)


def env_of(mode: str | None = "rgb_array") -> SubscriberEnv:
    return SubscriberEnv(days=30, render_mode=mode)


def allowed_send(env: SubscriberEnv) -> np.int64:
    return np.int64(np.flatnonzero(env.action_masks())[-1])


def test_a_picture_before_during_and_after() -> None:
    env = env_of()
    env.reset(seed=3, options={"contact": 4})
    frames = [env.render()]
    for _ in range(5):
        _, _, terminated, _, _ = env.step(allowed_send(env))
    frames.append(env.render())
    assert not terminated
    for frame in frames:
        assert frame.shape == SHAPE
        assert frame.dtype == np.uint8
        assert (frame == 255).mean() > 0.5  # mostly paper
    assert (frames[0] != frames[1]).any()


def test_the_same_life_gives_the_same_picture_and_silence_another() -> None:
    drawn = []
    for sends in (True, True, False):
        env = env_of()
        env.reset(seed=3, options={"contact": 4})
        for _ in range(10):
            env.step(allowed_send(env) if sends else np.int64(0))
        drawn.append(env.render())
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


def test_the_timeline_notes_what_was_sent() -> None:
    env = env_of()
    env.reset(seed=3, options={"contact": 4})
    stories = []
    for _ in range(15):
        action = allowed_send(env)
        _, reward, *_, info = env.step(action)
        stories.append((int(action), reward, info["happened"]))
    timeline = env._timeline
    assert timeline is not None
    assert [message.step for message in timeline.messages] == [
        step for step, (action, *_) in enumerate(stories) if action
    ]
    assert [story["reward_usd"] for story in timeline.stories] == [reward for _, reward, _ in stories]
    channels, _, _ = env.scenario.catalog.split(np.array([action for action, *_ in stories if action]))
    assert [message.channel for message in timeline.messages] == channels.tolist()
    assert {message.hour for message in timeline.messages} <= set(env.scenario.catalog.hours)
    assert timeline.pressure[0] == 0.0
    assert max(timeline.pressure) > 0.0


def test_without_a_mode_nothing_is_drawn() -> None:
    env = env_of(None)
    env.reset(seed=1)
    assert env.render() is None


def test_every_fate_can_be_drawn() -> None:
    env = env_of()
    env.reset(seed=3, options={"contact": 4})
    for _ in range(6):
        env.step(allowed_send(env))
    timeline = env._timeline
    assert timeline is not None
    assert timeline.messages
    plain = env.render()
    story = timeline.stories[timeline.messages[0].step]
    for change in (
        {"delivered": False},
        {"delivered": True, "seen": True, "clicked": True},
        {"unsubscribed": True},
        {"complained": True},
        {"message_order": True, "order_usd": 40.0},
        {"organic": True, "organic_usd": 40.0},
    ):
        kept = dict(story)
        story |= {"delivered": True, "seen": False, "clicked": False} | change
        assert (env.render() != plain).any() or change == {}
        story.clear()
        story |= kept


def test_gymnasiums_own_recorder_takes_the_frames() -> None:
    env = gymnasium.wrappers.RenderCollection(gymnasium.make(SUBSCRIBER, days=5, render_mode="rgb_array"))
    env.reset(seed=1)
    env.step(0)
    frames = env.render()
    assert len(frames) == 2
    assert frames[0].shape == SHAPE
