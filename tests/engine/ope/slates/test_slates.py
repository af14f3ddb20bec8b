"""The estimators of slates: by hand, against obp and vw-estimators, and their order where slates are read downwards."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.ope.sequences.fqe import Steps, with_model
from engine.ope.sequences.importance import per_decision_is
from engine.ope.sequences.trajectories import Trajectories
from engine.ope.slates.estimators import (
    cascade_dr,
    independent,
    interaction,
    interaction_columns,
    pseudo_inverse,
    standard,
)
from engine.ope.slates.slates import Slates
from engine.ope.sums.ratios import MEAN, UnitSums
from tests.engine.ope.asking import of_chunks

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "obp.json").read_text(encoding="utf-8"))
ESTIMATORS = {
    "standard": standard,
    "independent": independent,
    "interaction": interaction,
    "cascade_dr": cascade_dr,
    "pseudo_inverse": pseudo_inverse,
}
WEIGHT = np.array([[2.0, 0.5], [0.5, 3.0]])
REWARD = np.array([[1.0, 2.0], [3.0, 4.0]])
VALUE, LOGGED = np.array([[3.0, 2.0], [5.0, 3.0]]), np.array([[2.0, 1.0], [6.0, 4.0]])
TWO = Slates(REWARD, WEIGHT, WEIGHT, VALUE, LOGGED)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("standard", (1 * 3, 1.5 * 7)),
        ("independent", (2 * 1 + 0.5 * 2, 0.5 * 3 + 3 * 4)),
        ("interaction", (2 * 1 + 1 * 2, 0.5 * 3 + 1.5 * 4)),
        ("pseudo_inverse", (1.5 * 3, 2.5 * 7)),
        ("cascade_dr", (2 * -1 + 3 + 1 * 1 + 2 * 2, 0.5 * -3 + 5 + 0 + 0.5 * 3)),
    ],
)
def test_two_slates(name, terms) -> None:
    found = ESTIMATORS[name](TWO)
    assert found.value == pytest.approx(sum(terms) / 2)
    assert found.stderr == pytest.approx(abs(terms[0] - terms[1]) / 2)


def test_slots_may_count_differently() -> None:
    """Twice the first slot, none of the second: 2 * (2 * 1, 0.5 * 3)."""
    assert independent(TWO, np.array([2.0, 0.0])).value == pytest.approx(3.5)


def golden_slates() -> Slates:
    log = {name: np.array(values) for name, values in GOLDEN["slates"]["log"].items()}
    rows, slots = np.arange(len(log["action"]))[:, None], np.arange(log["action"].shape[1])
    logging, target, q = (log[name][rows, slots, log["action"]] for name in ("logging", "target", "model"))
    value = (log["target"] * log["model"]).sum(axis=2)
    return Slates(log["reward"], target / logging, target / logging, value, q)


@pytest.mark.parametrize("name", list(GOLDEN["slates"]["obp"]))
def test_estimates_equal_obp(name) -> None:
    assert ESTIMATORS[name](golden_slates()).value == pytest.approx(GOLDEN["slates"]["obp"][name], rel=1e-9)


def test_the_pseudo_inverse_equals_vw_estimators() -> None:
    assert pseudo_inverse(golden_slates()).value == pytest.approx(GOLDEN["vw"]["pseudo_inverse"], rel=1e-9)


def test_interaction_is_per_decision_importance_sampling() -> None:
    slates = golden_slates()
    found, same = interaction(slates), per_decision_is(Trajectories(slates.chain_weight, slates.reward))
    assert (found.value, found.stderr) == pytest.approx((same.value, same.stderr))


def test_one_slot_makes_them_all_alike() -> None:
    one = Slates(REWARD[:, :1], WEIGHT[:, :1], WEIGHT[:, :1])
    values = {round(ESTIMATORS[name](one).value, 12) for name in ESTIMATORS if name != "cascade_dr"}
    assert values == {1.75}


def test_a_perfect_model_leaves_no_error() -> None:
    """Rewards without noise: r_l - q_l is minus the value of what follows, and the sum telescopes to v_1 = 3."""
    value = np.array([[3.0, 2.0], [3.0, 2.0]])
    exact = Slates(REWARD, WEIGHT, WEIGHT, value, REWARD + np.array([2.0, 0.0]))
    found = cascade_dr(exact)
    assert found.value == pytest.approx(3.0)
    assert found.stderr == pytest.approx(0.0, abs=1e-12)


def test_any_partition_gives_the_same_bytes() -> None:
    slates = golden_slates()
    values = interaction_columns(slates)
    chunks = [values[:, i : i + 10] for i in range(0, 60, 10)]
    first, second = UnitSums(2, MEAN), UnitSums(2, MEAN)
    for number in (5, 0, 3):
        first.add(number, chunks[number])
    for number in (2, 4, 1):
        second.add(number, chunks[number])
    first.merge(second)
    assert first.result() == of_chunks(chunks, MEAN)
    assert first.result().value == pytest.approx(interaction(slates).value, rel=1e-12)
    with pytest.raises(DataError, match="came twice"):
        first.merge(second)


K, SLOTS, N = 4, 4, 500


class Linear:
    """Least squares with an intercept and products with the slot's action (the last K columns)."""

    def _design(self, X):
        products = (X[:, :-K, None] * X[:, None, -K:]).reshape(len(X), -1)
        return np.column_stack([products, X[:, -K:]])

    def fit(self, X, y):
        design = self._design(X)
        gram = design.T @ design + 1e-3 * np.eye(design.shape[1])
        self.coefficients = np.linalg.solve(gram, design.T @ y)
        return self

    def predict(self, X):
        return self._design(X) @ self.coefficients


