"""The world: the same in any block, money that adds up, silence that costs nothing, and wrong calls."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.time.localtime import local_us
from engine.types import HOLD
from policies.peers.constant import UniformPolicy
from simulator.rollout import HoldActor, PolicyActor, play, turn_of
from simulator.scenario import load_scenario
from simulator.world.happened import Happened
from simulator.world.world import World
from tests.simulator.worlds import neutral, send, world

UNIFORM = PolicyActor(UniformPolicy())


def run(block: World, steps: int = 6) -> list[Happened]:
    return [play(block, UNIFORM) for _ in range(steps)]


def by_contact(block: World, happened: Happened) -> dict[str, np.ndarray]:
    """What a step brought, keyed so that blocks can be compared."""
    out = {name: np.asarray(getattr(happened, name)) for name in ("action", "ordered", "organic", "reward_usd")}
    for name in ("seen", "clicked", "unsubscribed", "complained", "replied", "bounced_hard", "send_at"):
        wide = np.zeros(block.n, dtype=np.int64)
        wide[happened.rows] = getattr(happened, name)
        out[name] = wide
    return out


@settings(max_examples=6)
@given(st.sampled_from(["newsletter", "onboarding", "cross_sell"]), st.integers(1, 79), st.integers(0, 1000))
def test_blocks_of_any_size_give_the_same_world(name: str, cut: int, first: int) -> None:
    scenario = load_scenario(name)
    whole = World(scenario, 80, 4, first=first)
    parts = [World(scenario, cut, 4, first=first), World(scenario, 80 - cut, 4, first=first + cut)]
    for _ in range(6):
        together = by_contact(whole, play(whole, UNIFORM))
        apart = [by_contact(part, play(part, UNIFORM)) for part in parts]
        for key, values in together.items():
            np.testing.assert_array_equal(values, np.concatenate([part[key] for part in apart]), err_msg=key)


def test_the_same_seed_is_the_same_life_and_reset_begins_it_anew() -> None:
    block, again, other = world(seed=3), world(seed=3), world(seed=4)
    first = run(block)
    for left, right in zip(first, run(again), strict=True):
        for field in fields(Happened):
            np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))
    assert any((a.action != b.action).any() for a, b in zip(first, run(other), strict=True))
    block.reset()
    assert block.state.step == 0
    for left, right in zip(first, run(block), strict=True):
        np.testing.assert_array_equal(left.reward_usd, right.reward_usd)


def test_another_luck_is_another_future_of_the_same_contacts() -> None:
    scenario = load_scenario("newsletter")
    one, two = World(scenario, 300, 1), World(scenario, 300, 1, luck=1)
    np.testing.assert_array_equal(one.people.motive, two.people.motive)
    np.testing.assert_array_equal(one.state.ordered, two.state.ordered)
    assert any((a.organic != b.organic).any() for a, b in zip(run(one), run(two), strict=True))


def test_money_adds_up_by_hand() -> None:
    """Reward = 0.45 (orders - refunds) - discounts - costs - 1 per opt-out - 5 per complaint, contact by contact."""
    block = world("newsletter", 3000, seed=2)
    money = block.scenario.spec.money
    for _ in range(5):
        one = play(block, UNIFORM)
        expected = money.margin_share * (one.order_usd + one.organic_usd - one.refund_usd)
        expected -= one.discount_usd + one.cost_usd
        expected[one.rows] -= money.unsubscribe_usd * one.unsubscribed + money.complaint_usd * one.complained
        np.testing.assert_allclose(one.reward_usd, expected)
        assert (one.order_usd[~one.ordered] == 0).all()
        assert (one.organic_usd[~one.organic] == 0).all()
        assert (one.cost_usd[one.action == HOLD] == 0).all()
        prices = np.array([money.send_cost_usd[name] for name in block.catalog.channels])
        np.testing.assert_allclose(one.cost_usd[one.rows], prices[one.channel])
        assert (one.discount_usd <= 0.1 * (one.order_usd + one.organic_usd) + 1e-12).all()


def test_baskets_have_the_contacts_mean() -> None:
    """0.4 to 1.6 times the contact's own mean, evenly: 50 USD on average."""
    block = world("newsletter", 20_000)
    neutral(block, order_rate=np.full(20_000, 1e6))
    block.people.join_day[:] = -1.0
    one = block.advance(np.zeros(block.n, dtype=np.int32))
    assert one.organic.all()
    assert one.organic_usd.mean() == pytest.approx(50.0, rel=0.01)
    assert one.organic_usd.min() >= 20.0
    assert one.organic_usd.max() <= 80.0
    assert (one.refund_usd > 0).mean() == pytest.approx(0.08, abs=0.01)


