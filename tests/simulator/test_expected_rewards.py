"""The closed form of a step's reward against the world's own draws, and against arithmetic by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.expected import expected_rewards, gains_of, kept, message_gains, organic_rewards
from simulator.scenario import load_scenario
from simulator.world.world import World


def residuals(world: World, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reward minus expected reward, and action, of `steps` steps of uniform actions."""
    rng, rows = np.random.default_rng(seed), np.arange(world.n)
    off, taken = [], []
    for _ in range(steps):
        action = rng.integers(0, world.catalog.k, world.n).astype(np.int32)
        expected = expected_rewards(world, rows)[rows, action]
        off.append(world.advance(action).reward_usd - expected)
        taken.append(action)
    return np.concatenate(off), np.concatenate(taken)


def test_rewards_that_are_drawn_average_to_the_closed_form() -> None:
    """With coupons in hand, bounces and opt-outs under way: overall, per channel, and per arm, within 4 errors."""
    world = World(load_scenario("newsletter"), 6000, 11)
    off, action = residuals(world, 8, 0)
    channel, _, arm = world.catalog.split(action)
    groups = [np.ones(len(off), dtype=bool), *(channel == c for c in range(-1, 3)), *(arm == a for a in range(4))]
    for group in groups:
        error = off[group].std() / np.sqrt(group.sum())
        assert abs(off[group].mean()) < 4.0 * error


def test_a_large_discount_is_priced_into_orders_and_coupons() -> None:
    """Big effects on a small world: everybody orders a lot, and the coupon arm goes to everybody."""
    changes: dict[str, Any] = {
        "population": {"order_rate_per_day": 0.3},
        "response": {"seen": {"email": 0.9}, "click": {"email": 0.8}, "order": {"email": 0.5}},
    }
    world = World(load_scenario("newsletter", changes), 4000, 5)
    coupon = world.catalog.resolve("email|9|ten_percent_off")
    for step in range(3):
        rows = np.arange(world.n)
        expected = expected_rewards(world, rows)[:, coupon]
        happened = world.advance(np.full(world.n, coupon, dtype=np.int32))
        off = happened.reward_usd - expected
        assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(world.n), step
    assert happened.discount_usd[happened.organic].any(), "coupons are used on orders that came by themselves"


def test_every_way_to_ask_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(load_scenario("newsletter"), 50, 3)
    for _ in range(3):
        world.advance(np.random.default_rng(1).integers(0, world.catalog.k, world.n).astype(np.int32))
    rows = np.array([4, 9, 30])
    table = expected_rewards(world, rows)
    np.testing.assert_allclose(table[:, 0], organic_rewards(world, rows))
    np.testing.assert_allclose(table[:, 1:] - table[:, :1], message_gains(world, rows), atol=1e-12)
    for action in (1, 17, world.catalog.k - 1):
        one = gains_of(world, rows, np.full(3, action))
        np.testing.assert_allclose(one, message_gains(world, rows)[:, action - 1], atol=1e-12)
    assert gains_of(world, rows, np.zeros(3, dtype=np.int64)).tolist() == [0.0, 0.0, 0.0]
    monkeypatch.setattr(World, "hour_moves_seen_only", False)
    np.testing.assert_allclose(expected_rewards(world, rows), table, atol=1e-12)


def test_the_shipped_response_keeps_its_word_about_hours() -> None:
    """`hour_moves_seen_only`: over the hours nothing but attention changes, and attention not with the arm."""
    world = World(load_scenario("newsletter"), 40, 3)
    assert world.hour_moves_seen_only
    rows = np.repeat(np.arange(world.n), world.catalog.k - 1)
    cells = world.cells(rows, np.tile(np.arange(1, world.catalog.k), world.n))
    chances = world.chances(cells)
    shape = (world.n, *world.catalog.shape)
    for name in ("clicked", "ordered", "unsubscribed", "complained", "delivered"):
        values = getattr(chances, name).reshape(shape)
        assert (values == values[:, :, :1]).all(), name
    seen = chances.seen.reshape(shape)
    assert (seen == seen[..., :1]).all()
    assert (seen != seen[:, :, :1]).any()


def test_what_is_left_of_a_dollar_by_hand() -> None:
    """Margin 0.5, 20 % off, a tenth of such orders come back: 0.3 * 0.9 = 0.27; without discount 0.5 * 0.95."""
    money = {"margin_share": 0.5, "refund_share": 0.05, "discount_refund_share": 0.1}
    world = World(load_scenario("newsletter", {"money": money}), 2, 1)
    np.testing.assert_allclose(kept(world, np.array([0.0, 0.2])), [0.475, 0.27])


@pytest.mark.parametrize("n", [1, 3])
def test_no_rows_and_few_rows(n: int) -> None:
    world = World(load_scenario("newsletter"), n, 1)
    assert expected_rewards(world, np.arange(0)).shape == (0, world.catalog.k)
    assert expected_rewards(world, np.arange(n)).shape == (n, world.catalog.k)
