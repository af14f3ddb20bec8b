"""A difference taken apart adds up, by hand and in a world whose parts are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import one_axis_catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.ope.target import PolicyTarget
from engine.records.rounds import RoundBatch
from engine.types import NOT_AN_INSTANT
from experiments.judge.launch.taken_apart import ApartSums, contributions, factors_of
from policies.peers.constant import AlwaysPolicy, UniformPolicy

CATALOG = one_axis_catalog("test", ["a", "b"], hold_name="none")


def batch_of(action: np.ndarray, stage: np.ndarray, money: np.ndarray, chunk: int = 0) -> RoundBatch:
    """Rounds drawn evenly from hold, a and b."""
    n = len(action)
    return RoundBatch(
        chunk=chunk,
        decision_id=np.array([f"d{chunk}-{i}" for i in range(n)], dtype=object),
        context=ContextBatch(FeatureSchema(features=()), {}, n),
        action=action.astype(np.int32),
        propensity=np.full(n, 1 / 3),
        eligible=pack(np.ones((n, 3), dtype=bool)),
        k=3,
        cluster=np.random.default_rng(chunk).integers(0, 2**63, n).astype(np.uint64),
        rewards={"click": stage, "margin": money},
        usable=np.ones(n, dtype=bool),
        decided_at=np.full(n, NOT_AN_INSTANT),
        extra={},
    )


def world(seed: int, n: int = 30_000) -> RoundBatch:
    """a is clicked by 0.1, b by 0.2; a click on a brings 10, on b 8; 1 comes by itself to everybody, with noise."""
    rng = np.random.default_rng(seed)
    action = rng.integers(3, size=n)
    click = (rng.random(n) < np.array([0.0, 0.1, 0.2])[action]).astype(float)
    money = click * np.array([0.0, 10.0, 8.0])[action] + rng.normal(1.0, 2.0, n)
    return batch_of(action, click, money, seed)


def sums_of(baseline: Any, policy: Any) -> ApartSums:
    return ApartSums((PolicyTarget(baseline, "today"), PolicyTarget(policy, "new")), "click", "margin")


def always(name: str) -> AlwaysPolicy:
    return AlwaysPolicy(CATALOG, name)


def test_parts_of_a_known_world_are_found() -> None:
    """From a to b. A clicked message of a brings 11 with what comes by itself, one of b 9.

    Answers: (0.2 - 0.1) x (11 + 9) / 2 = 1; worth: (9 - 11) x (0.1 + 0.2) / 2 = -0.3; the rest: 0.8 - 0.9 = -0.1.
    """
    truth = {"sends": 0.0, "answers": 1.0, "worth": -0.3, "rest": -0.1}
    sums = sums_of(always("a"), always("b"))
    sums.add(world(3))
    found = sums.result(0.01)
    assert [row.part for row in found.rows] == list(truth)
    for row in found.rows:
        assert row.low <= truth[row.part] <= row.high, row
    rates = {row.part: (row.baseline, row.policy) for row in found.rows}
    assert rates["sends"] == (1.0, 1.0)
    assert rates["answers"] == pytest.approx((0.1, 0.2), abs=0.02)


def test_silence_changes_the_sends_alone() -> None:
    """A policy of which a third holds: sends 2/3 of what they were, and its clicks are worth the same on average."""
    sums = sums_of(UniformPolicy(), always("b"))
    sums.add(world(5))
    rows = {row.part: row for row in sums.result(0.05).rows}
    assert rows["sends"].baseline == pytest.approx(2 / 3, abs=0.01)
    assert rows["sends"].value > 0


@given(st.lists(st.floats(0.1, 10.0), min_size=12, max_size=12))
def test_contributions_add_up_to_the_difference_of_the_means(values: list[float]) -> None:
    sums = np.array(values)
    today, new = np.split(sums, 2)
    gap = new[5] / new[0] - today[5] / today[0]
    assert contributions(sums).sum() == pytest.approx(gap, rel=1e-9, abs=1e-9)
    assert contributions(np.concatenate([today, today])) == pytest.approx(np.zeros(4))
    assert factors_of(sums)[0][0] == pytest.approx(today[1] / today[0])


def test_batches_in_pieces_are_the_same_as_whole() -> None:
    whole, pieces = (sums_of(always("a"), always("b")) for _ in range(2))
    batch = world(7, 6000)
    whole.add(batch)
    for half in (slice(0, 2500), slice(2500, None)):
        part = batch_of(batch.action[half], batch.rewards["click"][half], batch.rewards["margin"][half])
        part = RoundBatch(
            **{**{name: getattr(part, name) for name in part.__dataclass_fields__}, "cluster": batch.cluster[half]}
        )
        pieces.add(part)
    for one, other in zip(whole.result(0.05).rows, pieces.result(0.05).rows, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), rel=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """60 worlds at 90 %: fewer than 46 of 60 hits have a chance below 1 in 1,000 for each part."""
    hits = np.zeros(3, dtype=int)
    for seed in range(60):
        sums = sums_of(always("a"), always("b"))
        sums.add(world(100 + seed, 4000))
        rows = {row.part: row for row in sums.result(0.1).rows}
        truth = {"answers": 1.0, "worth": -0.3, "rest": -0.1}
        hits += [rows[part].low <= value <= rows[part].high for part, value in truth.items()]
    assert (hits >= 46).all(), hits


def test_too_few_answers_are_no_parts() -> None:
    batch = world(1, 600)
    few = batch_of(batch.action, np.where(np.arange(600) < 60, batch.rewards["click"], 0.0), batch.rewards["margin"])
    sums = sums_of(always("a"), always("b"))
    sums.add(few)
    found = sums.result(0.05)
    assert found.rows == ()
    assert found.missing.startswith("too few answered messages speak for")


def test_rows_without_an_outcome_are_left_out() -> None:
    batch = world(2, 9000)
    gap = np.arange(9000) % 3 == 0
    holed = batch_of(batch.action, np.where(gap, np.nan, batch.rewards["click"]), batch.rewards["margin"])
    sums, kept = sums_of(always("a"), always("b")), sums_of(always("a"), always("b"))
    sums.add(holed)
    kept.add(batch_of(batch.action[~gap], batch.rewards["click"][~gap], batch.rewards["margin"][~gap]))
    for one, other in zip(sums.result(0.05).rows, kept.result(0.05).rows, strict=True):
        assert one.value == pytest.approx(other.value)
