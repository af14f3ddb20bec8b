"""The estimators of trajectories in a small world whose values are known exactly.

Contacts are fresh or tired. A message (action 1) earns 1 to the fresh and 0.2 to the tired and tires with probability
0.7; silence (action 0) earns 0.3 to both and refreshes with probability 0.6. The log sends with 0.5, the target with
0.8 to the fresh and 0.1 to the tired.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import LearnError
from engine.ope.sequences.doubly_robust import direct, dr, magic, weighted_dr
from engine.ope.sequences.fqe import Steps, with_model
from engine.ope.sequences.importance import (
    per_decision_is,
    trajectory_is,
    weighted_per_decision_is,
    weighted_trajectory_is,
)
from engine.ope.sequences.trajectories import Trajectories

HORIZON, GAMMA = 5, 0.9
EARNS = np.array([[0.3, 1.0], [0.3, 0.2]])  # [tired, action]
TIRES = np.array([[0.0, 0.7], [0.4, 1.0]])  # chance to be tired afterwards
TARGET = np.array([[0.2, 0.8], [0.9, 0.1]])


class ByCell:
    """Mean of the target by distinct row of the design: exact where state and action are all there is."""

    def fit(self, X, y):
        cell = self._cell(X)
        self.means = np.bincount(cell, y, 4) / np.maximum(np.bincount(cell, minlength=4), 1)
        return self

    def predict(self, X):
        return self.means[self._cell(X)]

    @staticmethod
    def _cell(X):
        return (2 * X[:, 0] + X[:, 2]).astype(int)


def truth() -> float:
    value = np.zeros(2)
    for _ in range(HORIZON):
        ahead = EARNS + GAMMA * ((1 - TIRES) * value[0] + TIRES * value[1])
        value = (TARGET * ahead).sum(axis=1)
    return float(value[0])


def world(n, rng, dropout=0.0):
    tired = np.zeros(n, dtype=int)
    active = np.ones(n, dtype=bool)
    columns = []
    for _ in range(HORIZON):
        action = rng.integers(2, size=n)
        reward = EARNS[tired, action] + 0.3 * rng.normal(size=n)
        columns.append((tired, action, reward * active, active))
        tired = (rng.random(n) < TIRES[tired, action]).astype(int)
        active = active & (rng.random(n) >= dropout)
    state, action, reward, kept = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    weight = np.where(kept, TARGET[state, action] / 0.5, 1.0)
    return Trajectories(weight, reward), Steps(state[..., None].astype(float), action, TARGET[state], kept)


def errors(replications=150, n=300):
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(replications):
        trajectories, steps = world(n, rng)
        fitted = with_model(trajectories, steps, ByCell(), gamma=GAMMA)
        made = {
            "trajectory": trajectory_is(trajectories, GAMMA),
            "weighted trajectory": weighted_trajectory_is(trajectories, GAMMA),
            "per decision": per_decision_is(trajectories, GAMMA),
            "weighted per decision": weighted_per_decision_is(trajectories, GAMMA),
            "dr": dr(fitted, GAMMA),
            "weighted dr": weighted_dr(fitted, GAMMA),
            "fqe": direct(fitted),
        }
        for name, estimate in made.items():
            found.setdefault(name, []).append((estimate.value - truth(), estimate.stderr))
        found.setdefault("magic", []).append((magic(fitted, GAMMA).value - truth(), np.nan))
    return {name: np.array(pairs) for name, pairs in found.items()}


@pytest.fixture(scope="module")
def found():
    return errors()


def test_estimates_are_around_the_truth(found) -> None:
    for name, pairs in found.items():
        off, spread = pairs[:, 0].mean(), pairs[:, 0].std() / np.sqrt(len(pairs))
        assert abs(off) < 4 * spread + 0.02, name


def test_each_step_lowers_the_error(found) -> None:
    mse = {name: (pairs[:, 0] ** 2).mean() for name, pairs in found.items()}
    assert mse["per decision"] < mse["trajectory"]
    assert mse["weighted per decision"] < mse["per decision"]
    assert mse["dr"] < 0.5 * mse["per decision"]
    assert mse["magic"] < mse["weighted per decision"]
    assert mse["fqe"] < mse["dr"]


def test_standard_errors_are_those_of_the_replications(found) -> None:
    for name in ("per decision", "weighted per decision", "weighted trajectory", "dr", "weighted dr"):
        pairs = found[name]
        assert pairs[:, 1].mean() == pytest.approx(pairs[:, 0].std(), rel=0.2), name
        covered = (np.abs(pairs[:, 0]) < 1.96 * pairs[:, 1]).mean()
        assert 0.89 <= covered <= 0.99, name


def test_fitted_q_is_exact_where_the_model_is() -> None:
    """Without noise in what the model sees, 20,000 trajectories: v of the first step is the target's value."""
    trajectories, steps = world(20_000, np.random.default_rng(1))
    fitted = with_model(trajectories, steps, ByCell(), gamma=GAMMA)
    assert direct(fitted).value == pytest.approx(truth(), abs=0.02)


def test_trajectories_may_end_early() -> None:
    trajectories, steps = world(4000, np.random.default_rng(2), dropout=0.3)
    fitted = with_model(trajectories, steps, ByCell(), gamma=GAMMA, keys=np.arange(4000).astype(np.uint64) * 7)
    assert (fitted.value[~steps.active] == 0).all()
    assert (fitted.logged[~steps.active] == 0).all()
    step_by_step, robust = per_decision_is(fitted, GAMMA), dr(fitted, GAMMA)
    assert abs(step_by_step.value - robust.value) < 4 * step_by_step.stderr
    assert robust.stderr < step_by_step.stderr
    assert robust.value < truth()


@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_a_failing_regressor_is_refused(kind) -> None:
    class Bad:
        def fit(self, X, y):
            if kind == "raises":
                raise ValueError("no")

        def predict(self, X):
            return np.full(len(X), np.nan)

    trajectories, steps = world(20, np.random.default_rng(3))
    with pytest.raises(LearnError, match="Bad"):
        with_model(trajectories, steps, Bad())
