"""The randomised slice of decisions, and the draw that somebody broke."""

from __future__ import annotations

import numpy as np
import pytest

from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.protocols import FusedPolicy
from engine.sampling import draw
from engine.types import BoolArray, FloatArray
from experiments.simulate.policies import ExploredPolicy, explored
from experiments.simulate.run_spec import DayPolicy
from policies.check import check_policy
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from simulator.scenario import load_scenario
from simulator.world.faults import BrokenDraw, Fault, broken_at
from simulator.world.world import World

SCENARIO = load_scenario("newsletter")
SEND = "email|9|time_saver"


def offered(n: int = 4000) -> tuple[ContextBatch, Eligibility, FloatArray]:
    world = World(SCENARIO, n, 3)
    contacts = world.contacts(np.arange(n))
    return contacts.context, world.eligibility(contacts), np.random.default_rng(5).random(n)


def test_the_slice_is_a_policy_and_the_fault_is_found() -> None:
    check_policy(ExploredPolicy(AlwaysPolicy(SCENARIO.catalog, SEND), 0.3), SCENARIO.catalog, SCENARIO.features)
    with pytest.raises(ParameterError, match="`choose` draws from"):
        check_policy(BrokenDraw(UniformPolicy()), SCENARIO.catalog, SCENARIO.features)


def test_the_slice_by_hand() -> None:
    """Three of four eligible, 0.4 at random: 0.6 + 0.4 / 3 on the policy's action, 0.4 / 3 on the two others."""
    catalog = SCENARIO.catalog
    eligible: BoolArray = np.zeros((1, catalog.k), dtype=np.bool_)
    wanted = catalog.resolve(SEND)
    eligible[0, [0, wanted, wanted + 1]] = True
    context = ContextBatch(SCENARIO.features, {}, 1)
    found = ExploredPolicy(AlwaysPolicy(catalog, SEND), 0.4).distribution(context, eligible)[0]
    assert found[wanted] == pytest.approx(0.6 + 0.4 / 3)
    assert found[0] == pytest.approx(0.4 / 3)
    assert found.sum() == pytest.approx(1.0)


def test_no_slice_is_the_policy_itself() -> None:
    who = DayPolicy(UniformPolicy(), "uniform")
    assert explored(who, 0.0) is who
    assert explored(who, 0.25).version == "uniform, 0.25 at random"


@pytest.mark.parametrize("kind", ["plain", "fused"])
def test_broken_draws_lean_to_the_first_actions_at_nominal_propensities(kind: str) -> None:
    context, eligibility, uniform = offered()
    policy: object = UniformPolicy()
    if kind == "fused":
        policy = BrokenDraw(UniformPolicy())
        assert isinstance(policy, FusedPolicy)
    broken = BrokenDraw(policy)  # type: ignore[arg-type]
    action, propensity = broken.choose(context, eligibility, uniform)
    dense = eligibility.dense()
    nominal = UniformPolicy().distribution(context, dense)
    assert np.allclose(propensity, nominal[np.arange(len(action)), action], rtol=1e-12, atol=0)
    honest, _ = draw(nominal, uniform)
    assert (action <= honest).all()
    assert action.mean() < honest.mean()


def test_only_its_span_is_broken() -> None:
    fault = Fault(kind="broken_randomisation", from_day=2.0, days=3.0)
    other = Fault(kind="stale_feed")
    policy = UniformPolicy()
    broken = [isinstance(broken_at(policy, (other, fault), float(day)), BrokenDraw) for day in range(7)]
    assert broken == [False, False, True, True, True, False, False]
