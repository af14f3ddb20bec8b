"""Explorations that Vowpal Wabbit itself has to serve, because they are no sums of tables."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.errors import ParameterError

LiveKind = Literal["rnd", "regcb", "large_action_space", "slots"]


class LiveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which exploration VW serves live, with its parameters; the ones of other kinds are ignored.

    Attributes:
        kind: rnd (random network distillation), regcb (RegCB by elimination), large_action_space (a spanner of the
            actions explored by squarecb) or slots (channel, hour and arm chosen one after the other, VW's conditional
            contextual bandits).
        epsilon: uniform share of rnd and of each slot, in [0, 1].
        rnd_size: number of random networks, 1 to 16.
        rnd_alpha: width of rnd's confidence bound, in standard deviations, > 0.
        rnd_invlambda: rnd's initial variance, > 0.
        mellowness: regcb's width of the confidence set, > 0; smaller eliminates sooner.
        max_actions: large_action_space's size of the spanner, at least 2.
        gamma_scale / gamma_exponent: squarecb's schedule of large_action_space, per unit of reward.

    RegCB's optimistic variant is not offered: VW's distribution of it does not sum to 1.
    """

    kind: LiveKind = "rnd"
    epsilon: float = 0.05
    rnd_size: int = 3
    rnd_alpha: float = 0.1
    rnd_invlambda: float = 0.1
    mellowness: float = 0.1
    max_actions: int = 20
    gamma_scale: float = 10.0
    gamma_exponent: float = 0.5

    def __post_init__(self) -> None:
        infinite = float("inf")
        ranges = (
            ("epsilon", 0.0 <= self.epsilon <= 1.0, "in [0, 1]"),
            ("rnd_size", 1 <= self.rnd_size <= 16, "in 1..16"),
            ("rnd_alpha", 0.0 < self.rnd_alpha < infinite, "finite and above 0"),
            ("rnd_invlambda", 0.0 < self.rnd_invlambda < infinite, "finite and above 0"),
            ("mellowness", 0.0 < self.mellowness < infinite, "finite and above 0"),
            ("max_actions", self.max_actions >= 2, "at least 2"),
            ("gamma_scale", 0.0 <= self.gamma_scale < infinite, "finite and at least 0"),
            ("gamma_exponent", 0.0 <= self.gamma_exponent <= 1.0, "in [0, 1]"),
        )
        for name, holds, allowed in ranges:
            if not holds:
                raise ParameterError(name, "LiveConfig", allowed=allowed, got=getattr(self, name))

    @property
    def policy_name(self) -> str:
        """Name of the policies of this exploration."""
        return f"vw_live_{self.kind}"

    def arguments(self, centre: float, unit: float, reward_range: tuple[float, float]) -> str:
        """VW's arguments of the exploration.

        Args:
            centre / unit: VW learns the cost (centre - reward) / unit.
            reward_range: declared (low, high); RegCB's range of costs is made of it.
        """
        if self.kind == "rnd":
            return (
                f"--cb_explore_adf --rnd {self.rnd_size} --epsilon {self.epsilon:.9g} "
                f"--rnd_alpha {self.rnd_alpha:.9g} --rnd_invlambda {self.rnd_invlambda:.9g}"
            )
        if self.kind == "regcb":
            # With VW's own range of 0 to 1 the bounds of every cost would meet at its ends.
            low, high = ((centre - reward) / unit for reward in reversed(reward_range))
            return (
                f"--cb_explore_adf --regcb --mellowness {self.mellowness:.9g} "
                f"--cb_min_cost {low:.9g} --cb_max_cost {high:.9g}"
            )
        if self.kind == "large_action_space":
            # Gamma is per unit of cost there.
            return (
                f"--cb_explore_adf --large_action_space --max_actions {self.max_actions} --squarecb "
                f"--gamma_scale {self.gamma_scale * unit:.9g} --gamma_exponent {self.gamma_exponent:.9g}"
            )
        return f"--ccb_explore_adf --epsilon {self.epsilon:.9g}"
