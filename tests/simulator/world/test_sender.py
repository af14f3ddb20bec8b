"""The sender's side: counts add up in any order, conditions follow from them, brakes trip and let go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.guardrails.brakes import tiers_on
from engine.time.localtime import DAY_US
from policies.peers.constant import UniformPolicy
from simulator.rollout import HoldActor, PolicyActor
from simulator.scenario import Scenario, load_scenario, with_faults
from simulator.world.sender import COUNTED, Counts, Ledger, Sender, campaign, nothing_on
from simulator.world.world import World

CHANNELS = ("email", "sms", "push")
UNIFORM = PolicyActor(UniformPolicy())


def counts(day: int, **by_name: tuple[int, int, int]) -> Counts:
    return Counts(day, {name: by_name.get(name, (0, 0, 0)) for name in COUNTED})


@pytest.fixture(scope="module")
def sender() -> Sender:
    scenario = load_scenario("newsletter", {"guardrails": "full"})
    return Sender(World(scenario, 1, 0).guardrails, "newsletter")


def test_conditions_by_hand(sender: Sender) -> None:
    """Days 10, 11, 12 with 5, 7 and 9 promotional e-mails: on day 13 yesterday is 9 and seven days are 21."""
    days = [counts(day, sent=(n + 1, 0, 2), promotional=(n, 0, 0)) for day, n in ((10, 5), (11, 7), (12, 9))]
    said = sender.conditions(sender.replayed(days), 13 * DAY_US)
    assert said.sent_today == {"email": 0, "sms": 0, "push": 0}
    assert said.sent_yesterday == {"email": 9, "sms": 0, "push": 0}
    assert said.sent_7d == {"email": 21, "sms": 0, "push": 0}
    assert said.health is not None
    assert said.health["email"].sent == 24
    assert said.health["push"].sent == 6
    assert said.killed is False
    assert said.use_case == "newsletter"


def test_seven_days_end_after_seven_days(sender: Sender) -> None:
    """Of 1 a day on days 0 to 9, days 3 to 9 are inside on day 9 and days 4 to 9 on day 10."""
    ledger = sender.replayed([counts(day, sent=(1, 0, 0), promotional=(1, 0, 0)) for day in range(10)])
    assert (sender.conditions(ledger, 9 * DAY_US).sent_7d or {})["email"] == 7
    assert (sender.conditions(ledger, 10 * DAY_US).sent_7d or {})["email"] == 6
    assert (sender.conditions(ledger, 9 * DAY_US).sent_today or {})["email"] == 1
    assert (sender.conditions(ledger, 9 * DAY_US).health or {})["email"].sent == 7


def test_parts_of_a_day_are_one_day(sender: Sender) -> None:
    whole = sender.replayed([counts(3, sent=(10, 0, 0)), counts(4, sent=(9, 0, 0), complaints=(3, 0, 0))])
    parts = sender.replayed(
        [counts(3, sent=(10, 0, 0)), counts(4, sent=(4, 0, 0), complaints=(3, 0, 0)), counts(4, sent=(5, 0, 0))]
    )
    assert whole == parts
    with pytest.raises(ParameterError, match="day 4"):
        sender.after(whole, counts(3))


NUMBERS = st.tuples(*[st.integers(0, 10_000)] * 3)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COUNTED, NUMBERS)), min_size=1, max_size=5), st.randoms())
def test_counts_add_up_in_any_order(batches: list[dict[str, Any]], order: Any) -> None:
    shuffled = list(batches)
    order.shuffle(shuffled)
    first = sum((Counts(1, batch) for batch in batches), nothing_on(1, 3))
    second = sum((Counts(1, batch) for batch in shuffled), nothing_on(1, 3))
    assert first == second
    assert Counts(**first.to_builtins()) == Counts(1, {name: list(v) for name, v in first.by_channel.items()})


def test_a_brake_goes_on_at_once_and_off_after_straight_days(sender: Sender) -> None:
    """60 complaints of 8,000 prove more than 0.30 %; forgotten on day 8, and seven days below end on day 14."""
    rules = [rule for _, rule in World(load_scenario("newsletter", {"guardrails": "full"}), 1, 0).guardrails.rules]

    def tier(ledger: Ledger, day: int) -> str | None:
        return tiers_on(rules, sender.conditions(ledger, day * DAY_US)).get("email complaints")

    ledger = sender.after(Ledger(), counts(0, sent=(4000, 0, 0)))
    assert tier(ledger, 1) is None
    ledger = sender.after(ledger, counts(1, sent=(4000, 0, 0), complaints=(60, 0, 0)))
    assert tier(ledger, 2) == "hard"
    seen = {}
    for day in range(2, 17):
        ledger = sender.after(ledger, counts(day))
        seen[day] = tier(ledger, day + 1)
    assert [day for day, one in seen.items() if one == "hard"] == list(range(2, 14))
    assert {one for day, one in seen.items() if day > 13} == {None}


def spiky(n: int, first: int = 0) -> World:
    scenario = with_faults(load_scenario("newsletter", {"guardrails": "full"}), "complaint_spike", "channel_outage")
    return World(scenario, n, 3, first=first)


def test_blocks_and_their_order_do_not_matter() -> None:
    whole = [(one.conditions, one.ledger) for one in campaign([spiky(900)], UNIFORM, 10)]
    parts = [spiky(250), spiky(650, first=250)]
    cut = [(one.conditions, one.ledger) for one in campaign(parts, UNIFORM, 10)]
    turned = [(one.conditions, one.ledger) for one in campaign([spiky(650, first=250), spiky(250)], UNIFORM, 10)]
    assert whole == cut == turned
    assert sum(sum(one.by_channel["sent"]) for one in whole[-1][1].days) > 500


def test_an_outage_is_seen_as_filtering_and_stops_the_channel() -> None:
    batch = World(with_faults(load_scenario("newsletter", {"guardrails": "full"}), "channel_outage"), 4000, 3)
    sms = CHANNELS.index("sms")
    sent: list[int] = []
    for one in campaign([batch], UNIFORM, 11):
        sent.append(int((one.happened[0].channel == sms).sum()))
        today = one.ledger.days[-1]
        down = 7 <= one.happened[0].step < 10
        assert today.by_channel["carrier_filtered"][sms] <= today.by_channel["sent"][sms]
        hard = int((one.happened[0].bounced_hard & (one.happened[0].channel == sms)).sum())
        assert not down or today.by_channel["carrier_filtered"][sms] == sent[-1] - hard
        assert down or not today.by_channel["carrier_filtered"][sms]
    assert sent[7] > 100
    assert sent[8] == sent[9] == sent[10] == 0
    assert one.ledger.held["sms", "carrier_filtered"].tier == "stop"


def test_a_complaint_spike_trips_the_brakes_of_the_full_pack() -> None:
    scenario: Scenario = with_faults(load_scenario("newsletter", {"guardrails": "full"}), "complaint_spike")
    batch = World(scenario, 6000, 3)
    email = CHANNELS.index("email")
    steps = list(campaign([batch], UNIFORM, 13))
    rules = [rule for _, rule in batch.guardrails.rules]
    on = [tiers_on(rules, one.conditions).get("email complaints") for one in steps]
    assert on[:8] == [None] * 8
    stopped = next(day for day, tier in enumerate(on) if tier in {"stop", "hard"})
    assert stopped > 7
    assert all(not (one.happened[0].channel == email).any() for one in steps[stopped:])
    assert any((one.happened[0].channel != email).any() for one in steps[stopped:])


def test_what_is_reported_is_what_was_done_earlier() -> None:
    """Complaints, bounces and opt-outs are reported once each, never before the day of the send."""
    batch = World(load_scenario("newsletter", {"guardrails": "default"}), 3000, 8)
    did: dict[str, int] = dict.fromkeys(("complaints", "hard_bounces", "opt_outs"), 0)
    told = dict(did)
    for one in campaign([batch], UNIFORM, 14):
        happened, today = one.happened[0], one.ledger.days[-1].by_channel
        did["complaints"] += int(happened.complained.sum())
        did["hard_bounces"] += int(happened.bounced_hard.sum())
        did["opt_outs"] += int(happened.unsubscribed.sum())
        told = {name: told[name] + sum(today[name]) for name in did}
        assert all(told[name] <= did[name] for name in did)
        assert sum(today["sent"]) == len(happened.rows)
    assert told["hard_bounces"] > 0.8 * did["hard_bounces"] > 0
    assert told["opt_outs"] > 0


def test_in_silence_nothing_is_counted() -> None:
    for one in campaign([World(load_scenario("newsletter"), 200, 1)], HoldActor(), 4):
        assert one.ledger.days[-1] == nothing_on(one.ledger.days[-1].day, 3)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Counts(1, {"sent": (1,)}), "by_channel"),
        (lambda: counts(1) + counts(2), "day"),
        (lambda: Sender(World(load_scenario("newsletter"), 1, 0).guardrails, "x", 0), "window_days"),
        (lambda: next(campaign([], HoldActor(), 1)), "worlds"),
    ],
    ids=["a count is missing", "other days", "no window", "no batch"],
)
def test_what_cannot_be_is_named(build: Any, named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        build()


def test_blocks_must_be_at_the_same_step() -> None:
    ahead = World(load_scenario("newsletter"), 5, 1)
    ahead.advance(np.zeros(5, dtype=np.int32))
    with pytest.raises(ParameterError, match="worlds"):
        next(campaign([ahead, World(load_scenario("newsletter"), 5, 1, first=5)], HoldActor(), 1))
