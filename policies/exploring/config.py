"""The exploration of a policy as plain configuration: one kind and its parameters."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray
from policies.exploring.bounds import bounded
from policies.exploring.exploration import epsilon_greedy, greedy, require_in, softmax, squarecb

Kind = Literal["greedy", "epsilon_greedy", "softmax", "squarecb", "bag", "cover"]


class ExplorationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which exploration a policy uses, with its parameters; the ones of other kinds are ignored.

    Attributes:
        kind: greedy, epsilon_greedy, softmax or squarecb; bag or cover, votes of an ensemble.
        epsilon: exploring share of epsilon_greedy, and uniform share of bag and cover, in [0, 1].
        inverse_temperature: the inverse temperature of softmax, per unit of reward, >= 0.
        gamma_scale / gamma_exponent: squarecb's gamma is gamma_scale * t ** gamma_exponent, where t is the number of
            rounds learnt from; gamma is per unit of reward.
        ceiling: largest share of a row's mass off its greedy actions, in [0, 1]; null is no ceiling.
        floor: smallest probability with which an action may be drawn, in [0, 0.5]; 0 is none. The exploring mass is
            gathered on as many actions as can have it, see `policies.exploring.bounds.bounded`.
    """

    kind: Kind = "squarecb"
    epsilon: float = 0.05
    inverse_temperature: float = 10.0
    gamma_scale: float = 10.0
    gamma_exponent: float = 0.5
    ceiling: float | None = None
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_in("epsilon", self.epsilon, 0.0, 1.0)
        require_in("inverse_temperature", self.inverse_temperature, 0.0, np.inf)
        require_in("gamma_scale", self.gamma_scale, 0.0, np.inf)
        require_in("gamma_exponent", self.gamma_exponent, 0.0, 1.0)
        require_in("ceiling", 1.0 if self.ceiling is None else self.ceiling, 0.0, 1.0)
        require_in("floor", self.floor, 0.0, 0.5)

    def gamma(self, rounds: int) -> float:
        """SquareCB's gamma after learning from `rounds` rounds (Vowpal Wabbit's schedule)."""
        return float(self.gamma_scale * max(rounds, 1) ** self.gamma_exponent)

    @property
    def votes(self) -> bool:
        """Whether it needs an ensemble."""
        return self.kind in ("bag", "cover")

    def distribution(self, scores: FloatArray, eligible: BoolArray, rounds: int) -> FloatArray:
        """(n, k) probabilities under this exploration and its bounds after `rounds` rounds of learning.

        Raises:
            EligibilityError: a row without an eligible action.
            ParameterError: scores that are not finite, or of another shape; or the votes of an ensemble are wanted.
        """
        return bounded(self._explored(scores, eligible, rounds), scores, eligible, self.ceiling, self.floor)

    def _explored(self, scores: FloatArray, eligible: BoolArray, rounds: int) -> FloatArray:
        if self.kind == "greedy":
            return greedy(scores, eligible)
        if self.kind == "epsilon_greedy":
            return epsilon_greedy(scores, eligible, self.epsilon)
        if self.kind == "softmax":
            return softmax(scores, eligible, self.inverse_temperature)
        if self.votes:
            raise ParameterError(
                "kind", "ExplorationConfig", allowed="one that explores by scores", got=self.kind, hint="learner=bag"
            )
        return squarecb(scores, eligible, self.gamma(rounds))
