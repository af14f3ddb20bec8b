"""MIPS against IPS in the synthetic setting of Saito & Joachims (2022), section 4.1.

Contexts x ~ N(0, I) of 10 dimensions; an action draws three categories of ten values each, from softmaxes of normal
parameters; the expected reward is a bilinear function of x and the categories' latent vectors, weighted over the three
by a Dirichlet draw, scaled to unit spread over actions; noise of 2.5. The log's policy is softmax(-q), the target is
epsilon-greedy with 0.05.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.ope.estimators.marginalised import Embedding, SampledGroups
from engine.ope.target import PolicyTarget
from tests.engine.ope.asking import evaluate

D, DIMS, CATEGORIES, NOISE = 10, 3, 10, 2.5
N, SEEDS = 2000, 30


class ByRow:
    """A policy whose distribution is a table by row number."""

    def __init__(self, name, table):
        self.name, self.table = name, table

    def distribution(self, context, eligible):
        return self.table[context.columns["row"].values.astype(int)]


def world(k):
    rng = np.random.default_rng(k)
    made = SimpleNamespace(
        bilinear=rng.uniform(-1, 1, (DIMS, D, D)),
        of_x=rng.uniform(-1, 1, (DIMS, D)),
        of_e=rng.uniform(-1, 1, (DIMS, D)),
        latent=rng.normal(size=(DIMS, CATEGORIES, D)),
        eta=rng.dirichlet(np.ones(DIMS)),
        scale=1.0,
    )
    chances = np.exp(rng.normal(size=(k, DIMS, CATEGORIES)))
    made.chances = chances / chances.sum(axis=2, keepdims=True)
    first, second, third = made.chances.transpose(1, 0, 2)
    made.table = np.einsum("ka,kb,kc->kabc", first, second, third).reshape(k, -1)
    many = rng.normal(size=(20_000, D))
    made.scale = rewards(made, many)[1].std()
    expected = rewards(made, many)[1]
    made.truth = (policies(expected)[1] * expected).sum(axis=1).mean()
    return made


def rewards(made, x):
    """(n, DIMS, CATEGORIES) parts of the expected reward, and (n, k) expected rewards."""
    parts = [
        made.eta[i]
        * (x @ made.bilinear[i] @ made.latent[i].T + (x @ made.of_x[i])[:, None] + made.latent[i] @ made.of_e[i])
        for i in range(DIMS)
    ]
    by_category = np.stack(parts, axis=1) / made.scale
    return by_category, np.einsum("ndc,kdc->nk", by_category, made.chances)


def policies(expected, epsilon=0.05):
    logging = np.exp(-expected)
    target = np.full(expected.shape, epsilon / expected.shape[1])
    target[np.arange(len(expected)), expected.argmax(axis=1)] += 1 - epsilon
    return logging / logging.sum(axis=1, keepdims=True), target


def estimates(ope, made, rng):
    rows = np.arange(N)
    by_category, expected = rewards(made, rng.normal(size=(N, D)))
    logging, target = policies(expected)
    action = (rng.random((N, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, expected.shape[1] - 1)
    category = (rng.random((N, DIMS, 1)) > made.chances[action].cumsum(axis=2)).sum(axis=2).clip(0, CATEGORIES - 1)
    reward = by_category[rows[:, None], np.arange(DIMS), category].sum(axis=1) + NOISE * rng.normal(size=N)
    batches = ope.batches(
        action,
        logging[rows, action],
        {"r": reward},
        k=expected.shape[1],
        features={"row": rows},
        extra={"e": (category @ [100, 10, 1]).tolist()},
    )
    found = evaluate(
        batches,
        [PolicyTarget(ByRow("t", target))],
        metric="r",
        reward_range=(-100, 100),
        estimators=("ips", "mips", "clipped:slope", "slope:ips+mips"),
        embedding=Embedding(SampledGroups("e", made.table), PolicyTarget(ByRow("log", logging))),
    )
    return [estimate.value for estimate in found.results]


@pytest.mark.slow
@pytest.mark.parametrize("k", [50, 100, 200])
def test_mips_has_under_a_fifth_of_the_squared_error_of_ips(ope, k) -> None:
    made, rng = world(k), np.random.default_rng(1000 + k)
    errors = np.array([estimates(ope, made, rng) for _ in range(SEEDS)]) - made.truth
    ips, mips, clipped, across = (errors**2).mean(axis=0)
    assert mips < 0.2 * ips
    assert clipped < 0.8 * ips
    assert across < 0.25 * ips
    assert abs(errors[:, 1].mean()) < 4 * errors[:, 1].std() / np.sqrt(SEEDS)


@pytest.mark.parametrize(
    "table", [np.ones(3), np.full((2, 2), 0.4), np.array([[2.0, -1.0]])], ids=["flat", "sum", "sign"]
)
def test_tables_of_attributes_are_checked(table) -> None:
    with pytest.raises(ParameterError, match="rows summing to 1"):
        SampledGroups("e", table)


@pytest.mark.parametrize("groups", [[0, 2], [0, "x"], [0, -1], [1, 0]], ids=["above", "text", "below", "impossible"])
def test_groups_of_rows_are_checked(ope, groups) -> None:
    (batch,) = ope.batches([0, 1], [0.5, 0.5], {"r": [1, 1]}, k=2, extra={"e": groups})
    sampled = SampledGroups("e", np.array([[1.0, 0.0], [0.5, 0.5]]))
    with pytest.raises(DataError, match="column 'e'"):
        sampled.of_rows(batch)
    with pytest.raises(DataError, match="no column"):
        SampledGroups("f", sampled.table).of_rows(batch)
