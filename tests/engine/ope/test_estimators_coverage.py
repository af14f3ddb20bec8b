"""Seeded simulations: the intervals of the estimators beyond IPS, SNIPS and DR hold the truth as often as they say.

Four actions in two pairs of equal reward; the log's policy leans on x and is one of two, drawn row by row.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.ope.estimators.marginalised import ActionGroups, Embedding
from engine.ope.estimators.named import FAMILIES
from engine.ope.estimators.several_loggers import Loggers
from engine.ope.target import PolicyTarget
from engine.records.rounds import SAMPLE_WEIGHT
from tests.engine.ope.asking import evaluate

REPLICATIONS, ROWS = 500, 500
TARGET, BASE = np.array([0.1, 0.2, 0.2, 0.5]), np.array([0.3, 0.3, 0.2, 0.2])
LEVEL = np.array([0.0, 0.0, 1.0, 1.0])
TILTS = np.array([[0.5, 0.2, -0.2, -0.5], [-0.5, 0.4, 0.3, -0.2]])
NAMES = ("sndr", "mrdr", "mips", "smips", "balanced", "balanced_dr", "weighted_ips", "weighted_dr")
TUNED = tuple(f"{name}:slope" for name in FAMILIES)


class Tilted:
    """softmax(strength (x - 0.5) tilt)."""

    def __init__(self, name, tilts):
        self.name, self.tilts = name, tilts

    def distribution(self, context, eligible):
        x = context.columns["x"].values
        which = context.columns["who"].values.astype(int) if len(self.tilts) == 2 else 0
        mass = np.exp(2.0 * (x - 0.5)[:, None] * self.tilts[which])
        return mass / mass.sum(axis=1, keepdims=True)


class Weighted:
    """Least squares per action on x, by the weights of rows where they have any."""

    weighs_rounds = True

    def fit(self, rounds):
        gram, moment = np.zeros((4, 2, 2)), np.zeros((4, 2))
        for batch in rounds:
            design = self._design(batch.context)
            weight = batch.extra.get(SAMPLE_WEIGHT, np.ones(batch.n)).astype(float)
            for a in range(4):
                mine = batch.action == a
                gram[a] += (design[mine] * weight[mine, None]).T @ design[mine]
                moment[a] += (design[mine] * weight[mine, None]).T @ batch.rewards["r"][mine]
        self._coefficients = np.linalg.solve(gram + 1e-3 * np.eye(2), moment[..., None])[..., 0]

    def predict(self, context):
        return self._design(context) @ self._coefficients.T

    @staticmethod
    def _design(context):
        return np.column_stack([np.ones(context.n), context.columns["x"].values])


def log(ope, rng, clustered):
    """Reward 1 + x + level (1 - x) + noise: the value of p is 1.5 + 0.5 sum(p level)."""
    x, who = rng.random(ROWS), rng.integers(2, size=ROWS)
    context = ope.context_of({"x": x, "who": who}, ROWS)
    logging = Tilted("log", TILTS).distribution(context, None)
    action = (rng.random(ROWS)[:, None] > logging.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    cluster = np.arange(ROWS) % 50
    noise = 0.5 * rng.normal(size=ROWS) + clustered * 0.6 * rng.normal(size=50)[cluster]
    return ope.batches(
        action,
        logging[np.arange(ROWS), action],
        {"r": 1 + x + LEVEL[action] * (1 - x) + noise},
        k=4,
        features={"x": x, "who": who},
        extra={"who": [str(w) for w in who]},
        cluster=cluster if clustered else None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True], ids=["rows", "clusters"])
def test_intervals_of_95_percent_cover_the_truth(ope, clustered) -> None:
    rng = np.random.default_rng(5 if clustered else 7)
    value, base = 1.5 + 0.5 * TARGET @ LEVEL, 1.5 + 0.5 * BASE @ LEVEL
    embedding = Embedding(ActionGroups(("level",), LEVEL.astype(int)), PolicyTarget(Tilted("log", TILTS)))
    policies = tuple(PolicyTarget(Tilted(str(i), TILTS[i][None])) for i in range(2))
    loggers = Loggers("who", ("0", "1"), (0.5, 0.5), policies)
    own: dict[str, list[bool]] = {}
    paired: dict[str, list[bool]] = {}
    for _ in range(REPLICATIONS):
        found = evaluate(
            log(ope, rng, clustered),
            [PolicyTarget(ope.TablePolicy("t", TARGET))],
            metric="r",
            reward_range=(-20, 20),
            estimators=(*NAMES, *TUNED),
            baseline=PolicyTarget(ope.TablePolicy("b", BASE)),
            reward_model_factory=Weighted,
            weighted_model_factory=Weighted,
            folds=2,
            clustered=clustered,
            embedding=embedding,
            loggers=loggers,
        )
        assert len(found.results) == len(NAMES) + len(TUNED)
        for estimate in found.results:
            own.setdefault(estimate.estimator, []).append(estimate.low <= value <= estimate.high)
            gap = estimate.difference
            paired.setdefault(estimate.estimator, []).append(gap.low <= value - base <= gap.high)
    for covered in (own, paired):
        rates = {name: float(np.mean(hits)) for name, hits in covered.items()}
        assert min(rates.values()) >= 0.92, rates
        assert max(rates[name] for name in NAMES) <= 0.98, rates
        assert max(rates.values()) <= 0.995, rates
