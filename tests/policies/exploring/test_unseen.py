"""Actions that a log never took for some contacts are not chosen as if they were known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import one_axis_catalog
from engine.eligibility import pack
from engine.errors import ArtefactError
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema
from engine.log.parquet import LogReader
from engine.records.rounds import RoundBatch
from engine.records.schema import RewardSpec
from engine.types import HOLD, NOT_AN_INSTANT
from policies.exploring.unseen import EXPECTED, Unseen, unseen_in, unseen_of
from policies.peers.segmentation import Cut
from policies.trained import NEVER_TAKEN, TrainedFolder
from tests.experiments.commands import run
from tests.logs import categorical_spec, decision_row, numeric_spec, small_meta, write_log

CATALOG = one_axis_catalog("test", ["a", "b"], hold_name="none")
SCHEMA = FeatureSchema(features=(numeric_spec("spend"), categorical_spec("zip")))


def context(spend: np.ndarray, place: np.ndarray) -> ContextBatch:
    known = np.full(len(spend), PRESENT, dtype=np.uint8)
    columns = {
        "spend": Column(np.asarray(spend, dtype=np.float64), known),
        "zip": Column(np.asarray(place, dtype=np.int32), known, ("Rural", "Urban")),
    }
    return ContextBatch(SCHEMA, columns, len(spend))


def rounds(spend: np.ndarray, place: np.ndarray, action: np.ndarray, eligible: np.ndarray | None = None) -> RoundBatch:
    n = len(action)
    return RoundBatch(
        chunk=0,
        decision_id=np.array([f"d{i}" for i in range(n)], dtype=object),
        context=context(spend, place),
        action=np.asarray(action, dtype=np.int32),
        propensity=np.full(n, 0.5),
        eligible=pack(np.ones((n, 3), dtype=bool) if eligible is None else eligible),
        k=3,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={},
        usable=np.ones(n, dtype=bool),
        decided_at=np.full(n, NOT_AN_INSTANT),
        extra={},
    )


def log(seed: int, n: int = 2000, eligible: np.ndarray | None = None) -> RoundBatch:
    """b is never taken in the country; else all three alike."""
    rng = np.random.default_rng(seed)
    place, action = rng.integers(2, size=n), rng.integers(3, size=n)
    action = np.where((place == 0) & (action == 2), rng.integers(2, size=n), action)
    return rounds(rng.random(n), place, action, eligible)


def test_a_pair_that_the_log_never_showed_is_found_and_no_other() -> None:
    unseen = unseen_in([log(1)], SCHEMA, 3)
    assert unseen is not None
    assert unseen.pairs == 1
    mask = unseen.of(context(np.array([0.1, 0.9, 0.1]), np.array([0, 0, 1])))
    assert mask.tolist() == [[False, False, True], [False, False, True], [False, False, False]]


def test_a_log_that_shows_everything_has_none() -> None:
    """Of 400 random logs with some twenty pairs each none is suspected (chance of any: 400 x 20 x exp(-15) = 0.2 %)."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = 600
        assert unseen_in([rounds(rng.random(n), rng.integers(2, size=n), rng.integers(3, size=n))], SCHEMA, 3) is None


def test_too_few_decisions_show_nothing() -> None:
    """b is a fifth of the town's decisions: some 60 decisions in the country would have had 12 of it, 200 have 40."""
    assert unseen_in([log(1, 120)], SCHEMA, 3) is None
    assert unseen_in([log(1, 400)], SCHEMA, 3) is not None
    assert unseen_in([log(1, 400)], SCHEMA, 3, decisions_per_contact=20.0) is None


def test_what_may_not_be_sent_is_not_missed() -> None:
    """In the country b was not eligible: no log could show it, and no policy is offered it."""
    n = 2000
    place = np.random.default_rng(1).integers(2, size=n)
    eligible = np.ones((n, 3), dtype=bool)
    eligible[place == 0, 2] = False
    assert unseen_in([log(1, n, eligible)], SCHEMA, 3) is None


def test_decisions_without_a_choice_do_not_count() -> None:
    """Half of the contacts may get nothing at all and so hold; who may get something is never held."""
    n = 2000
    rng = np.random.default_rng(3)
    free = rng.random(n) < 0.5
    eligible = np.ones((n, 3), dtype=bool)
    eligible[~free, 1:] = False
    action = np.where(free, rng.integers(1, 3, size=n), HOLD)
    unseen = unseen_in([rounds(rng.random(n), rng.integers(2, size=n), action, eligible)], SCHEMA, 3)
    assert unseen is not None
    assert unseen.of(context(np.array([0.5]), np.array([1]))).tolist() == [[True, False, False]]


def rule(table: list[list[bool]]) -> Unseen:
    """By place: Rural, Urban, other, missing, stale."""
    return Unseen((Cut("zip", levels=("Rural", "Urban"), numeric=False),), (np.array(table),))


