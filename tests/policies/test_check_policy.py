"""policies/check.py: our policies pass, and every kind of offender is found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.sampling import draw
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import uniform
from policies.vw.learner import VwLearner


@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax", "squarecb"])
@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 1, 2)])
def test_compiled_policies_pass(make_world, kind, shape):
    world = make_world(*shape)
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    learner.learn([world.rounds(300, seed=71)])
    check_policy(replace(learner.policy(), exploration=ExplorationConfig(kind=kind)), world.catalog, world.schema)


@dataclass
class Spoiled:
    """Uniform, spoiled by a function of (probabilities, context, eligible)."""

    spoil: object
    name: str = "spoiled"
    calls: int = 0

    def distribution(self, context, eligible):
        self.calls += 1
        return self.spoil(self, uniform(eligible), context, eligible)


def by_order(self, p, context, eligible):
    first = np.eye(p.shape[1])[eligible.argmax(axis=1)]
    return np.where(np.arange(len(p))[:, None] % 2, first, p)


def changes_input(self, p, context, eligible):
    eligible |= False
    next(iter(context.columns.values())).state[:] = 1
    return p


def looks_first(self, p, context, eligible):
    """Writes where it can, and is quiet where it cannot."""
    if eligible.flags.writeable:
        eligible[:, 1:] = True
    return p


def forces(self, p, context, eligible):
    """Leaves alone what can be written to, and opens what cannot."""
    if not eligible.flags.writeable:
        eligible.setflags(write=True)
    return p


def adds_a_feature(self, p, context, eligible):
    context.columns["more"] = next(iter(context.columns.values()))
    return p


class Lenient:
    name = "lenient"

    def distribution(self, context, eligible):
        return eligible / np.maximum(eligible.sum(axis=1, keepdims=True), 1)


class Nameless(Lenient):
    name = ""


OFFENDERS = {
    "sums to 1.1": (Spoiled(lambda self, p, c, e: p * 1.1), "sum to 1"),
    "negative": (Spoiled(lambda self, p, c, e: -p), "non-negative"),
    "removed actions": (Spoiled(lambda self, p, c, e: np.full(p.shape, 1 / p.shape[1])), "removed"),
    "wrong shape": (Spoiled(lambda self, p, c, e: p[:, :-1]), "shape"),
    "float32": (Spoiled(lambda self, p, c, e: p.astype(np.float32)), "float64"),
    "a list": (Spoiled(lambda self, p, c, e: p.tolist()), "float64"),
    "impure": (Spoiled(lambda self, p, c, e: p if self.calls < 2 else p * (1 + 1e-9)), "pure"),
    "row order": (Spoiled(by_order), "order"),
    "batch size": (Spoiled(lambda self, p, c, e: p * (1 + 1e-9 * (len(p) < 96))), "batch size"),
    "changes its input": (Spoiled(changes_input), "inputs"),
    "writes to the eligible set": (Spoiled(looks_first), "leaves its inputs .*changed inputs"),
    "opens the eligible set": (Spoiled(forces), "leaves its inputs .*a write"),
    "adds to the context": (Spoiled(adds_a_feature), "leaves its inputs .*changed inputs"),
    "answers empty sets": (Lenient(), "empty eligible set"),
    "nameless": (Nameless(), "name"),
}


@pytest.mark.parametrize("name", OFFENDERS)
def test_offenders_are_found(world, name):
    policy, message = OFFENDERS[name]
    with pytest.raises(ParameterError, match=message):
        check_policy(policy, world.catalog, world.schema)


@dataclass
class Drawing(Spoiled):
    """Uniform, with a draw of its own that is spoiled by a function of (action, propensity) or of its inputs."""

    spoil: object = staticmethod(lambda self, p, context, eligible: p)
    answer: object = staticmethod(lambda action, propensity: (action, propensity))
    touch: object = staticmethod(lambda context, eligibility, draws: None)

    def choose(self, context, eligibility, draws):
        found = draw(uniform(eligibility.dense()), draws)
        self.touch(context, eligibility, draws)
        return self.answer(*found)


def opens_arms(context, eligibility, draws):
    eligibility.channel_arm[...] = True


def shifts_draws(context, eligibility, draws):
    draws += 0.01


def shares_purposes(context, eligibility, draws):
    eligibility.purpose_codes[...] = 1


def forces_draws(context, eligibility, draws):
    if not draws.flags.writeable:
        draws.setflags(write=True)


FUSED_OFFENDERS = {
    "writes to the factors": (Drawing(touch=opens_arms), "leaves its inputs .*changed inputs"),
    "writes to the draws": (Drawing(touch=shifts_draws), "leaves its inputs .*changed inputs"),
    "writes to the purposes": (Drawing(touch=shares_purposes), "leaves its inputs .*changed inputs"),
    "opens the draws": (Drawing(touch=forces_draws), "leaves its inputs .*a write"),
    "another action": (Drawing(answer=lambda a, p: (np.zeros_like(a), p)), "draws from"),
    "a removed action": (Drawing(answer=lambda a, p: (a * 0 + 1, p)), "eligible action"),
    "another propensity": (Drawing(answer=lambda a, p: (a, p * 0.9)), "propensities of"),
    "an impossible propensity": (Drawing(answer=lambda a, p: (a, p + 1.0)), r"in \(0, 1\]"),
}


@pytest.mark.parametrize("name", FUSED_OFFENDERS)
def test_offenders_that_draw_are_found(world, name):
    policy, message = FUSED_OFFENDERS[name]
    with pytest.raises(ParameterError, match=message):
        check_policy(policy, world.catalog, world.schema)


def test_a_draw_of_its_own_may_be_right(world):
    check_policy(Drawing(), world.catalog, world.schema)
