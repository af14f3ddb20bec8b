"""From the name of a policy to an actor: everything that learns, learns from the same randomised slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from engine.errors import ConfigError
from engine.records.rounds import RoundBlock
from experiments.horizon.simulated import learn_simulated
from experiments.season.bench import Bench
from experiments.season.learning import LearningActor
from experiments.season.linear import LinearActor
from experiments.season.peers import recovering, send_time
from experiments.season.turns import SparingActor
from policies.exploring.config import ExplorationConfig
from policies.linear.ridge import LinearPosterior
from policies.peers.constant import BestAction, MergeTagBlast, UniformPolicy
from policies.peers.segments import tune_segments
from policies.peers.volume_threshold import tune_volume
from policies.vw.learner import VwLearner
from simulator.oracles.calendar import CalendarActor
from simulator.oracles.myopic import MyopicOracle
from simulator.oracles.planner import PricePlanner
from simulator.rollout import Actor, HoldActor, PolicyActor
from simulator.truth import Planner

Subject = Actor | Planner
GREEDY: Final = ExplorationConfig(kind="greedy")
# Days between the messages of the fixed calendar: near the best of docs/simulator-sanity.md for a newsletter.
EVERY_DAYS: Final = 7.0
# Share of the decisions with a choice in which the volume threshold sends.
VOLUME: Final = 0.5
# Decisions from which on the numba kernels save more than compiling them costs.
FAST_FROM: Final = 200_000
# Width of the bounds and of the draws, in standard deviations of the reward: the defaults of the peers, rescaled.
UCB_ALPHA: Final = 1.0
THOMPSON_V: Final = 0.25


def tuned_segments(bench: Bench) -> Actor:
    """The static segments: features and actions chosen on the slice."""
    config, scenario = bench.config, bench.scenario
    tuned = tune_segments(bench.slice.choices, config.metric, scenario.catalog, scenario.features, config.segments)
    return SparingActor(tuned)


def _calendar(bench: Bench) -> Subject:
    return CalendarActor(EVERY_DAYS, channel=bench.scenario.catalog.channels[0])


def _volume(bench: Bench) -> Subject:
    learner = bench.vw_learner(bench.vw)
    return SparingActor(tune_volume(bench.slice.choices, bench.vw.encoder, learner.tables(), VOLUME))


def _vw(exploration: ExplorationConfig | None) -> Callable[[Bench], Subject]:
    def make(bench: Bench) -> Subject:
        def actor(learner: VwLearner) -> Actor:
            wanted = exploration or learner.exploration
            return PolicyActor(replace(learner.policy(), fast=_fast(bench), exploration=wanted))

        learner = bench.vw_learner(bench.vw)

        def learn(rounds: Sequence[RoundBlock]) -> Actor:
            learner.learn(rounds)
            return actor(learner)

        return _learning_on(bench, actor(learner), learn)

    return make


def _horizon(exploration: ExplorationConfig | None) -> Callable[[Bench], Subject]:
    def make(bench: Bench) -> Subject:
        policy = bench.horizon_policy
        return PolicyActor(replace(policy, fast=_fast(bench), exploration=exploration or policy.exploration))

    return make


def _simulated(bench: Bench) -> Subject:
    """Learnt in the simulator from other contacts and seeds, given the latents: what a log without noise teaches."""
    config = bench.config.simulated
    own = msgspec.structs.replace(config, seed=config.seed + bench.seed, days=float(bench.config.days))
    policy = learn_simulated(bench.scenario, bench.config.horizon, GREEDY, own).policy()
    return PolicyActor(replace(policy, fast=_fast(bench)))


def _linear(width: float, *, thompson: bool) -> Callable[[Bench], Subject]:
    def make(bench: Bench) -> Subject:
        def actor(posterior: LinearPosterior) -> Actor:
            return LinearActor(posterior, width * bench.spread, thompson)

        if not bench.config.learn_every_days:
            return actor(bench.posterior)
        sums = bench.linear()

        def learn(rounds: Sequence[RoundBlock]) -> Actor:
            sums.add(rounds)
            return actor(sums.posterior())

        return _learning_on(bench, actor(sums.posterior()), learn)

    return make


def _fast(bench: Bench) -> bool:
    return bench.config.contacts * bench.steps >= FAST_FROM


def _learning_on(bench: Bench, actor: Actor, learn: Callable[[Sequence[RoundBlock]], Actor]) -> Actor:
    days = bench.config.learn_every_days
    every = max(1, round(days / bench.scenario.step_days))
    return LearningActor(actor, learn, every) if days else actor


def _planner(bench: Bench) -> Subject:
    return PricePlanner(steps=bench.steps, rollouts=bench.config.oracle.rollouts)


MAKERS: Final[Mapping[str, Callable[[Bench], Subject]]] = {
    "never": lambda _: HoldActor(),
    "uniform": lambda _: SparingActor(UniformPolicy()),
    "segments": tuned_segments,
    "merge_tag": lambda bench: SparingActor(MergeTagBlast(bench.values)),
    "best_action": lambda bench: SparingActor(BestAction(bench.values)),
    "calendar": _calendar,
    "send_time": lambda bench: SparingActor(send_time(bench.slice, bench.config.metric)),
    "volume": _volume,
    "linucb": _linear(UCB_ALPHA, thompson=False),
    "lints": _linear(THOMPSON_V, thompson=True),
    "recovering": lambda bench: recovering(bench.slice),
    "vw": _vw(None),
    "vw_greedy": _vw(GREEDY),
    "vw_horizon": _horizon(None),
    "vw_horizon_greedy": _horizon(GREEDY),
    "vw_horizon_simulated": _simulated,
    "myopic_oracle": lambda _: MyopicOracle(),
    "planner": _planner,
}
# Policies that know the latents: references, never candidates.
ORACLES: Final = ("myopic_oracle", "planner")


def require_known(policies: Sequence[str]) -> None:
    """Refuse names that nobody makes.

    Raises:
        ConfigError: there is one.
    """
    unknown = [name for name in policies if name not in MAKERS]
    if unknown:
        raise ConfigError(f"unknown policies {unknown}", hint=f"one of {', '.join(MAKERS)}")


def make(name: str, bench: Bench) -> Subject:
    """The actor or planner of a name.

    Raises:
        ConfigError: nobody makes it, or the scenario lacks what it needs.
        LearnError: the slice gave nothing to learn from.
    """
    require_known([name])
    return MAKERS[name](bench)
