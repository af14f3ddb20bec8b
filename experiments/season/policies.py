"""From the name of a policy to an actor: everything that learns, learns from the same randomised slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final

import msgspec
import numpy as np

from engine.errors import ConfigError
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.records.rounds import RoundBatch
from experiments.horizon.simulated import learn_simulated
from experiments.season.actors import ArmsActor, LinearActor, SparingActor
from experiments.season.config import ExperimentConfig
from experiments.season.observable import best_observable
from experiments.season.recovering import recovering
from experiments.season.rounds import (
    CLICKED,
    KNOWN_DAYS,
    REWARD_RANGE,
    LearningActor,
    RememberingActor,
    Slice,
    randomised_slice,
    remembering,
)
from experiments.season.variants import Restriction
from policies import registry
from policies.exploring.config import ExplorationConfig
from policies.horizon.learner import HorizonLearner
from policies.linear.ridge import LinearPosterior, LinearSums
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.memory.columns import with_memory
from policies.parts.memory.sums import Memory
from policies.parts.surrogate import STAGE_WORTH, stage_worth
from policies.peers.config import PeerConfig
from policies.peers.constant import UniformPolicy
from policies.peers.send_time import tune_send_time
from policies.peers.volume_threshold import tune_volume
from policies.registry import Setting
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.training import LearnerState
from simulator.oracles.calendar import CalendarActor
from simulator.oracles.myopic import MyopicOracle
from simulator.oracles.planner import PricePlanner
from simulator.rollout import Actor, HoldActor, PolicyActor
from simulator.scenario import Scenario
from simulator.truth import Planner


@dataclass(frozen=True)
class SharedLearning:
    """Each part is made when it is first asked for, and then kept: no policy pays for another's learning.

    Attributes:
        config: configuration of the experiment.
        scenario: with the variant's changes.
        seed: seed of the world.
        restriction: restriction of the variant.
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
    def spread(self) -> float:
        """Standard deviation of the rewards of the slice; 1 where nothing varies."""
        rewards = np.concatenate([batch.rewards[self.config.metric] for batch in self.slice.choices])
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
        learner.learn(self.slice.batches)
        return learner.policy()

    @cached_property
    def parts(self) -> PartsLearner:
        """VW on the parts of a message's value."""
        return self._parts_learner(self.config.parts)

    @cached_property
    def safe_policy(self) -> CompiledPolicy:
        """The same, held to segments tuned on the same rows wherever its bags do not agree."""
        config = self.config.parts
        parts = msgspec.structs.replace(config.parts or PartsConfig(), safety="segments")
        return self._parts_learner(msgspec.structs.replace(config, parts=parts)).policy()

    @cached_property
    def remembering(self) -> PartsLearner:
        """The same on rounds that count what each contact clicked before."""
        catalog = self.scenario.catalog
        schema = with_memory(self.scenario.features, catalog, CLICKED)
        rounds = remembering(self.slice.batches, Memory(catalog, CLICKED, KNOWN_DAYS))
        return self._parts_learner(self.config.parts, rounds, schema)

    def _parts_learner(
        self, config: VwConfig, rounds: Sequence[RoundBatch] | None = None, schema: FeatureSchema | None = None
    ) -> PartsLearner:
        # A metric of the slice covers one step.
        parts = msgspec.structs.replace(config.parts or PartsConfig(), money_days=self.scenario.step_days)
        config = msgspec.structs.replace(config, parts=parts)
        learner = PartsLearner(
            self.scenario.catalog,
            schema or self.scenario.features,
            self.config.metric,
            self.reward_range,
            config,
            self.config.exploration,
        )
        learner.learn(rounds or self.slice.batches)
        return learner

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


Subject = Actor | Planner
GREEDY: Final = ExplorationConfig(kind="greedy")
# Days between the messages of the fixed calendar: near the best of docs/simulator-sanity.md for a newsletter.
EVERY_DAYS: Final = 7.0
# Share of the decisions with a choice in which the volume threshold sends.
VOLUME: Final = 0.5
# Decisions from which on the numba kernels save more than compiling them costs.
FAST_FROM: Final = 200_000
# Width of the bounds and of the draws, in standard deviations of the reward.
UCB_ALPHA: Final = PeerConfig().alpha
THOMPSON_V: Final = PeerConfig().v
USUAL_HOUR: Final = PeerConfig().usual_hour


