"""Seeded simulations: intervals hold the truth as often as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.ope.sums.bootstrap import BucketSums, resampled_sums, units_of_clusters
from engine.ope.target import PolicyTarget
from tests.engine.ope.asking import evaluate

REPLICATIONS = 400
ROWS = 400
TARGET = np.array([0.2, 0.2, 0.6])
BASE = np.array([0.4, 0.4, 0.2])
COVERED = (0.92, 0.98)


def small_log(ope, rng, clusters=None):
    """Reward = 1 + x + action (1 - x) + noise, x uniform: the value of p is 1.5 + 0.5 E[action under p]."""
    x = rng.random(ROWS)
    tilt = np.exp(np.outer(x - 0.5, [0.5, 0.0, -0.5]))
    logging = tilt / tilt.sum(axis=1, keepdims=True)
    action = (rng.random(ROWS)[:, None] > logging.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    noise = 0.5 * rng.normal(size=ROWS)
    cluster = None
    if clusters is not None:
        cluster = np.arange(ROWS) % clusters
        noise = noise + 0.8 * rng.normal(size=clusters)[cluster]
    reward = 1 + x + action * (1 - x) + noise
    return ope.batches(
        action,
        logging[np.arange(ROWS), action],
        {"r": reward},
        k=3,
        features={"x": x},
        cluster=cluster,
    )


def coverage(ope, seed, **options):
    rng = np.random.default_rng(seed)
    levels = np.arange(3)
    value, base = 1.5 + 0.5 * TARGET @ levels, 1.5 + 0.5 * BASE @ levels
    clusters = options.pop("clusters", None)
    own: dict[str, list[bool]] = {}
    paired: dict[str, list[bool]] = {}
    for _ in range(REPLICATIONS):
        found = evaluate(
            small_log(ope, rng, clusters),
            [PolicyTarget(ope.TablePolicy("t", TARGET))],
            metric="r",
            reward_range=(-20, 20),
            baseline=PolicyTarget(ope.TablePolicy("b", BASE)),
            reward_model_factory=lambda: ope.Ridge("r", 3),
            folds=2,
            clustered=clusters is not None,
            **options,
        )
        for estimate in found.results:
            own.setdefault(estimate.estimator, []).append(estimate.low <= value <= estimate.high)
            gap = estimate.difference
            paired.setdefault(estimate.estimator, []).append(gap.low <= value - base <= gap.high)
    return {name: (np.mean(own[name]), np.mean(paired[name])) for name in own}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"estimators": ("ips", "snips", "dr")},
        {"estimators": ("ips", "snips", "dr"), "clusters": 40},
        {"estimators": ("ips", "snips"), "interval": "bootstrap", "replicates": 300},
    ],
    ids=["delta", "delta clustered", "bootstrap"],
)
def test_intervals_of_95_percent_cover_the_truth(ope, options) -> None:
    for name, (own, paired) in coverage(ope, 11, **options).items():
        assert COVERED[0] <= own <= COVERED[1], (name, own)
        assert COVERED[0] <= paired <= COVERED[1], (name, paired)


def test_ignoring_clusters_covers_far_too_little(ope) -> None:
    """The same clustered logs, clusters not declared: the sandwich is what makes the test above pass."""
    rng = np.random.default_rng(12)
    widths = []
    for _ in range(20):
        batches = small_log(ope, rng, 20)
        pair = [
            evaluate(
                batches,
                [PolicyTarget(ope.TablePolicy("t", TARGET))],
                metric="r",
                reward_range=(-20, 20),
                estimators=("snips",),
                clustered=clustered,
            )
            .results[0]
            .stderr
            for clustered in (True, False)
        ]
        widths.append(pair[0] / pair[1])
    assert np.mean(widths) > 1.5


@pytest.mark.parametrize("clustered", [True, False])
def test_bootstrap_and_delta_agree_on_a_large_log(ope, clustered) -> None:
    """More clusters than buckets, so buckets are resampled; widths agree within Monte Carlo error of 1,000 draws."""
    rng = np.random.default_rng(13)
    n = 20_000
    action = rng.integers(2, size=n)
    batches = ope.batches(
        action, np.full(n, 0.5), {"r": rng.random(n) + action}, k=2, cluster=np.arange(n) // 2 if clustered else None
    )
    found = {}
    for interval in ("delta", "bootstrap"):
        found[interval] = evaluate(
            batches,
            [PolicyTarget(ope.TablePolicy("one", [0.1, 0.9]))],
            metric="r",
            reward_range=(0, 2),
            interval=interval,
            clustered=clustered,
        ).results
    for delta, boot in zip(found["delta"], found["bootstrap"], strict=True):
        assert boot.interval == "bootstrap"
        assert boot.stderr == delta.stderr
        assert (boot.high - boot.low) / (delta.high - delta.low) == pytest.approx(1, abs=0.1)
        gaps = [e.difference.high - e.difference.low for e in (delta, boot)]
        assert gaps[1] / gaps[0] == pytest.approx(1, abs=0.1)
        assert abs((boot.high + boot.low) / 2 - delta.value) < 0.2 * delta.stderr


def test_another_seed_gives_other_draws_and_the_same_seed_the_same() -> None:
    units = np.random.default_rng(0).random((50, 3))
    first, again, other = (resampled_sums(units, 250, seed) for seed in (4, 4, 5))
    assert first.shape == (250, 3)
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other)
    assert first.mean(axis=0) == pytest.approx(units.sum(axis=0), rel=0.03)


def test_buckets_lose_no_row() -> None:
    rng = np.random.default_rng(1)
    keys = rng.integers(2**63, size=10_000).astype(np.uint64)
    values = np.column_stack([np.ones(10_000), rng.random(10_000)])
    sums = BucketSums(2, seed=3)
    for start in range(0, 10_000, 3000):
        sums.add(keys[start : start + 3000], values[start : start + 3000])
    assert sums.units().sum(axis=0) == pytest.approx(values.sum(axis=0))
    order = np.argsort(keys)
    assert units_of_clusters(keys[order], values[order], 3).sum(axis=0) == pytest.approx(values.sum(axis=0))
    few = slice(0, 100)
    assert units_of_clusters(keys[order][few], values[order][few], 3) is not None
    assert len(units_of_clusters(keys[order][few], values[order][few], 3)) == 100


def test_the_model_halves_the_error_and_dr_survives_a_wrong_one(ope) -> None:
    """DR with a model that is off by 1 everywhere keeps the value: the weights repair it."""

    class Biased(ope.Ridge):
        def predict(self, context):
            return super().predict(context) + 1.0

    rng = np.random.default_rng(14)
    values = {"good": [], "biased": [], "dm": []}
    for _ in range(30):
        batches = small_log(ope, rng)
        for kind, model in (("good", ope.Ridge), ("biased", Biased)):
            dm, dr = evaluate(
                batches,
                [PolicyTarget(ope.TablePolicy("t", TARGET))],
                metric="r",
                reward_range=(-20, 20),
                estimators=("dm", "dr"),
                reward_model_factory=lambda model=model: model("r", 3),
            ).results
            values[kind].append(dr.value)
            if kind == "biased":
                values["dm"].append(dm.value)
    truth = 1.5 + 0.5 * TARGET @ np.arange(3)
    assert np.mean(values["good"]) == pytest.approx(truth, abs=0.03)
    assert np.mean(values["biased"]) == pytest.approx(truth, abs=0.05)
    assert np.mean(values["dm"]) == pytest.approx(truth + 1, abs=0.05)


def test_unused_blocks_change_nothing(ope) -> None:
    rng = np.random.default_rng(15)
    batches = small_log(ope, rng)
    empty = replace(batches[0].take(slice(0, 0)), chunk=9)
    target = [PolicyTarget(ope.TablePolicy("t", TARGET))]
    with_empty = evaluate([*batches, empty], target, metric="r", reward_range=(-20, 20))
    assert with_empty == evaluate(batches, target, metric="r", reward_range=(-20, 20))
