"""Policy iteration in the simulator: for teams that calibrated it to their list, and as the best a log could teach.

Other contacts, seeds and futures than those on which a policy is judged. The policy sees observations alone; what
teaches it are expectations given the latents, so its data are those of a log without noise.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from engine.errors import LearnError, ParameterError
from engine.types import FloatArray
from experiments.horizon.branches import Branches, BranchPlan, simulate_branches
from policies.exploring.config import ExplorationConfig
from policies.horizon.continuation import grouped
from policies.horizon.learner import HorizonLearner
from policies.horizon.regression import Regression
from policies.peers.constant import UniformPolicy
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy
from simulator.rollout import PolicyActor
from simulator.scenario import Scenario

# Contacts of training are numbered from here on: nobody else's numbers are as high.
FIRST: Final = 70_000_000
METRIC: Final = "margin"


class SimulatedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is simulated.

    Attributes:
        contacts: per round; each is simulated three times.
        rounds: number of policy iterations, at least 1; the first one branches off random decisions.
        days: horizon.
        kept: last rounds whose branches give the continuation value.
        ridge: penalty of its regression, in rows.
        seed: seed of the worlds.
    """

    contacts: int = 10_000
    rounds: int = 6
    days: float = 90.0
    kept: int = 3
    ridge: float = 400.0
    seed: int = 770_001

    def __post_init__(self) -> None:
        for name in ("contacts", "rounds", "kept"):
            if getattr(self, name) < 1:
                raise ParameterError(name, "SimulatedConfig", allowed="at least 1", got=getattr(self, name))
        for name in ("days", "ridge"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ParameterError(name, "SimulatedConfig", allowed="finite, above 0", got=getattr(self, name))


def learn_simulated(
    scenario: Scenario, learner: VwConfig, exploration: ExplorationConfig, config: SimulatedConfig | None = None
) -> HorizonLearner:
    """Learn by policy iteration on simulated trajectories.

    Args:
        scenario: the world.
        learner: with `horizon`: its examples, actions and seed are used, and Vowpal Wabbit's parameters.
        exploration: how the policy that is handed out explores; while learning it is greedy.
        config: how much is simulated.

    Raises:
        LearnError: nobody may ever be sent anything, or a failure of Vowpal Wabbit.
    """
    config = config or SimulatedConfig()
    steps = max(1, round(config.days / scenario.step_days))
    found: list[Branches] = []
    made: HorizonLearner | None = None
    for number in range(config.rounds):
        policy = None if made is None else _greedy(made)
        actor = PolicyActor(UniformPolicy() if policy is None else policy)
        plan = BranchPlan(scenario, config.contacts, FIRST + number * config.contacts, config.seed, steps, number)
        branches = simulate_branches(plan, actor, policy)
        if branches is None:
            raise LearnError("nobody may ever be sent anything in the simulation", hint="see the guardrail pack")
        found.append(branches)
        made = _learnt(scenario, learner, exploration, found, config)
    if made is None:
        raise LearnError("there was no round", hint="raise rounds")
    return made


def _learnt(
    scenario: Scenario,
    learner: VwConfig,
    exploration: ExplorationConfig,
    found: list[Branches],
    config: SimulatedConfig,
) -> HorizonLearner:
    catalog = scenario.catalog
    small, group = grouped(catalog)
    recent = found[-config.kept :]
    on = Regression(
        small,
        scenario.features,
        [context for one in recent for context in one.contexts],
        group[np.concatenate([one.action for one in recent]) - 1],
        np.concatenate([one.weight for one in recent]),
        msgspec.structs.replace(learner, horizon=None),
    )
    later = _bounded(np.concatenate([one.later for one in recent]))
    model = on.fitted(later, np.ones(len(later), dtype=np.bool_), config.ridge)
    contexts = [context for one in found for context in one.contexts]
    gains = np.concatenate([one.gains for one in found])
    total = gains + np.concatenate([model.predict(context)[:, group] for context in contexts])
    made = HorizonLearner(catalog, scenario.features, METRIC, (-1e6, 1e6), learner, exploration)
    made.learn_advantages(contexts, total)
    return made


def _bounded(values: FloatArray) -> FloatArray:
    """Without the few differences in which an order more or less has set two runs apart for good."""
    low, high = np.quantile(values, [0.002, 0.998])
    return np.clip(values, low, high)


def _greedy(made: HorizonLearner) -> CompiledPolicy:
    policy = made.policy()
    return CompiledPolicy(
        policy.catalog, policy.encoder, policy.tables, ExplorationConfig(kind="greedy"), policy.rounds, policy.name
    )
