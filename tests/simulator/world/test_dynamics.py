"""How contacts change: stocks, intent, stages and orders of their own, by hand and in their directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, ParameterError
from simulator.people.people import ACTIVE, GONE, LAPSED, LAPSING, ONBOARDING
from simulator.scenario import make_part
from simulator.world.dynamics import ShopperDynamics
from simulator.world.world import World
from tests.simulator.worlds import neutral, send, world

HOLD = np.zeros(1, dtype=np.int32)


def quiet(n: int = 1, **dynamics: Any) -> World:
    """Average contacts to whom nothing happens by itself unless it is asked for."""
    off = {
        "intent_on": 0.0, "intent_off": 0.0, "onboarding_ends": 0.0, "lapses": 0.0, "lapses_further": 0.0,
        "leaves": 0.0, "gone_per_order": 0.0, "address_dies": 0.0, "browses": 0.0, "browses_with_intent": 0.0,
        "ticket": 0.0, "motive_changes": 0.0, "fatigue_half_life_days": {"email": 7.0, "sms": 7.0, "push": 7.0},
        "pressure_weight": {"email": 1.0, "sms": 1.5, "push": 0.8}, "irritation": 0.002,
    }  # fmt: skip
    one = world("newsletter", n, calibration=[], dynamics=off | dynamics, calendar={"yearly_peak": 0.0})
    neutral(one)
    return one


def hold(block: World, steps: int = 1) -> None:
    for _ in range(steps):
        block.advance(np.zeros(block.n, dtype=np.int32))


def test_stocks_by_hand() -> None:
    """One text: F_sms = 1 * 2^(-1/7), G = 1.5 * 2^(-1/7), e-mail 0; six more days: 1/2 and 0.75."""
    block = quiet()
    block.advance(send(block, "sms", "social_proof"))
    left = 2.0 ** (-1.0 / 7.0)
    np.testing.assert_allclose(block.state.fatigue[0], [0.0, left, 0.0])
    np.testing.assert_allclose(block.state.pressure, 1.5 * left)
    hold(block, 6)
    np.testing.assert_allclose(block.state.fatigue[0], [0.0, 0.5, 0.0])
    np.testing.assert_allclose(block.state.pressure, 0.75)


def test_orders_without_messages_by_hand() -> None:
    """Rate 0.01; intent 5 times, habit 2: e^(-0.06), pressure 10: e^(-0.2), lapsed 0.15; gone, not yet there: none."""
    block = quiet(6)
    state = block.state
    state.intent[1] = True
    state.habit[2] = 2.0
    state.pressure[3] = 10.0
    state.stage[4], state.stage[5] = LAPSED, GONE
    rate = 0.01 * np.array([1.0, 5.0, np.exp(-0.06), np.exp(-0.2), 0.15, 0.0])
    np.testing.assert_allclose(block.organic(), -np.expm1(-rate))
    state.finished[1] = True
    block.people.join_day[0] = 1.0
    assert not block.organic()[:2].any()


def test_a_seen_discount_builds_the_habit_and_leaves_a_coupon() -> None:
    """Depth 0.1 is one unit, half of it is left after 60 days; who did not see it keeps buying at full price."""
    block = quiet(400)
    happened = block.advance(send(block, "sms", "ten_percent_off"))
    seen = np.zeros(400, dtype=np.bool_)
    seen[happened.rows[happened.seen]] = True
    assert 0 < seen.sum() < 400
    np.testing.assert_allclose(block.state.habit, np.where(seen, 2.0 ** (-1 / 60), 0.0))
    assert (block.state.coupon_until[seen] == 3).all()
    assert (block.state.coupon_until[~seen] < 0).all()
    hold(block, 59)
    np.testing.assert_allclose(block.state.habit[seen], 0.5)


def test_intent_comes_goes_and_ends_with_an_order() -> None:
    """Within a day 1 - e^(-0.5) = 0.393 get it and, of those with it, 1 - e^(-1) = 0.632 lose it."""
    block = quiet(20_000, intent_on=0.5, intent_off=1.0)
    block.people.order_rate[:] = 0.0
    block.state.intent[:10_000] = True
    hold(block)
    assert block.state.intent[10_000:].mean() == pytest.approx(1 - np.exp(-0.5), abs=0.02)
    assert block.state.intent[:10_000].mean() == pytest.approx(np.exp(-1.0), abs=0.02)
    block.people.order_rate[:] = 1e6
    hold(block)
    assert not block.state.intent.any()


def test_intent_comes_more_often_near_a_due_day() -> None:
    """Five times the rate within a week of it: 1 - e^(-0.2) against 1 - e^(-0.04)."""
    block = quiet(20_000, intent_on=0.04)
    block.people.order_rate[:] = 0.0
    block.state.due_day[:10_000] = 7.0
    block.state.due_day[10_000:] = 9.0
    hold(block)
    assert block.state.intent[:10_000].mean() == pytest.approx(1 - np.exp(-0.2), abs=0.015)
    assert block.state.intent[10_000:].mean() == pytest.approx(1 - np.exp(-0.04), abs=0.008)


def test_stages_move_on_and_an_order_brings_back() -> None:
    block = quiet(4, onboarding_ends=1e6, lapses=1e6, lapses_further=1e6, leaves=1e6)
    block.people.order_rate[:] = 0.0
    block.state.stage[:] = [ONBOARDING, ACTIVE, LAPSING, LAPSED]
    hold(block)
    assert block.state.stage.tolist() == [ACTIVE, LAPSING, LAPSED, GONE]
    back = quiet(4)
    back.people.order_rate[:] = 1e6
    back.state.stage[:] = [ONBOARDING, ACTIVE, LAPSING, LAPSED]
    hold(back)
    assert (back.state.stage == ACTIVE).all()
    assert (back.state.ordered == 0).all()


def test_whoever_is_gone_neither_reads_nor_buys() -> None:
    block = quiet(500)
    block.state.stage[:] = GONE
    for _ in range(3):
        happened = block.advance(send(block, "sms", "ten_percent_off"))
        assert not happened.seen.any()
        assert not happened.organic.any()
    assert (block.state.stage == GONE).all()


def test_after_an_order_some_never_come_back() -> None:
    block = quiet(5000, gone_per_order=0.3)
    block.people.order_rate[:] = 1e6
    hold(block)
    assert (block.state.stage == GONE).mean() == pytest.approx(0.3, abs=0.03)


def test_once_means_once() -> None:
    block = quiet(50, once=True)
    block.people.order_rate[:] = 1e6
    first = block.advance(np.zeros(50, dtype=np.int32))
    assert first.organic.all()
    assert block.state.finished.all()
    assert not block.advance(np.zeros(50, dtype=np.int32)).organic.any()


def test_a_cycle_starts_anew_with_an_order_and_after_waiting_in_vain() -> None:
    block = world("replenishment", 300, calibration=[])
    state, cycle = block.state, block.people.cycle_days
    block.people.order_rate[:] = 1e6
    hold(block)
    here = block.people.join_day <= 0
    np.testing.assert_allclose(state.due_day[here], cycle[here])
    block.people.order_rate[:] = 0.0
    due = state.due_day.copy()
    # Due with 7 days around: a refill that is more than 14 days late is bought elsewhere.
    block.state.due_day[:] = -14.0
    hold(block)
    np.testing.assert_allclose(block.state.due_day[here], -14.0 + cycle[here])
    assert due[here].min() > 0


def test_lists_decay_and_carts_are_left() -> None:
    block = quiet(20_000, address_dies=0.05, browses=0.7, cart_share=0.3)
    block.people.order_rate[:] = 0.0
    hold(block)
    assert (~block.state.reachable).any(axis=1).mean() == pytest.approx(0.05, abs=0.01)
    assert ((~block.state.reachable).sum(axis=1) <= 1).all()
    visited = block.state.browsed == 0
    assert visited.mean() == pytest.approx(1 - np.exp(-0.7), abs=0.02)
    assert (block.state.cart_usd > 0)[visited].mean() == pytest.approx(0.3, abs=0.02)
    assert not block.state.cart_usd[~visited].any()


def test_tickets_stay_open_for_their_days() -> None:
    block = quiet(5000, ticket=0.2, ticket_days=4.0)
    hold(block)
    opened = block.state.tickets > 0
    assert opened.mean() == pytest.approx(0.2, abs=0.03)
    assert (block.state.ticket_until[opened] == 4).all()


def test_motives_drift() -> None:
    block = quiet(5000, motive_changes=0.4)
    before = block.state.motive.copy()
    hold(block)
    # A new motive is drawn among all four, so a quarter of the changes change nothing.
    assert (block.state.motive != before).mean() == pytest.approx(0.4 * 0.75, abs=0.03)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"fatigue_half_life_days": {"email": 0}}, "fatigue_half_life_days"),
        ({"pressure_half_life_days": -1}, "pressure_half_life_days"),
        ({"pressure_weight": {"sms": -1}}, "pressure_weight"),
        ({"irritation": -0.1}, "irritation"),
        ({"habit_half_life_days": 0}, "habit_half_life_days"),
        ({"intent_on": -1}, "intent_on"),
        ({"stage_demand": {"new": 1}}, "stage_demand"),
        ({"gone_per_order": 2}, "gone_per_order"),
        ({"cart_share": -0.5}, "cart_share"),
        ({"once": "maybe"}, "once"),
        ({"karma": 1}, "karma"),
    ],
    ids=lambda value: value if isinstance(value, str) else "value",
)
def test_wrong_dynamics_are_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        make_part("dynamics", params)
    assert caught.value.hint


def test_a_channel_without_numbers_is_named() -> None:
    fax = Catalog(name="x", channels=("fax",), hours=(9,), arms=(Arm(id="a", approved=True),))
    with pytest.raises(ParameterError, match="fax"):
        ShopperDynamics().bind(fax)