def tuned(name: str, shared: SharedLearning) -> Actor:
    """A policy of `policies.registry`, tuned on the slice as it is everywhere."""
    config, scenario = shared.config, shared.scenario
    setting = Setting(scenario.catalog, scenario.features, config.metric, shared.reward_range, segments=config.segments)
    return SparingActor(registry.make(name, shared.slice.choices, setting))


def _segments_of_parts(shared: SharedLearning) -> Subject:
    """Segments tuned on what the stages are worth: the same log, losses and charges as `vw_parts`."""
    config, scenario, state = shared.config, shared.scenario, shared.parts.state
    rounds = [
        replace(batch, rewards={STAGE_WORTH: stage_worth(batch, state, scenario.catalog)})
        for batch in shared.slice.choices
    ]
    worths = np.concatenate([batch.rewards[STAGE_WORTH] for batch in rounds])
    reward_range = float(np.nanmin(worths)) - 1.0, float(np.nanmax(worths)) + 1.0
    setting = Setting(scenario.catalog, scenario.features, STAGE_WORTH, reward_range, segments=config.segments)
    return SparingActor(registry.make("segments", rounds, setting))


def _segments_undiscounted(shared: SharedLearning) -> Subject:
    """Segments tuned on the same slice, no arm of theirs with a discount: what not discounting alone brings."""
    config, scenario = shared.config, shared.scenario
    plain = np.array([arm.discount_depth for arm in scenario.catalog.arms]) == 0.0
    if not plain.any():
        raise ConfigError("every arm of the catalog is a discount", hint="leave segments_undiscounted out")
    rounds = shared.slice.only(plain, config.slice.hold_share)
    setting = Setting(scenario.catalog, scenario.features, config.metric, shared.reward_range, segments=config.segments)
    return ArmsActor(SparingActor(registry.make("segments", rounds, setting)), plain)


def _send_time(shared: SharedLearning) -> Subject:
    """Send-time optimisation; without a usual hour in the schema the population's hours decide."""
    catalog, schema = shared.scenario.catalog, shared.scenario.features
    if USUAL_HOUR in schema.names:
        return tuned("send_time", shared)
    return SparingActor(tune_send_time(shared.slice.choices, shared.config.metric, catalog, schema, {}))


def _calendar(shared: SharedLearning) -> Subject:
    return CalendarActor(EVERY_DAYS, channel=shared.scenario.catalog.channels[0])


def _volume(shared: SharedLearning) -> Subject:
    learner = shared.vw_learner(shared.vw)
    return SparingActor(tune_volume(shared.slice.choices, shared.vw.encoder, learner.tables(), VOLUME))


def _vw(exploration: ExplorationConfig | None) -> Callable[[SharedLearning], Subject]:
    def make(shared: SharedLearning) -> Subject:
        def actor(learner: VwLearner) -> Actor:
            wanted = exploration or learner.exploration
            return PolicyActor(replace(learner.policy(), fast=_fast(shared), exploration=wanted))

        learner = shared.vw_learner(shared.vw)

        def learn(rounds: Sequence[RoundBatch]) -> Actor:
            learner.learn(rounds)
            return actor(learner)

        return _learning_on(shared, actor(learner), learn)

    return make


def _parts(exploration: ExplorationConfig | None) -> Callable[[SharedLearning], Subject]:
    def make(shared: SharedLearning) -> Subject:
        policy = shared.parts.policy()
        return PolicyActor(replace(policy, fast=_fast(shared), exploration=exploration or policy.exploration))

    return make


def _remembering(exploration: ExplorationConfig | None) -> Callable[[SharedLearning], Subject]:
    def make(shared: SharedLearning) -> Subject:
        policy = shared.remembering.policy()
        actor = PolicyActor(replace(policy, fast=_fast(shared), exploration=exploration or policy.exploration))
        return RememberingActor(actor, Memory(shared.scenario.catalog, CLICKED, KNOWN_DAYS))

    return make


def _safe(shared: SharedLearning) -> Subject:
    return PolicyActor(replace(shared.safe_policy, fast=_fast(shared), exploration=GREEDY))


