"""What an evaluation must not say: a winner among arms that are all alike, an effect where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from engine.catalog import one_axis_catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.ope.target import PolicyTarget
from engine.records.rounds import RoundBatch
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from tests.engine.audit.audited_worlds import DAY_US, FIRST_DAY
from tests.engine.ope.asking import evaluate

ARMS, ROWS = 36, 3600
CATALOG = one_axis_catalog("noise", [f"arm {arm}" for arm in range(ARMS)], hold_name="none")
TARGETS = [PolicyTarget(AlwaysPolicy(CATALOG, f"arm {arm}"), f"arm {arm}") for arm in range(ARMS)]


def noise(seed: int) -> list[RoundBatch]:
    """36 arms of the same click rate, one in three, drawn evenly; hold is never eligible."""
    rng = np.random.default_rng([17, seed])
    eligible = np.ones((ROWS, CATALOG.k), dtype=bool)
    eligible[:, 0] = False
    batch = RoundBatch(
        chunk=0,
        decision_id=np.array([f"d{i}" for i in range(ROWS)], dtype=object),
        context=ContextBatch(FeatureSchema(features=()), {}, ROWS),
        action=rng.integers(1, ARMS + 1, ROWS).astype(np.int32),
        propensity=np.full(ROWS, 1 / ARMS),
        eligible=pack(eligible),
        k=CATALOG.k,
        cluster=rng.integers(0, 2**63, ROWS).astype(np.uint64),
        rewards={"click": (rng.random(ROWS) < 1 / 3).astype(float)},
        usable=np.ones(ROWS, dtype=bool),
        decided_at=np.full(ROWS, FIRST_DAY * DAY_US),
        extra={},
    )
    return [batch]


def winners(seed: int, *, simultaneous: bool) -> list[str]:
    """Arms that are said to be better than a uniform choice."""
    found = evaluate(
        noise(seed),
        TARGETS,
        metric="click",
        reward_range=(0.0, 1.0),
        estimators=("snips",),
        baseline=PolicyTarget(UniformPolicy()),
        simultaneous=simultaneous,
        replicates=200,
    )
    return [row.policy for row in found.results if row.verdict == "better"]


def test_no_winner_is_picked_among_36_arms_that_are_alike() -> None:
    """Judged one by one some arm "wins" in most logs; judged together none does in these (5 % of all logs would)."""
    one_by_one = [bool(winners(seed, simultaneous=False)) for seed in range(6)]
    together = [bool(winners(seed, simultaneous=True)) for seed in range(6)]
    assert sum(one_by_one) >= 2
    assert not any(together)


def test_a_null_effect_is_no_difference() -> None:
    """Two arms that are alike: of 12 logs at most one says otherwise (chance of more: 12 %; the seeds are fixed)."""
    verdicts = []
    for seed in range(12):
        found = evaluate(
            noise(seed),
            TARGETS[:1],
            metric="click",
            reward_range=(0.0, 1.0),
            baseline=TARGETS[1],
        )
        verdicts += [row.verdict for row in found.results if row.estimator == "snips"]
    assert verdicts.count("no difference") >= 11


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("estimator", ["dr", "sndr"])
def test_a_difference_that_rests_on_the_model_alone_is_no_verdict(ope, estimator, clustered) -> None:
    """In one context of 50 the log always took action 0; only a model compares the two others there."""
    n = 4000
    rng = np.random.default_rng(5)
    rare = np.arange(n) % 50 == 0
    action = np.where(rare, 0, rng.integers(3, size=n))
    batches = ope.batches(
        action,
        np.where(rare, 1.0, 1 / 3),
        {"r": (rng.random(n) < 0.1 + 0.3 * action).astype(float)},
        k=3,
        features={"x": rare.astype(float)},
        cluster=np.arange(n) // 2 if clustered else None,
    )

    def elsewhere(name: str, there: int) -> PolicyTarget:
        return PolicyTarget(ope.RulePolicy(name, lambda context: np.where(context.columns["x"].values > 0, there, 0)))

    rows = evaluate(
        batches,
        [elsewhere("one", 1), elsewhere("both", 2)],
        metric="r",
        reward_range=(0.0, 1.0),
        estimators=("ips", estimator),
        baseline=elsewhere("base", 2),
        clustered=clustered,
        reward_model_factory=lambda: ope.Ridge("r", 3),
    ).results
    found = {(row.policy, row.estimator): row for row in rows}
    told = found["one", estimator]
    assert told.verdict == "insufficient"
    assert told.difference.value != 0.0
    assert "the difference is the reward model's alone" in told.notes[0]
    assert not any("alone" in note for name in ("ips", estimator) for note in found["both", name].notes)