def world(rng):
    """What an action earns by itself, what it earns beside each action above it, and the two policies by slot."""
    return {
        "base": rng.normal(size=K),
        "beside": 1.5 * rng.normal(size=(K, K)),
        "logging": rng.dirichlet(np.full(K, 3.0), size=SLOTS),
        "target": rng.dirichlet(np.full(K, 1.0), size=SLOTS),
    }


def truth(made) -> float:
    target = made["target"]
    own = (target @ made["base"]).sum()
    pairs = sum(target[low] @ made["beside"] @ target[high] for low in range(SLOTS) for high in range(low))
    return float(own + pairs)


def draw(made, rng) -> Slates:
    action = np.stack([rng.choice(K, size=N, p=made["logging"][slot]) for slot in range(SLOTS)], axis=1)
    reward = made["base"][action] + rng.normal(size=(N, SLOTS))
    above = np.zeros((N, SLOTS, K))
    for slot in range(1, SLOTS):
        above[:, slot] = above[:, slot - 1] + np.eye(K)[action[:, slot - 1]]
    reward += np.einsum("nsk,nsk->ns", made["beside"][action], above)
    slots = np.arange(SLOTS)
    weight = made["target"][slots, action] / made["logging"][slots, action]
    everyone = np.broadcast_to(made["target"], (N, SLOTS, K))
    fitted = with_model(
        Trajectories(weight, reward), Steps(above, action, everyone, np.ones((N, SLOTS), bool)), Linear()
    )
    return Slates(reward, weight, weight, fitted.value, fitted.logged)


@pytest.fixture(scope="module", params=[0, 1, 2])
def errors(request):
    """Errors of 60 logs of 500 slates, for each of three worlds."""
    rng = np.random.default_rng(request.param)
    made = world(rng)
    logs = [draw(made, rng) for _ in range(60)]
    return {name: np.array([found(log).value for log in logs]) - truth(made) for name, found in ESTIMATORS.items()}


@pytest.mark.slow
def test_cascade_dr_leads_where_slates_are_read_from_the_top(errors) -> None:
    """The order of Kiyohara et al. (2022), section 4, with cascades: Cascade-DR, RIPS, IPS; IIPS is biased."""
    mse = {name: (found**2).mean() for name, found in errors.items()}
    assert mse["cascade_dr"] < mse["interaction"] < mse["standard"]
    assert mse["cascade_dr"] < mse["independent"]
    for name in ("cascade_dr", "interaction", "standard"):
        assert abs(errors[name].mean()) < 4 * errors[name].std() / math.sqrt(60), name
    assert abs(errors["independent"].mean()) > 4 * errors["independent"].std() / math.sqrt(60)


@pytest.mark.parametrize(
    "bad",
    [
        {"reward": np.ones(3)},
        {"reward": np.ones((0, 2))},
        {"slot_weight": np.ones((2, 3))},
        {"slot_weight": -WEIGHT},
        {"chain_weight": np.full((2, 2), np.inf)},
        {"value": np.full((2, 2), np.nan)},
    ],
    ids=["flat", "empty", "shape", "negative", "infinite", "nan"],
)
def test_slates_are_checked(bad) -> None:
    with pytest.raises(ParameterError):
        Slates(**({"reward": REWARD, "slot_weight": WEIGHT, "chain_weight": WEIGHT} | bad))


def test_arguments_are_checked() -> None:
    with pytest.raises(ParameterError, match="value"):
        cascade_dr(Slates(REWARD, WEIGHT, WEIGHT))
    for importance in (np.ones(3), np.array([1.0, -1.0]), np.array([1.0, np.nan])):
        with pytest.raises(ParameterError, match="importance"):
            standard(TWO, importance)
