"""The long horizon in the simulator: branches, policy iteration, refits in the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ParameterError
from experiments.horizon.branches import BranchPlan, simulate_branches
from experiments.horizon.simulated import SimulatedConfig, learn_simulated
from experiments.settings import compose_settings
from experiments.simulate.run import SimulateRequest, simulate
from experiments.simulate.run_spec import SimulateConfig
from policies.exploring.config import ExplorationConfig
from policies.horizon.config import HorizonConfig
from policies.peers.constant import UniformPolicy
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig
from simulator.rollout import PolicyActor
from simulator.scenario import Scenario, load_scenario

BRIEF = VwConfig(bit_precision=14, horizon=HorizonConfig(examples=200, look_ahead=0))


@pytest.fixture(scope="module")
def newsletter() -> Scenario:
    return load_scenario("newsletter")


def test_nothing_comes_after_the_last_step(newsletter: Scenario) -> None:
    """A horizon of one step: a send is worth its gain, and nothing later."""
    found = simulate_branches(BranchPlan(newsletter, 60, 0, 5, 1), PolicyActor(UniformPolicy()), None)
    assert found is not None
    assert len(found.later) == len(found.gains) == sum(context.n for context in found.contexts)
    assert np.abs(found.later).max() < 1e-9
    assert (found.action > 0).all()
    assert (found.weight == 1.0).all()


def test_branches_repeat_and_follow_the_luck(newsletter: Scenario) -> None:
    plan = BranchPlan(newsletter, 60, 0, 5, 6)
    one, same = (simulate_branches(plan, PolicyActor(UniformPolicy()), None) for _ in range(2))
    assert one is not None
    assert same is not None
    assert (one.later == same.later).all()
    assert (one.action == same.action).all()
    assert np.abs(one.later).max() > 0.0


def test_dear_messages_are_not_sent(newsletter: Scenario) -> None:
    """Every message costs 50 usd: the learnt policy holds everywhere."""
    dear = load_scenario("newsletter", {"money": {"send_cost_usd": {"email": 50.0, "sms": 50.0, "push": 50.0}}})
    config = SimulatedConfig(contacts=60, rounds=1, days=4.0)
    learnt = learn_simulated(dear, BRIEF, ExplorationConfig(kind="greedy"), config)
    seen = simulate_branches(BranchPlan(newsletter, 40, 0, 6, 2), PolicyActor(UniformPolicy()), None)
    assert seen is not None
    context = seen.contexts[0]
    held = learnt.policy().distribution(context, np.ones((context.n, newsletter.catalog.k), dtype=np.bool_))
    assert (held[:, 0] == 1.0).all()


@pytest.mark.parametrize("changes", [{"contacts": 0}, {"rounds": 0}, {"days": 0.0}], ids=["contacts", "rounds", "days"])
def test_bad_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        SimulatedConfig(**changes)


def test_the_loop_refits_from_what_is_known(tmp_path: Path) -> None:
    """Eight days, a window of three: one fit, at the start of the seventh day, from the first four."""
    overrides = [
        *("policy=vw", "learner=horizon", "contacts=40", "days=8", "warm_up_days=4", "exploration=epsilon_greedy"),
        *("learner.horizon.look_ahead=0", "learner.horizon.examples=200", "learner.passes=1"),
        "+learner.bit_precision=14",
    ]
    config = compose_settings("simulate", overrides, SimulateConfig)
    output = simulate(SimulateRequest(tmp_path / "one.parquet", "key"), config)
    folder = Path(output.files["policy"])
    assert TrainedFolder(folder).policy().name == "vw_horizon_epsilon_greedy"
    assert TrainedFolder(folder).manifest.rounds > 0
    assert output.decisions > TrainedFolder(folder).manifest.rounds
