"""The best send of each contact in the present step, for whoever knows the latents."""

from __future__ import annotations

import numpy as np

from engine.eligibility import Eligibility
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from simulator.rollout import Turn
from simulator.world.expected import message_gains, row_blocks


def best_sends(turn: Turn) -> tuple[CodeArray, FloatArray]:
    """The eligible send with the highest expected reward of the step, whether or not it beats hold.

    Args:
        turn: what is to be decided.

    Returns:
        action (m,), hold where no send is eligible, and gain (m,): its expected reward over that of hold, -inf there.
    """
    eligibility, m = turn.eligibility, len(turn.rows)
    action, gain = np.full(m, HOLD, dtype=np.int32), np.full(m, -np.inf)
    some = np.flatnonzero(_any_send(eligibility))
    for part in row_blocks(len(some), eligibility.k):
        own = some[part]
        gains = message_gains(turn.world, turn.rows[own])
        gains[~eligibility.take(own).dense()[:, HOLD + 1 :]] = -np.inf
        best = gains.argmax(axis=1)
        value = gains[np.arange(len(own)), best]
        action[own] = np.where(np.isfinite(value), best + 1, HOLD)
        gain[own] = value
    return action, gain


def _any_send(eligibility: Eligibility) -> BoolArray:
    """(m,) rows that may have an eligible send: a channel with an arm and an hour, for any purpose."""
    arms = eligibility.channel_arm.max(axis=2)
    hours = eligibility.channel_hour.max(axis=(1, 3))
    some: BoolArray = np.max(arms & hours, axis=1)
    return some
