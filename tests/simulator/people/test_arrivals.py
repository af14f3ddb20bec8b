"""What becomes known, and when: each event once, after its delay; late and lost ones where the feed is at fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.peers.constant import UniformPolicy
from simulator.people.people import NEVER
from simulator.rollout import PolicyActor, play
from simulator.world.world import World
from tests.simulator.worlds import neutral, send, world

UNIFORM = PolicyActor(UniformPolicy())
SOON = {
    "curves": {name: [[0.01, 1.0]] for name in ("seen", "clicked", "ordered", "unsubscribed", "complained", "bounced")}
}


def hold(block: World, steps: int) -> None:
    for _ in range(steps):
        block.advance(np.zeros(block.n, dtype=np.int32))


def test_every_event_becomes_known_once() -> None:
    """Reports add up to what happened, once the longest curve is over."""
    block = world("newsletter", 3000)
    did = dict.fromkeys(("unsubscribed", "complained", "bounced"), 0)
    told = dict(did)

    def heard() -> None:
        for name in told:
            told[name] += int(block.reported[name].sum())

    for _ in range(6):
        happened = play(block, UNIFORM)
        did["unsubscribed"] += int(happened.unsubscribed.sum())
        did["complained"] += int(happened.complained.sum())
        did["bounced"] += int(happened.bounced_hard.sum())
        heard()
    for _ in range(9):
        hold(block, 1)
        heard()
    assert told == did
    assert did["bounced"] > 5
    assert not any(step > block.state.step for step in block.state.arriving if step > block.state.step + 9)


def test_an_opt_out_that_is_known_takes_the_permission_and_only_that() -> None:
    block = world("newsletter", 4000, response={"unsubscribe": {"sms": 0.3}}, calibration=[])
    before = block.state.consent.copy()
    happened = block.advance(send(block, "sms", "social_proof"))
    left = np.zeros(block.n, dtype=np.bool_)
    left[happened.rows[happened.unsubscribed]] = True
    assert left.mean() > 0.1
    hold(block, 8)
    sms = block.catalog.channels.index("sms")
    np.testing.assert_array_equal(block.state.consent[left, sms, 0], 0)
    np.testing.assert_array_equal(block.state.consent[~left], before[~left])
    np.testing.assert_array_equal(block.state.consent[:, sms, 1], before[:, sms, 1])
    assert ((block.state.withdrew[:, sms] != -NEVER) == left).all()
    assert (block.state.withdrew[left, sms] > happened.step).all()


def test_a_bounce_or_complaint_that_is_known_suppresses_the_channel() -> None:
    block = world(
        "newsletter", 2000, response={"hard_bounce": {"email": 0.2}, "complaint": {"email": 0.1}}, calibration=[]
    )
    happened = block.advance(send(block, "email", "social_proof"))
    trouble = np.zeros(block.n, dtype=np.bool_)
    trouble[happened.rows[happened.bounced_hard | happened.complained]] = True
    hold(block, 9)
    np.testing.assert_array_equal(block.state.suppressed[:, 0] == 1, trouble)
    assert not block.state.suppressed[:, 1:].any()


def test_reactions_reset_the_streak_and_date_the_engagement() -> None:
    block = world("newsletter", 1500, delay=SOON, calibration=[])
    neutral(block)
    block.state.known.engaged[:] = -NEVER
    first = block.advance(send(block, "sms", "social_proof"))
    reacted = np.zeros(1500, dtype=np.bool_)
    reacted[first.rows[first.seen]] = True
    hold(block, 1)
    np.testing.assert_array_equal(block.state.known.engaged != -NEVER, reacted)
    np.testing.assert_array_equal(block.state.known.unopened, np.where(reacted, 0, 1))
    assert (block.state.known.reactions[reacted].sum(axis=1) > 0).all()
    assert not block.state.known.reactions[~reacted].any()


def share_known(**delay: Any) -> float:
    """Share of the orders of one step that the sender knows of after two more."""
    block = world("newsletter", 6000, delay=SOON | delay, calibration=[])
    neutral(block, order_rate=np.full(6000, 1.0))
    block.state.known.ordered[:] = -NEVER
    ordered = block.advance(np.zeros(6000, dtype=np.int32)).organic
    block.people.order_rate[:] = 0.0
    hold(block, 2)
    return float((block.state.known.ordered[ordered] != -NEVER).mean())


def test_feeds_that_lose_or_lag() -> None:
    """Nothing lost: all known within two days; 40 % lost: 60 %; 40 % three days late: 60 %; twice: as once."""
    assert share_known() == 1.0
    assert share_known(lost_share=0.4) == pytest.approx(0.6, abs=0.03)
    assert share_known(late_share=0.4, late_hours=72.0) == pytest.approx(0.6, abs=0.03)
    assert share_known(duplicate_share=1.0) == 1.0
    assert share_known(lost_share=1.0) == 0.0


def test_the_usual_hour_is_learnt_from_reactions() -> None:
    """Evening readers react in the evening, whenever the message came."""
    block = world("newsletter", 2000, calibration=[])
    for _ in range(8):
        block.advance(send(block, "sms", "social_proof"))
    counts = block.state.known.reactions
    reacted = counts.sum(axis=1) > 2
    evening = counts[:, 3] / np.maximum(counts.sum(axis=1), 1e-9)
    kinds = block.people.hour_kind
    assert evening[reacted & (kinds == 1)].mean() > evening[reacted & (kinds == 0)].mean() + 0.2
