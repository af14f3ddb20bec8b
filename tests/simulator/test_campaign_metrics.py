"""The sixteen metrics by hand on one step, n/a where an input is missing, and merging."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ParameterError
from simulator.metrics import CONVERSIONS, LAYERS, TIRED_STREAK, Metrics, conversion_of
from simulator.people.people import MOTIVES
from simulator.scenario import load_scenario
from simulator.world.happened import Happened
from simulator.world.world import World

N = 8


@pytest.fixture
def world() -> World:
    return World(load_scenario("newsletter"), N, 1)


def one_step(world: World) -> Happened:
    """Six messages: e-mails to 0-3, SMS to 4 and 5; contact 7 orders by itself at a coupon of ten percent."""
    names = ["email|9|new_arrivals"] * 3 + ["email|9|ten_percent_off", "sms|12|time_saver", "sms|12|time_saver"]
    action = np.zeros(N, dtype=np.int32)
    action[:6] = [world.catalog.resolve(name) for name in names]
    channel, hour, arm = world.catalog.split(action[:6])

    def six(*where: int) -> np.ndarray:
        flags = np.zeros(6, dtype=np.bool_)
        flags[list(where)] = True
        return flags

    def usd(**where: float) -> np.ndarray:
        values = np.zeros(N)
        for key, value in where.items():
            values[int(key[1:])] = value
        return values

    ordered, organic = np.zeros(N, dtype=np.bool_), np.zeros(N, dtype=np.bool_)
    ordered[3] = organic[7] = True
    return Happened(
        step=0,
        action=action,
        rows=np.arange(6),
        channel=channel,
        hour_slot=hour,
        arm=arm,
        send_at=np.ones(6, dtype=np.int64),
        bounced_hard=six(0),
        bounced_soft=six(5),
        delivered=six(1, 2, 3, 4),
        seen=six(1, 3, 4),
        clicked=six(3),
        replied=six(4),
        unsubscribed=six(2),
        complained=six(1),
        message_order=six(3),
        ordered=ordered,
        organic=organic,
        order_usd=usd(c3=40.0),
        organic_usd=usd(c7=60.0),
        discount_usd=usd(c3=4.0, c7=6.0),
        refund_usd=usd(c7=20.0),
        cost_usd=usd(c0=1.0, c1=1.0, c2=1.0, c3=1.0, c4=2.0, c5=2.0),
        reward_usd=usd(c3=10.0, c1=-5.0),
    )


def after(world: World, happened: Happened) -> None:
    """What the world would remember of it."""
    world.state.sends.append(happened.rows, happened.send_at, happened.channel, happened.arm)
    world.state.known.unopened[:2] = TIRED_STREAK
    world.state.known.unopened[6] = 99  # never written to: cannot be tired
    world.state.motive[:] = MOTIVES.index("trust")
    world.state.motive[0] = MOTIVES.index("price")


def test_every_metric_by_hand(world: World) -> None:
    happened = one_step(world)
    after(world, happened)
    metrics = Metrics("order")
    metrics.add(happened, world)
    assert metrics.layers() == {
        "delivery": {"inbox_placement": 4 / 6, "bounce_rate": 2 / 6, "complaint_rate": 1 / 4, "sms_delivery": 1 / 2},
        "engagement": {"open_rate": 2 / 3, "click_rate": 1 / 4, "reply_rate": 1 / 4, "read_rate": 3 / 4},
        "conversion": {"purchases": 2 / 8, "demo_bookings": None, "activations": None, "renewals": None},
        "efficiency": {
            "revenue_per_send": 40 / 6,
            "unsubscribe_rate": 1 / 4,
            "cost_per_conversion": 18.0,
            "list_fatigue": 2 / 6,
        },
    }
    # Five first messages went to contacts who are not moved by price, one of them with a discount.
    assert metrics.honesty() == {
        "discount_share": 1.0,
        "refund_share": 0.2,
        "discount_on_first_touch_to_non_price_motive": 1 / 5,
    }
    assert metrics.money("reward") == 5.0


def test_missing_inputs_are_not_zero(world: World) -> None:
    """A silent step: nothing but conversions is known, and they are a true zero; without contacts not even they."""
    assert [
        name for names in Metrics("order").layers().values() for name, value in names.items() if value is not None
    ] == []
    metrics = Metrics("order")
    metrics.add(world.advance(np.zeros(N, dtype=np.int32)), world)
    known = {name: value for names in metrics.layers().values() for name, value in names.items() if value is not None}
    assert set(known) == {"purchases"}


def test_no_sms_means_no_sms_delivery() -> None:
    """Sends on other channels are no SMS that failed."""
    world = World(load_scenario("newsletter"), 50, 1)
    metrics = Metrics("order")
    action = np.full(50, world.catalog.resolve("email|9|new_arrivals"), dtype=np.int32)
    metrics.add(world.advance(action), world)
    assert metrics.layers()["delivery"]["inbox_placement"] is not None
    assert metrics.layers()["delivery"]["sms_delivery"] is None


def test_merged_blocks_are_the_whole() -> None:
    scenario = load_scenario("newsletter")
    rng = np.random.default_rng(0)
    whole, batches = World(scenario, 90, 4), [World(scenario, 40, 4), World(scenario, 50, 4, first=40)]
    total, parts = Metrics("order"), [Metrics("order"), Metrics("order")]
    for _ in range(20):
        action = rng.integers(0, whole.catalog.k, 90).astype(np.int32)
        total.add(whole.advance(action), whole)
        for part, world, own in zip(parts, batches, (action[:40], action[40:]), strict=True):
            part.add(world.advance(own), world)
    parts[1].merge(parts[0])
    assert parts[1].counts == total.counts
    assert parts[1].layers() == total.layers()
    assert parts[1].honesty() == total.honesty()
    with pytest.raises(ParameterError, match="of outcome 'order'"):
        total.merge(Metrics("renewal"))


def test_sixteen_metrics_in_four_layers() -> None:
    assert [len(names) for names in LAYERS.values()] == [4, 4, 4, 4]
    assert LAYERS["conversion"] == CONVERSIONS


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("order", "purchases"), ("refill", "purchases"), ("activation", "activations"), ("activated", "activations"),
     ("renewal", "renewals"), ("demo booking", "demo_bookings")],
)  # fmt: skip
def test_the_use_case_decides_what_a_conversion_is(outcome: str, expected: str) -> None:
    assert conversion_of(outcome) == expected
    assert [name for name, value in Metrics(outcome).layers()["conversion"].items() if value is not None] == []
