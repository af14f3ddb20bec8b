"""Small worlds for the tests of the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import conf
from engine.contacts.contacts import ContactBatch
from engine.eligibility import Eligibility
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from simulator.people.people import ACTIVE
from simulator.scenario import Scenario, load_scenario
from simulator.world.response import Cells, Moment
from simulator.world.world import World

CONF = Path(conf.__file__).parent
SCENARIOS = tuple(sorted(path.stem for path in (CONF / "scenario").glob("*.yaml")))
USE_CASES = (
    "onboarding",
    "browse_abandonment",
    "replenishment",
    "renewal",
    "cross_sell",
    "winback",
    "newsletter",
)
FAULTS = tuple(sorted(path.stem for path in (CONF / "fault").glob("*.yaml")))


def world(name: str = "newsletter", n: int = 400, seed: int = 5, **changes: Any) -> World:
    """A batch of a scenario with some keys changed."""
    return World(load_scenario(name, changes), n, seed)


def healthy(scenario: Scenario) -> Conditions:
    """A sender in good health, with nothing used up."""
    channels = scenario.catalog.channels
    return Conditions(
        use_case=scenario.name,
        health={name: ChannelHealth(10_000) for name in channels},
        sent_today=dict.fromkeys(channels, 0),
        sent_yesterday=dict.fromkeys(channels, 10_000),
        sent_7d=dict.fromkeys(channels, 100),
        killed=False,
    )


def days(
    batch: World, steps: int, sends: bool = True
) -> Iterator[tuple[IntArray, ContactBatch, Eligibility, BoolArray]]:
    """Step a batch under uniform choice, or silence; before each step: rows, contacts, eligibility, dense."""
    conditions = healthy(batch.scenario)
    for _ in range(steps):
        rows = np.flatnonzero(batch.deciding())
        contacts = batch.contacts(rows)
        eligibility = batch.eligibility(contacts, conditions)
        dense = eligibility.dense()
        yield rows, contacts, eligibility, dense
        action = np.zeros(batch.n, dtype=np.int32)
        if sends:
            pick = batch.draw("test policy", batch.state.step, rows)
            action[rows] = (np.cumsum(dense, axis=1) > (pick * dense.sum(axis=1))[:, None]).argmax(axis=1)
        batch.advance(action)


def arm_left(batch: World, dense: BoolArray, arm: str) -> BoolArray:
    """(m,) contacts whom some action with the arm is left for."""
    actions = np.arange(1, batch.catalog.k)
    own = actions[batch.catalog.split(actions)[2] == batch.catalog.arm_ids.index(arm)]
    left: BoolArray = dense[:, own].any(axis=1)
    return left


def mean_clicks(batch: World, rows: IntArray, channel: str = "email") -> FloatArray:
    """(K,) mean chance of a click given seen, of each arm, for some rows."""
    out = []
    for arm in range(len(batch.catalog.arms)):
        wide = np.full(len(rows), arm, dtype=np.int64)
        cells = Cells(rows, np.full(len(rows), batch.catalog.channels.index(channel)), np.full(len(rows), 12), wide)
        out.append(float(batch.chances(cells).clicked.mean()))
    return np.array(out)


def moment(step: int = 0, step_days: float = 1.0, **changes: float) -> Moment:
    """A plain step: 2026-09-01 14:00 UTC and so many steps later, with neutral season."""
    now_at = 1_788_271_200_000_000 + round(step * step_days * 86_400e6)
    values: dict[str, Any] = {"attention": 0.0, "demand": 1.0} | changes
    return Moment(step=step, now_at=now_at, day=step * step_days, step_days=step_days, **values)


def neutral(batch: World, **traits: Any) -> None:
    """Make every contact of a batch the average one: no affinity, engagement or motive of its own, nothing sent yet."""
    n, channels = batch.n, len(batch.catalog.channels)
    values: dict[str, Any] = {
        "affinity": np.zeros((n, channels)),
        "engagement": np.zeros(n),
        "order_rate": np.full(n, 0.01),
        "basket_usd": np.full(n, 50.0),
        "price_sensitivity": np.full(n, 0.5),
        "join_day": np.full(n, -100.0),
    }
    people = replace(batch.people, **(values | traits))
    # The parts of a world keep the batch that they were made for; a test changes it in place of them all.
    for name in values | traits:
        object.__setattr__(batch.people, name, getattr(people, name))
    state = batch.state
    state.stage[:] = ACTIVE
    state.intent[:] = False
    state.due_day[:] = np.nan
    state.finished[:] = False
    state.reachable[:] = True


def send(batch: World, channel: str, arm: str, hour: int = 0) -> CodeArray:
    """(n,) one message to everybody."""
    catalog = batch.catalog
    action = catalog.index(catalog.channels.index(channel), hour, catalog.arm_ids.index(arm))
    return np.full(batch.n, action, dtype=np.int32)
