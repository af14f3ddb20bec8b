"""Who acts in a world: silence, policies with and without a fused path, and draws that are misused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from engine.errors import ParameterError, TactfulError
from engine.features import ContextBatch
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from policies.peers.constant import UniformPolicy
from simulator.rollout import HoldActor, PolicyActor, Turn, choose, turn_of
from simulator.world.faults import BrokenDraw, Fault, broken_at
from tests.engine.decide.hostile_policies import force
from tests.simulator.worlds import world


@dataclass(frozen=True)
class Plain:
    """A uniform policy that only has a distribution; `mass` 1 where it is one."""

    mass: float = 1.0

    @property
    def name(self) -> str:
        return "plain"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        even: FloatArray = self.mass * eligible / eligible.sum(axis=1, keepdims=True)
        return even


def test_a_plain_policy_is_drawn_from_as_a_fused_one() -> None:
    """The same uniforms over the same distributions: the same actions and propensities, in pieces or at once."""
    turn = turn_of(world("newsletter", 700))
    action, propensity = PolicyActor(Plain()).act(turn)
    dense = turn.eligibility.dense()
    np.testing.assert_allclose(propensity, 1.0 / dense.sum(axis=1))
    first = (np.cumsum(dense / dense.sum(axis=1, keepdims=True), axis=1) > turn.uniform[:, None]).argmax(axis=1)
    assert (action == first).mean() > 0.999
    fused, nominal = PolicyActor(UniformPolicy()).act(turn)
    assert (action == fused).mean() > 0.999
    np.testing.assert_allclose(propensity, nominal)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(TactfulError):
        PolicyActor(Plain(0.9)).act(turn_of(world("newsletter", 20)))


def test_only_those_who_are_decided_for_are_written_to() -> None:
    batch = world("onboarding", 500)
    action = choose(batch, PolicyActor(UniformPolicy()))
    outside = np.ones(500, dtype=np.bool_)
    outside[np.flatnonzero(batch.deciding())] = False
    assert outside.any()
    assert (action[outside] == HOLD).all()
    assert (action != HOLD).any()


@pytest.mark.parametrize("honest", [True, False])
def test_an_actor_that_writes_to_its_turn_sends_nothing_else(honest: bool) -> None:
    class Forcing:
        def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
            dense = turn.eligibility.dense()
            for one in (turn.contacts.context, turn.uniform, turn.rows, turn.eligibility):
                force(one)
            wanted = dense if honest else ~dense
            return np.where(wanted.any(axis=1), wanted.argmax(axis=1), HOLD), np.ones(len(dense))

    batch = world("newsletter", 300)
    if honest:
        assert (choose(batch, Forcing()) == HOLD).all()
    else:
        with pytest.raises(ParameterError, match="a removed one"):
            choose(batch, Forcing())


def test_silence_has_propensity_one() -> None:
    turn = turn_of(world("newsletter", 30))
    action, propensity = HoldActor().act(turn)
    assert (action == HOLD).all()
    assert (propensity == 1.0).all()


@pytest.mark.parametrize("policy", [UniformPolicy(), Plain()], ids=["fused", "plain"])
def test_broken_draws_square_the_uniform(policy: UniformPolicy | Plain) -> None:
    turn = turn_of(world("newsletter", 300))
    broken = BrokenDraw(policy)
    assert broken.name == policy.name
    context, eligible = turn.contacts.context, turn.eligibility
    np.testing.assert_allclose(
        broken.distribution(context, eligible.dense()), policy.distribution(context, eligible.dense())
    )
    found, propensity = broken.choose(context, eligible, turn.uniform)
    honest, nominal = BrokenDraw(policy).choose(context, eligible, np.sqrt(turn.uniform))
    assert (found <= honest).all()
    assert (found < honest).any()
    np.testing.assert_allclose(propensity, nominal)


def test_draws_are_broken_while_the_fault_is_on() -> None:
    faults = (Fault(kind="broken_randomisation", from_day=2, days=1), Fault(kind="stale_feed"))
    policy = UniformPolicy()
    assert broken_at(policy, faults, 1.0) is policy
    assert isinstance(broken_at(policy, faults, 2.0), BrokenDraw)
    assert broken_at(policy, faults, 3.0) is policy


def test_nothing_of_a_sealed_turn_can_be_written_to() -> None:
    """Whatever the contacts carry: arrays of their own and of their mappings, context and events."""
    turn = turn_of(world("newsletter", 700)).sealed()
    contacts = turn.contacts
    parts = [turn, turn.eligibility, contacts, contacts.context, *([contacts.events] if contacts.events else [])]
    arrays = [value for part in parts for value in vars(part).values() if isinstance(value, np.ndarray)]
    arrays += [*contacts.extra.values(), *contacts.sent_details.values()]
    assert len(arrays) > 12
    assert not any(array.flags.writeable for array in arrays)
    with pytest.raises(ValueError, match="read-only"):
        contacts.consent[:] = 1
