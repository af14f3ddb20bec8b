"""Which ensemble of models Vowpal Wabbit learns: bagging or online cover."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.errors import ParameterError


class EnsembleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several policies learnt at once; each votes for its best action.

    Attributes:
        kind: bag (an online bootstrap: each model learns a Poisson(1) number of times from each round) or cover (online
            cover of Agarwal et al., "Taming the Monster", ICML 2014: each model is charged less for actions that the
            ones before it leave out). Both as in Bietti, Agarwal & Langford, "A Contextual Bandit Bake-off", JMLR 2021.
        size: number of policies, 2 to 64.
        greedify: bag only: the first model learns from every round exactly once.
        psi: cover only: weight of the reward for disagreement, >= 0.
        epsilon: cover only: the uniform share that the reward for disagreement assumes, in [0, 1]; serve with the same.
        seed: of the Poisson draws.
    """

    kind: Literal["bag", "cover"] = "bag"
    size: int = 5
    greedify: bool = False
    psi: float = 1.0
    epsilon: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.size <= 64:
            raise ParameterError("size", "EnsembleConfig", allowed="in 2..64", got=self.size)
        if not 0.0 <= self.psi < float("inf"):
            raise ParameterError("psi", "EnsembleConfig", allowed="finite and at least 0", got=self.psi)
        if not 0.0 <= self.epsilon <= 1.0:
            raise ParameterError("epsilon", "EnsembleConfig", allowed="in [0, 1]", got=self.epsilon)
        if self.seed < 0:
            raise ParameterError("seed", "EnsembleConfig", allowed="at least 0", got=self.seed)

    @property
    def served_share(self) -> float:
        """The uniform share of the distribution that VW itself predicts with."""
        return self.epsilon if self.kind == "cover" else 0.0

    def arguments(self) -> str:
        """VW's arguments of the ensemble, without its `--cb_type`."""
        if self.kind == "bag":
            greedify = " --greedify" if self.greedify else ""
            return f"--cb_explore_adf --bag {self.size}{greedify} --random_seed {self.seed}"
        return f"--cb_explore_adf --cover {self.size} --psi {self.psi:.9g} --epsilon {self.epsilon:.9g}"

    def layout(self, cb_type: str) -> tuple[int, tuple[int, ...]]:
        """Width of a weight's slot and the position of every policy in it, see `arguments.model_layout`."""
        if self.kind == "bag":
            each = 2 if cb_type == "dr" else 1
            return _power_of_two(self.size * each), tuple(range(0, self.size * each, each))
        # Position 1 holds the reward model of mtr and dr, which also double the width; the second half stays empty.
        width = (self.size + 1) * (1 if cb_type == "ips" else 2)
        return _power_of_two(width), (0, *range(2, self.size + 1))


def _power_of_two(width: int) -> int:
    return 1 << (width - 1).bit_length()