def test_an_event_needs_the_one_before() -> None:
    block = world("newsletter", 3000)
    for one in run(block, 4):
        assert not (one.delivered & (one.bounced_hard | one.bounced_soft)).any()
        for later, earlier in (("seen", "delivered"), ("clicked", "seen"), ("message_order", "clicked")):
            assert not (getattr(one, later) & ~getattr(one, earlier)).any()
        for name in ("replied", "unsubscribed", "complained"):
            assert not (getattr(one, name) & ~one.delivered).any()
        np.testing.assert_array_equal(one.ordered[one.rows], one.message_order)


def test_silence_is_the_organic_world() -> None:
    """Nothing is sent: no stock, no opt-out, the same orders whoever else acts with HOLD, and no cost."""
    silent, held = world(), world()
    for _ in range(8):
        left, right = play(silent, HoldActor()), held.advance(np.zeros(held.n, dtype=np.int32))
        np.testing.assert_array_equal(left.organic_usd, right.organic_usd)
        assert not len(left.rows)
        assert not left.cost_usd.any()
        assert not left.ordered.any()
    assert not silent.state.fatigue.any()
    np.testing.assert_array_equal(silent.state.consent, silent.people.consent)


def test_orders_come_as_often_as_their_chance_says() -> None:
    block = world("newsletter", 20_000)
    for _ in range(4):
        chance = block.organic()
        found = block.advance(np.zeros(block.n, dtype=np.int32)).organic
        spread = np.sqrt((chance * (1 - chance)).sum())
        assert abs(found.sum() - chance.sum()) < 4 * spread


def test_messages_are_planned_for_the_hour_of_the_contacts_own_clock() -> None:
    block = world("newsletter", 300)
    hours = block.catalog.hours
    for slot, hour in enumerate(hours):
        one = block.advance(send(block, "email", "social_proof", slot))
        here = block.people.zone_code >= 0
        for code in np.unique(block.people.zone_code[here]):
            rows = block.people.zone_code == code
            local = local_us(block.people.zones[code], one.send_at[rows]) // 3_600_000_000 % 24
            assert (local == hour).all()
        now = one.step * 86_400_000_000 + 1_788_271_200_000_000
        assert (one.send_at >= now).all()
        assert (one.send_at - now <= 86_400_000_000).all()


def test_what_is_remembered_of_sends_is_what_was_sent() -> None:
    block = world("newsletter", 200)
    actions = [play(block, UNIFORM).action for _ in range(7)]
    sent = np.array(actions) != HOLD
    np.testing.assert_array_equal(block.state.sends.count, sent.sum(axis=0))
    np.testing.assert_array_equal((block.state.sends.at > 0).sum(axis=1), sent.sum(axis=0))
    _, _, arms = block.catalog.split(actions[-1])
    last = sent[-1]
    np.testing.assert_array_equal(block.state.sends.arm[last, -1], arms[last])
    assert (np.diff(np.where(block.state.sends.at > 0, block.state.sends.at, 0), axis=1) >= 0).all()
    assert block.state.sends.since(block.moment.now_at).sum() <= sent[-2:].sum()


def test_with_several_steps_a_day_sends_stay_in_order() -> None:
    """A message may be planned for tomorrow morning at 14:00, and the next one for this evening six hours later."""
    block = world("newsletter", 200, guardrails="permission", calendar={"step_hours": 6.0})
    planned: list[list[int]] = [[] for _ in range(200)]
    for _ in range(10):
        one = play(block, UNIFORM)
        for row, at in zip(one.rows, one.send_at, strict=True):
            planned[row].append(int(at))
    assert any(sorted(own) != own for own in planned)
    for row, own in enumerate(planned):
        found = block.state.sends.at[row]
        assert found[found > 0].tolist() == sorted(own)


def test_a_policy_never_chooses_what_the_rules_removed() -> None:
    block = world("newsletter", 500)
    for _ in range(5):
        turn = turn_of(block)
        action, propensity = UNIFORM.act(turn)
        dense = turn.eligibility.dense()
        assert dense[np.arange(len(action)), action].all()
        np.testing.assert_allclose(propensity, 1.0 / dense.sum(axis=1))
        full = np.zeros(block.n, dtype=np.int32)
        full[turn.rows] = action
        block.advance(full)


@pytest.mark.parametrize(
    "action",
    [np.zeros(3, dtype=np.int32), np.full(400, -1, dtype=np.int32), np.full(400, 9_999, dtype=np.int32)],
    ids=["too few", "below zero", "not in the catalog"],
)
def test_a_wrong_action_is_named(action: np.ndarray) -> None:
    block = world()
    with pytest.raises(ParameterError, match="action"):
        block.advance(action)
    assert block.state.step == 0


def test_a_world_needs_somebody() -> None:
    with pytest.raises(ParameterError, match="at least 1"):
        World(load_scenario("newsletter"), 0, 1)
