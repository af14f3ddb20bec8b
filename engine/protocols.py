"""The narrow protocols by which the parts meet; each has at most two methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from engine.eligibility import Eligibility
from engine.features import ContextBatch
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, CodeArray, FloatArray


@runtime_checkable
class Policy(Protocol):
    """Gives a distribution over the eligible actions; never samples.

    `distribution(context, eligible)`: context of n rows and (n, k) bool with at least one true per row ->
    (n, k) float64, rows sum to 1, removed actions have exactly 0. A pure function of its arguments, which it is handed
    sealed (`engine.decide.asking`): to write to them is an error.
    """

    @property
    def name(self) -> str: ...

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray: ...


@runtime_checkable
class FusedPolicy(Policy, Protocol):
    """A policy that also draws, from factored eligibility and given uniforms, equal to the plain path."""

    def choose(
        self, context: ContextBatch, eligibility: Eligibility, draws: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and its propensity (n,)."""
        ...


class Learner(Protocol):
    """Learns from logged rounds and hands out a policy; a failed `learn` leaves the policy as it was."""

    def learn(self, rounds: Iterable[RoundBatch]) -> None: ...

    def policy(self) -> Policy: ...


class RewardModel(Protocol):
    """Regresses one metric on context and action.

    `fit(rounds)` consumes blocks of usable rounds whose metric is known. `predict(context)` gives (n, k) expected
    rewards for every action, eligible or not. A model that honours `engine.records.rounds.SAMPLE_WEIGHT` says so by an
    attribute `weighs_rounds = True`.
    """

    def fit(self, rounds: Iterable[RoundBatch]) -> None: ...

    def predict(self, context: ContextBatch) -> FloatArray: ...
