"""The myopic oracle: knows every latent, and looks no further than the present step.

It takes the eligible action with the highest expected reward of the step (`simulator.expected`). It bounds the
immediate reward of one decision: no policy has a higher expected reward in that step, in that state. It does NOT bound
the value over a horizon, neither from above nor from below: it ignores fatigue, lost permissions beyond c_u, and the
habit of discounts, so that a policy that sees less and sends less may be worth more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.eligibility import Eligibility
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from simulator.expected import message_gains, row_parts
from simulator.rollout import Turn


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
    for part in row_parts(len(some), eligibility.k):
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


@dataclass(frozen=True)
class MyopicOracle:
    """Argmax of the step's expected reward over the eligible set; hold where no send is worth more."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions, with propensity 1."""
        action, gain = best_sends(turn)
        return np.where(gain > 0.0, action, HOLD).astype(np.int32), np.ones(len(action))
