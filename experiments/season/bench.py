"""What the policies of one scenario, variant and seed share: the slice, and what was learnt from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.guardrails.layer import Guardrails
from experiments.season.config import ExperimentConfig
from experiments.season.rounds import REWARD_RANGE, Slice, randomised_slice
from experiments.season.turns import Restriction
from policies.exploring.action_values import ActionSums, ActionValues
from policies.horizon.learner import HorizonLearner
from policies.linear.ridge import LinearPosterior, LinearSums
from policies.vw.compiled import CompiledPolicy
from policies.vw.learner import VwLearner
from policies.vw.training import LearnerState
from simulator.scenario import Scenario


@dataclass(frozen=True)
class Bench:
    """Each part is made when it is first asked for, and then kept: no policy pays for another's learning.

    Attributes:
        config: of the experiment.
        scenario: with the variant's changes.
        seed: of the world.
        restriction: of the variant.
        guardrails: the layer.
    """

    config: ExperimentConfig
    scenario: Scenario
    seed: int
    restriction: Restriction
    guardrails: Guardrails

    @property
    def steps(self) -> int:
        """Steps of a season."""
        return int(np.ceil(self.config.days / self.scenario.step_days))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Declared range of the metric that is learnt from."""
        return REWARD_RANGE[self.config.metric]

    @cached_property
    def slice(self) -> Slice:
        """The randomised slice."""
        return randomised_slice(self.scenario, self.config.slice, self.seed, self.restriction, self.guardrails)

    @cached_property
    def values(self) -> ActionValues:
        """Mean reward of each action."""
        sums = ActionSums(self.config.metric, self.scenario.catalog.k)
        for block in self.slice.choices:
            sums.add(block)
        return sums.result()

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the rewards of the slice; 1 where nothing varies."""
        rewards = np.concatenate([block.rewards[self.config.metric] for block in self.slice.choices])
        return float(rewards.std()) or 1.0

    @cached_property
    def vw(self) -> LearnerState:
        """VW's model of the immediate reward."""
        learner = self.vw_learner()
        learner.learn(self.slice.choices)
        return learner.state

    @cached_property
    def horizon_policy(self) -> CompiledPolicy:
        """VW on the advantage of every send over a horizon: it alone learns from decisions without a choice too."""
        learner = HorizonLearner(
            self.scenario.catalog,
            self.scenario.features,
            self.config.metric,
            self.reward_range,
            self.config.horizon,
            self.config.exploration,
        )
        learner.learn(self.slice.blocks)
        return learner.policy()

    @cached_property
    def posterior(self) -> LinearPosterior:
        """Ridge regressions of the immediate reward."""
        return self.linear().posterior()

    def vw_learner(self, state: LearnerState | None = None) -> VwLearner:
        """VW on the immediate reward, from a state on."""
        return VwLearner(
            self.scenario.catalog,
            self.scenario.features,
            self.config.metric,
            self.reward_range,
            self.config.learner,
            self.config.exploration,
            state,
        )

    def linear(self) -> LinearSums:
        """The sums behind it, to learn on."""
        sums = LinearSums(self.scenario.catalog, self.scenario.features, self.config.metric, self.reward_range)
        sums.add(self.slice.choices)
        return sums
