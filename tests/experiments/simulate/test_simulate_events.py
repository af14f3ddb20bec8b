"""Outcome events of a step: their values are the rewards, their instants follow each other, the feed's faults act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.records.schema import outcome_schema
from engine.types import IntArray, ObjectArray
from experiments.simulate.outcomes import DECIDED_STEP, EVENTS, OWN, outcome_table
from simulator.scenario import load_scenario
from simulator.world.world import World

N = 3000
# Orders, complaints and refunds often enough to be seen in a few days.
BUSY: dict[str, Any] = {
    "population": {"order_rate_per_day": 0.1},
    "response": {"click": {"email": 0.5}, "order": {"email": 0.5}, "complaint": {"email": 0.05}},
    "money": {"refund_share": 0.4},
}


@dataclass(frozen=True)
class Step:
    """A step that was lived, and its events."""

    world: World
    happened: Any
    moment: Any
    frame: pd.DataFrame


def ids_of(rows: IntArray, step: int) -> ObjectArray:
    return np.array([f"{step}/{row}" for row in rows], dtype=object)


def lived(steps: int = 1, decided: IntArray | None = None, **delay: float) -> Step:
    world = World(load_scenario("newsletter", {**BUSY, "delay": delay}), N, seed=4)
    # Everybody gets an e-mail: actions of the first channel come first.
    action = np.full(N, 1, dtype=np.int32)
    for _ in range(steps):
        moment = world.moment
        happened = world.advance(action)
    credited = np.full(N, steps - 1, dtype=np.int64) if decided is None else decided
    table = outcome_table(world, happened, moment, credited, ids_of)
    assert table.drop_columns([DECIDED_STEP]).schema == outcome_schema()
    frame = table.to_pandas()
    frame["event"] = frame["event"].astype(str)
    frame["us"] = table.column("at").cast("int64").to_numpy()
    frame["row"] = [int(name.split("/")[1]) for name in frame["decision_id"]]
    return Step(world, happened, moment, frame)


@pytest.fixture(scope="module")
def step() -> Step:
    return lived(2)


def test_values_of_a_decision_are_its_reward(step: Step) -> None:
    """margin (orders - refunds) - discounts - cost - lost permissions, to the last cent."""
    money = step.frame[~step.frame["event"].isin(["ordered", "returned"])]
    total = money.groupby("row")["value_usd"].sum().reindex(range(N), fill_value=0.0)
    assert np.allclose(total.to_numpy(), step.happened.reward_usd, rtol=0, atol=1e-9)
    assert {"purchased", "refunded", "complained", "unsubscribed"} <= set(step.frame["event"])


def test_turnover_is_what_was_paid_and_paid_back(step: Step) -> None:
    happened, money = step.happened, step.frame.groupby("event")["value_usd"].sum()
    value = happened.order_usd + happened.organic_usd - happened.discount_usd
    assert money["ordered"] == pytest.approx(value.sum())
    assert money["returned"] == pytest.approx(happened.refund_usd.sum())
    wide = step.frame.groupby(["event", "row"])["us"].first()
    for one, other in (("ordered", "purchased"), ("returned", "refunded")):
        assert (wide[one] == wide[other]).all()


def test_every_event_is_there_once(step: Step) -> None:
    happened, counts = step.happened, step.frame["event"].value_counts()
    for event, expected in (
        ("dispatched", len(happened.rows)),
        ("sent", len(happened.rows)),
        ("bounced", int((happened.bounced_hard | happened.bounced_soft).sum())),
        ("delivered", int(happened.delivered.sum())),
        ("opened", int(happened.seen.sum())),
        ("clicked", int(happened.clicked.sum())),
        ("purchased", int(happened.message_order.sum() + happened.organic.sum())),
        ("refunded", int((happened.refund_usd > 0).sum())),
    ):
        assert counts.get(event, 0) == expected, event
    assert set(step.frame["event"]) <= set(EVENTS)
    assert step.frame["row"].is_monotonic_increasing


def test_instants_follow_each_other(step: Step) -> None:
    wide = step.frame.groupby(["row", "event"])["us"].agg(["min", "max"]).unstack()
    low, high = wide["min"], wide["max"]
    assert (step.frame["us"] >= step.moment.now_at).all()
    for first, then in (("dispatched", "opened"), ("dispatched", "delivered"), ("opened", "clicked")):
        both = low[[first, then]].dropna()
        assert len(both) > 20
        assert (both[first] <= both[then]).all(), (first, then)
    bought = step.happened.rows[step.happened.message_order]
    assert (high["clicked"].loc[bought] <= high["purchased"].loc[bought]).all()
    back = high["refunded"].dropna().index
    assert (high["purchased"].loc[back] < high["refunded"].loc[back]).all()


def test_clicks_and_goodbyes_are_known_when_the_log_says(step: Step) -> None:
    """What is still on its way to the sender arrives in the step in which the event's instant lies."""
    day_us = 86_400_000_000
    for event, word in (("clicked", "clicked"), ("unsubscribed", "unsubscribed"), ("complained", "complained")):
        rows = step.frame[step.frame["event"] == word]
        steps = step.moment.step + np.maximum(np.ceil((rows["us"] - step.moment.now_at) / day_us), 1)
        expected = {
            (int(row), int(at)) for row, at in zip(rows["row"], steps, strict=True) if at > step.moment.step + 1
        }
        known = {
            (int(row), at)
            for at, entries in step.world.state.arriving.items()
            for name, waiting, _, _ in entries
            if name == event
            for row in waiting
        }
        assert expected <= known, event


def test_orders_are_credited_to_the_last_decision() -> None:
    """Contact 0 was decided for at step 1, contact 1 never; everybody else at step 0."""
    decided = np.zeros(N, dtype=np.int64)
    decided[0], decided[1] = 1, -1
    found = lived(2, decided)
    assert set(found.frame["decision_id"].str.split("/").str[0]) == {"0", "1"}
    assert 1 not in set(found.frame["row"])
    assert (found.frame[DECIDED_STEP] == decided[found.frame["row"]]).all()


def test_lost_events_leave_only_what_the_sender_did() -> None:
    assert set(lived(lost_share=1.0).frame["event"]) == set(OWN)


def test_duplicated_events_come_twice() -> None:
    plain, twice = lived().frame, lived(duplicate_share=1.0).frame
    own = plain["event"].isin(OWN)
    assert len(twice) == int(own.sum()) + 2 * int((~own).sum())
    assert twice.duplicated(["decision_id", "event", "us"]).sum() == int((~own).sum())


def test_late_events_come_later_by_that_much() -> None:
    """The world meets the same luck, so the same events happen; all but the sender's own are 50 hours late."""
    plain, late = lived().frame, lived(late_share=1.0, late_hours=50.0).frame
    assert plain["event"].tolist() == late["event"].tolist()
    lag = (late["us"] - plain["us"]).to_numpy()
    assert (lag == np.where(plain["event"].isin(OWN), 0, 50 * 3_600_000_000)).all()


def test_some_are_lost() -> None:
    """4.5 standard errors around the share."""
    plain, some = lived().frame, lived(lost_share=0.3).frame
    n = int((~plain["event"].isin(OWN)).sum())
    lost = len(plain) - len(some)
    assert abs(lost / n - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / n)


def test_nobody_at_all() -> None:
    world = World(load_scenario("newsletter", {"population": {"order_rate_per_day": 0.0}}), 50, seed=4)
    moment = world.moment
    happened = world.advance(np.zeros(50, dtype=np.int32))
    assert outcome_table(world, happened, moment, np.zeros(50, dtype=np.int64), ids_of).num_rows == 0