def _horizon(exploration: ExplorationConfig | None) -> Callable[[SharedLearning], Subject]:
    def make(shared: SharedLearning) -> Subject:
        policy = shared.horizon_policy
        return PolicyActor(replace(policy, fast=_fast(shared), exploration=exploration or policy.exploration))

    return make


def _simulated(shared: SharedLearning) -> Subject:
    """Learnt in the simulator from other contacts and seeds, given the latents: what a log without noise teaches."""
    config = shared.config.simulated
    own = msgspec.structs.replace(config, seed=config.seed + shared.seed, days=float(shared.config.days))
    policy = learn_simulated(shared.scenario, shared.config.horizon, GREEDY, own).policy()
    return PolicyActor(replace(policy, fast=_fast(shared)))


def _linear(width: float, *, thompson: bool) -> Callable[[SharedLearning], Subject]:
    def make(shared: SharedLearning) -> Subject:
        def actor(posterior: LinearPosterior) -> Actor:
            return LinearActor(posterior, width * shared.spread, thompson)

        if not shared.config.learn_every_days:
            return actor(shared.posterior)
        sums = shared.linear()

        def learn(rounds: Sequence[RoundBatch]) -> Actor:
            sums.add(rounds)
            return actor(sums.posterior())

        return _learning_on(shared, actor(sums.posterior()), learn)

    return make


def _fast(shared: SharedLearning) -> bool:
    return shared.config.contacts * shared.steps >= FAST_FROM


def _learning_on(shared: SharedLearning, actor: Actor, learn: Callable[[Sequence[RoundBatch]], Actor]) -> Actor:
    days = shared.config.learn_every_days
    every = max(1, round(days / shared.scenario.step_days))
    return LearningActor(actor, learn, every) if days else actor


def _best_observable(shared: SharedLearning) -> Subject:
    slice_config = shared.config.slice
    return best_observable(shared.scenario, slice_config, shared.seed, shared.restriction, shared.guardrails)


def _planner(shared: SharedLearning) -> Subject:
    return PricePlanner(steps=shared.steps, rollouts=shared.config.oracle.rollouts)


MAKERS: Final[Mapping[str, Callable[[SharedLearning], Subject]]] = {
    "never": lambda _: HoldActor(),
    "uniform": lambda _: SparingActor(UniformPolicy()),
    "segments": partial(tuned, "segments"),
    "segments_of_parts": _segments_of_parts,
    "segments_undiscounted": _segments_undiscounted,
    "merge_tag": partial(tuned, "merge_tag"),
    "best_action": partial(tuned, "best_action"),
    "calendar": _calendar,
    "send_time": _send_time,
    "volume": _volume,
    "linucb": _linear(UCB_ALPHA, thompson=False),
    "lints": _linear(THOMPSON_V, thompson=True),
    "recovering": lambda shared: recovering(shared.slice),
    "vw": _vw(None),
    "vw_greedy": _vw(GREEDY),
    "vw_parts": _parts(None),
    "vw_parts_greedy": _parts(GREEDY),
    "vw_parts_memory": _remembering(None),
    "vw_parts_memory_greedy": _remembering(GREEDY),
    "vw_parts_safe": _safe,
    "vw_horizon": _horizon(None),
    "vw_horizon_greedy": _horizon(GREEDY),
    "vw_horizon_simulated": _simulated,
    "best_observable": _best_observable,
    "myopic_oracle": lambda _: MyopicOracle(),
    "planner": _planner,
}
# Policies that learnt from latents or know them: references, never candidates.
ORACLES: Final = ("best_observable", "myopic_oracle", "planner")


def require_known(policies: Sequence[str]) -> None:
    """Refuse names that nobody makes.

    Raises:
        ConfigError: there is one.
    """
    unknown = [name for name in policies if name not in MAKERS]
    if unknown:
        raise ConfigError(f"unknown policies {unknown}", hint=f"one of {', '.join(MAKERS)}")


def make(name: str, shared: SharedLearning) -> Subject:
    """The actor or planner of a name.

    Raises:
        ConfigError: nobody makes it, or the scenario lacks what it needs.
        LearnError: the slice gave nothing to learn from.
    """
    require_known([name])
    return MAKERS[name](shared)
