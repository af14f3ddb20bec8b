"""Rounds of a simulated world, decided by the engine: what studies of estimators and of tuned rules learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from engine.decide.batch import decide_batch
from engine.decide.plan import Plan
from engine.records.rounds import RoundBatch
from engine.time.localtime import instant_of
from engine.types import HOLD, ByteArray, IntArray
from simulator.expected import gains_of, organic_rewards
from simulator.world.happened import Happened
from simulator.world.world import World

REWARD: Final = "reward_usd"
EXPECTED: Final = "expected_usd"
GAIN: Final = "gain_usd"


@dataclass(frozen=True)
class Step:
    """One step of a world under a plan.

    Attributes:
        rows: (m,) contacts that were decided for.
        rounds: their decisions with three rewards of the step: `REWARD` as it was drawn, `EXPECTED` given the latents
            and the action, and `GAIN`, the part of it that the message brings. In the first two a hold has the worth
            of orders that come by themselves; its gain is 0.
        happened: everything that the step brought, by contact and by message.
    """

    rows: IntArray
    rounds: RoundBatch
    happened: Happened


def decided_step(world: World, plan: Plan, chunk: int = 0) -> Step:
    """Decide through the engine, let happen, and pair every decision with its immediate reward.

    Args:
        world: is moved on by one step.
        plan: guardrails, policy, seed.
        chunk: number of the batch in its log.
    """
    rows = np.flatnonzero(world.deciding())
    contacts = world.contacts(rows)
    now = world.now
    decided = decide_batch(plan, contacts, now)
    action = np.full(world.n, HOLD, dtype=np.int32)
    action[rows] = decided.action
    gain = gains_of(world, rows, decided.action)
    expected = organic_rewards(world, rows) + gain
    happened = world.advance(action)
    table = decided.table
    rounds = RoundBatch(
        chunk=chunk,
        decision_id=table.column("decision_id").to_numpy(),
        context=contacts.context,
        action=decided.action,
        propensity=table.column("propensity").to_numpy(),
        eligible=_bits(table.column("eligible")),
        k=world.catalog.k,
        cluster=table.column("cluster").to_numpy(),
        rewards={REWARD: happened.reward_usd[rows], EXPECTED: expected, GAIN: gain},
        usable=np.ones(len(rows), dtype=np.bool_),
        decided_at=np.full(len(rows), instant_of(now, owner="decided_step"), dtype=np.int64),
        extra={},
    )
    return Step(rows, rounds, happened)


def _bits(column: pa.ChunkedArray) -> ByteArray:
    """(m, ceil(k / 8)) packed eligible sets of a column of decisions."""
    packed = column.to_pylist()
    bits: ByteArray = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    return bits