NONE = [False, False, False]


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
def test_known_actions_come_first_and_keep_their_order(scores: list[float], eligible: list[bool]) -> None:
    unseen = rule([[False, False, True], NONE, NONE, NONE, NONE])
    asked, may = np.array([scores]), np.array([eligible])
    found = unseen.known_first(asked, context(np.array([0.0]), np.array([0])), may)[0]
    known = [action for action in (0, 1) if eligible[action]]
    assert [found[action] for action in (0, 1)] == scores[:2]
    if known:
        assert found[2] < min(found[action] for action in known)


def test_hold_is_the_safe_action_where_nothing_is_known() -> None:
    unseen = rule([[True, True, True], NONE, NONE, NONE, NONE])
    found = unseen.known_first(
        np.array([[0.0, 5.0, 9.0]]), context(np.array([0.0]), np.array([0])), np.ones((1, 3), bool)
    )
    assert found.argmax() == HOLD
    may = np.array([[False, True, True]])
    found = unseen.known_first(np.array([[0.0, 5.0, 9.0]]), context(np.array([0.0]), np.array([0])), may)
    assert np.where(may, found, -np.inf).argmax() == 2


def test_further_rounds_take_pairs_away() -> None:
    unseen = unseen_in([log(1)], SCHEMA, 3)
    assert unseen is not None
    assert unseen.without([log(2)]).pairs == 1
    assert unseen.without([rounds(np.array([0.5]), np.array([0]), np.array([2]))]).pairs == 0


def test_it_is_written_and_read_again() -> None:
    unseen = unseen_in([log(1)], SCHEMA, 3)
    assert unseen is not None
    again = unseen_of(msgspec.json.decode(msgspec.json.encode(unseen.to_builtins())), 3)
    assert again is not None
    asked = log(5).context
    assert (again.of(asked) == unseen.of(asked)).all()
    assert unseen_of(None, 3) is None


@pytest.mark.parametrize("said", [[{"feature": "zip"}], [3], [{"feature": "zip", "never": {"0": [99]}}], "text"])
def test_something_else_in_a_manifest_is_refused(said: Any) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        unseen_of(said, 3)


def tempting(path: Path, seed: int) -> Path:
    """In town b is best; in the country it was never sent, and a model takes it for as good there."""
    meta = small_meta(rewards={"y": RewardSpec(low=0, high=1)})
    names, rng, rows = ["none", "mens", "womens"], np.random.default_rng(seed), []
    for number in range(3000):
        town = bool(rng.integers(2))
        action = int(rng.integers(3)) if town else int(rng.integers(2))
        sends = (
            {"channel": "email", "send_hour": "now", "arm": names[action]}
            if action
            else dict.fromkeys(("channel", "send_hour", "arm", "send_at"))
        )
        chance = 0.9 if action == 2 else 0.2 + 0.1 * (action == 1)
        changes = {
            "action": action,
            "action_name": names[action],
            "state": "dispatched",
            "context_spend": float(rng.random()),
            "context_zip": "Urban" if town else "Rural",
            "reward_y": float(rng.random() < chance),
            "propensity": 1 / (3 if town else 2),
            "eligible": bytes([0b111]),
            **sends,
        }
        rows.append(decision_row(number + seed * 10_000, meta, **changes))
    return write_log(path, rows, meta)


@pytest.mark.parametrize("exploration", ["greedy", "slice"])
@pytest.mark.parametrize("learner", ["mtr", "parts"])
def test_a_trained_policy_takes_the_best_that_the_log_showed(learner: str, exploration: str, tmp_path: Path) -> None:
    path = tempting(tmp_path / "log.parquet", 1)
    of = ("--log", path, "--metric", "y", f"learner={learner}", f"exploration={exploration}", "learner.passes=2")
    trained = run("train", *of, "--out", tmp_path / "policy")
    judged = run("backtest", *of, "--out", tmp_path / "backtest", "evaluation.replicates=100")
    assert any("The log never took" in said for said in trained["said"])
    assert any("The log never took" in said for said in judged["log"]["notes"])
    batch = next(iter(LogReader(path).rounds()))
    every = np.ones((batch.n, 3), dtype=np.bool_)
    place = batch.context.columns["zip"]
    town = np.array(place.levels)[place.values] == "Urban"
    for folder in (tmp_path / "policy", tmp_path / "backtest" / "policy"):
        opened = TrainedFolder(folder)
        assert opened.source[NEVER_TAKEN][0]["feature"] == "zip"
        policy: Any = opened.policy()
        model: Any = replace(policy, unseen=None)
        tempted = model.distribution(batch.context, every)[~town, 2].mean()
        given_there = policy.distribution(batch.context, every)[:, 2]
        assert tempted > 0.9, "the model has to be wrong for this test to say anything"
        # Exploring alone sends it there, and in town it is sent as before.
        assert given_there[~town].max() <= (0.0 if exploration == "greedy" else 0.02)
        assert given_there[town].mean() > 0.9
    again = run("train", "--from", tmp_path / "policy", "--log", tempting(tmp_path / "b.parquet", 2), "--metric", "y",
                "--out", tmp_path / "more") if learner == "mtr" else None  # fmt: skip
    if again is not None:
        assert TrainedFolder(tmp_path / "more").source[NEVER_TAKEN]
    assert EXPECTED > 10
