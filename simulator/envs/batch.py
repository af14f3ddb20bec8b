"""One batch of a campaign's contacts: observes, judges and steps as arrays."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.eligibility import Eligibility
from engine.types import HOLD, BoolArray, CodeArray, Float32Array, FloatArray, IntArray
from simulator.envs.coding import Coding
from simulator.rollout import Actor, play
from simulator.world.happened import Happened
from simulator.world.world import World

# Contacts per batch: enough that a step is more work than calls, few enough that its arrays stay near the processor.
BATCH_ROWS: Final = 32_768


class Batch:
    """A world, and the rows of the campaign that it holds.

    Args:
        world: at the start of a step.
        span: rows of the campaign.
    """

    def __init__(self, world: World, span: slice) -> None:
        self.world = world
        self.span = span
        self._deciding: BoolArray | None = None
        self._eligibility: Eligibility | None = None

    @property
    def deciding(self) -> BoolArray:
        """(m,) for whom a decision is taken in this step."""
        if self._deciding is None:
            self._deciding = self.world.deciding()
        return self._deciding

    @property
    def eligibility(self) -> Eligibility:
        """What the guardrails leave in this step, judged once."""
        if self._eligibility is None:
            self._eligibility = self.world.eligibility(self.world.contacts(np.arange(self.world.n)))
        return self._eligibility

    def masks(self) -> BoolArray:
        """(m, k) bool."""
        return masks(self.eligibility, self.deciding)

    def observe(self, coding: Coding, out: Float32Array, steps: int) -> None:
        """Write the (m, d) observations of this step; the guardrails judge the same contacts."""
        contacts = self.world.contacts(np.arange(self.world.n))
        self._eligibility = self.world.eligibility(contacts)
        progress = min(self.world.state.step / steps, 1.0)
        coding.into(out, contacts.context, self.deciding, progress, self.world.now)

    def step(self, actions: CodeArray | IntArray) -> tuple[FloatArray, BoolArray]:
        """Send what may be sent; (m,) rewards and (m,) what was refused."""
        sends = np.flatnonzero(actions != HOLD)
        refused = np.zeros(self.world.n, dtype=np.bool_)
        if len(sends):
            passed = self.eligibility.take(sends).contains(actions[sends]) & self.deciding[sends]
            refused[sends] = ~passed
        happened = self.world.advance(np.where(refused, HOLD, actions).astype(np.int32))
        self._forget()
        return happened.reward_usd, refused

    def play(self, actor: Actor) -> Happened:
        """One step with an actor's choices, judged for those alone that are decided for."""
        happened = play(self.world, actor)
        self._forget()
        return happened

    def _forget(self) -> None:
        self._deciding = None
        self._eligibility = None


def masks(eligibility: Eligibility, deciding: BoolArray) -> BoolArray:
    """(m, k) bool: what may be chosen; hold alone for rows that are not decided for."""
    mask = eligibility.dense()
    mask[~deciding, HOLD + 1 :] = False
    return mask
