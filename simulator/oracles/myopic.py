"""The myopic oracle: knows every latent, and looks no further than the present step.

It takes the eligible action with the highest expected reward of the step (`simulator.world.expected`). It bounds the
immediate reward of one decision: no policy has a higher expected reward in that step, in that state. It does NOT bound
the value over a horizon, neither from above nor from below: it ignores fatigue, lost permissions beyond c_u, and the
habit of discounts, so that a policy that sees less and sends less may be worth more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.types import HOLD, CodeArray, FloatArray
from simulator.oracles.best import best_sends
from simulator.rollout import Turn


@dataclass(frozen=True)
class MyopicOracle:
    """Argmax of the step's expected reward over the eligible set; hold where no send is worth more."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions, with propensity 1."""
        action, gain = best_sends(turn)
        return np.where(gain > 0.0, action, HOLD).astype(np.int32), np.ones(len(action))
