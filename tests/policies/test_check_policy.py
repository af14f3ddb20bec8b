"""policies/check.py: our policies pass, and every kind of offender is found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.errors import ParameterError
from policies.check import check_policy
from policies.exploration import uniform
from policies.exploration_config import ExplorationConfig
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
    "block size": (Spoiled(lambda self, p, c, e: p * (1 + 1e-9 * (len(p) < 96))), "block size"),
    "changes its input": (Spoiled(changes_input), "inputs"),
    "answers empty sets": (Lenient(), "empty eligible set"),
    "nameless": (Nameless(), "name"),
}


@pytest.mark.parametrize("name", OFFENDERS)
def test_offenders_are_found(world, name):
    policy, message = OFFENDERS[name]
    with pytest.raises(ParameterError, match=message):
        check_policy(policy, world.catalog, world.schema)
