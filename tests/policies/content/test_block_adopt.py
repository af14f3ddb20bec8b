"""Blocks swapped, added and retired: a change of the catalog that keeps what was learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Catalog
from engine.content.eligibility import BlockEligibility, modular_of
from engine.errors import ArtefactError, ParameterError
from policies.content.adopt import adopted
from policies.content.compiler import action_scores
from policies.content.learner import BlockLearner
from policies.trained import TrainedFolder
from policies.vw.folder import TABLES
from tests.engine.content.modular_worlds import block, random_eligibility, small_catalog
from tests.policies.content.block_worlds import CONFIG, KINDS, RANGE, SCHEMA, WORLDS, contexts, rounds, trained


def changed(catalog: Catalog, slot: int, blocks: list[dict[str, Any]]) -> Catalog:
    plain = msgspec.to_builtins(catalog)
    plain.pop("arms")
    plain["modular"]["slots"][slot]["blocks"] = blocks
    return msgspec.convert(plain, Catalog)


def score(learner: BlockLearner, chosen: dict[str, str], n: int = 20) -> Any:
    """Scores of one assembly by e-mail at nine."""
    action = learner.catalog.index(0, 0, modular_of(learner.catalog).arm_of(chosen))
    x = learner.state.encoder.encode(contexts(n, 3))
    return action_scores(learner.tables(), learner.catalog, x, np.full(n, action, dtype=np.int32))


def test_known_blocks_keep_their_scores_and_a_new_one_starts_at_the_mean_of_its_slot() -> None:
    learner = trained("product")
    catalog = changed(learner.catalog, 0, [block("h9"), block("h1", attributes={"tone": "warm"}), block("h0")])
    moved = adopted(learner, catalog)
    rest = {"pic": "p2", "offer": "o1"}
    assert score(moved, {"head": "h0", **rest}) == pytest.approx(score(learner, {"head": "h0", **rest}), abs=1e-6)
    assert score(moved, {"head": "h1", **rest}) == pytest.approx(score(learner, {"head": "h1", **rest}), abs=1e-6)
    assert moved.parity() < 1e-5
    # h1 has an attribute; without it only the ids differ, and the new block lies in the middle.
    bare = small_catalog()
    bare = changed(bare, 0, [block("h0"), block("h1")])
    plain = BlockLearner(bare, SCHEMA, "margin", RANGE, CONFIG, KINDS["squarecb"])
    plain.learn([rounds(bare)])
    more = adopted(plain, changed(bare, 0, [block("h0"), block("h1"), block("h9")]))
    middle = (score(plain, {"head": "h0", **rest}) + score(plain, {"head": "h1", **rest})) / 2
    assert score(more, {"head": "h9", **rest}) == pytest.approx(middle, abs=1e-5)
    assert abs(score(plain, {"head": "h0", **rest}) - middle).max() > 0.2
    assert more.parity() < 1e-5


def test_an_attribute_carries_over_to_a_new_block() -> None:
    learner = trained("product")
    blocks = [block("h0"), block("h1", attributes={"tone": "warm"}), block("h7", attributes={"tone": "warm"})]
    moved = adopted(learner, changed(learner.catalog, 0, [*blocks, block("h8")]))
    rest = {"pic": "p0", "offer": "o0"}
    assert (score(moved, {"head": "h7", **rest}) > score(moved, {"head": "h8", **rest}) + 0.05).all()


def test_a_retired_block_is_never_drawn_and_comes_back_as_it_was() -> None:
    learner = trained("product")
    retired = [block("h0"), block("h1", status="retired", attributes={"tone": "warm"})]
    moved = adopted(learner, changed(learner.catalog, 0, retired))
    catalog = moved.catalog
    assert not any(arm.approved for arm in catalog.arms if "h1" in arm.blocks)
    # The content rule takes it out of every eligible set; here by hand.
    may = random_eligibility(catalog, 400, seed=3, share=1.0)
    at = modular_of(catalog).block_ids.index("h1")
    factors = may.channel_block.copy()
    factors[:, :, at] = False
    may = BlockEligibility(catalog, factors, may.channel_hour)
    action, _ = moved.policy().choose_blocks(contexts(400, 4), may, np.random.default_rng(0).random(400))
    arms = catalog.split(action)[2]
    assert {catalog.arms[arm].blocks[0] for arm in arms[arms >= 0].tolist()} == {"h0"}
    again = adopted(moved, learner.catalog)
    assert again.policy().tables.block == pytest.approx(learner.tables().block, abs=1e-7)


def test_learning_goes_on_after_a_swap() -> None:
    """The swapped-in block is as good as its slot's mean at first, and as bad as it is after rounds with it."""
    learner = trained("product")
    catalog = changed(learner.catalog, 2, [block("o0"), block("o1", discount_depth=0.2), block("o2")])
    moved = adopted(learner, catalog)
    rest = {"head": "h1", "pic": "p0"}
    before = score(moved, {**rest, "offer": "o2"}).mean() - score(moved, {**rest, "offer": "o0"}).mean()
    for seed in range(1, 4):
        block_of_rounds = rounds(catalog, 2048, seed)
        positions = modular_of(catalog).positions(np.maximum(catalog.split(block_of_rounds.action)[2], 0))
        poor = (positions[:, 2] == 2) & (block_of_rounds.action > 0)
        reward = np.where(poor, -0.8, block_of_rounds.rewards["margin"])
        moved.learn([replace(block_of_rounds, rewards={"margin": reward})])
    after = score(moved, {**rest, "offer": "o2"}).mean() - score(moved, {**rest, "offer": "o0"}).mean()
    assert after < before - 0.4


def test_other_slots_are_refused() -> None:
    learner = trained("product")
    slots = msgspec.to_builtins(learner.catalog)["modular"]["slots"]
    with pytest.raises(ParameterError, match="slots"):
        adopted(learner, small_catalog(slots=slots[1:]))


def test_a_folder_gives_back_what_was_learnt(tmp_path: Path) -> None:
    learner = trained("pairs")
    manifest = learner.export(tmp_path / "policy")
    policy = TrainedFolder(tmp_path / "policy").policy()
    assert manifest.parity < 1e-5
    assert policy.version == manifest.version
    may = random_eligibility(learner.catalog, 100, seed=9)
    uniform = np.random.default_rng(1).random(100)
    ours, theirs = (one.choose_blocks(contexts(100), may, uniform) for one in (policy, learner.policy()))
    assert (ours[0] == theirs[0]).all()
    assert (ours[1] == theirs[1]).all()
    resumed = TrainedFolder(tmp_path / "policy").learner()
    assert resumed.state == learner.state
    (tmp_path / "policy" / TABLES).write_bytes(b"no")
    with pytest.raises(ArtefactError, match="changed"):
        TrainedFolder(tmp_path / "policy").policy()


def test_going_on_equals_one_go() -> None:
    catalog, config = WORLDS["product"]
    config = msgspec.structs.replace(config, passes=1)
    one, two = rounds(catalog, 1000, 1), rounds(catalog, 1000, 2)
    whole = BlockLearner(catalog, SCHEMA, "margin", RANGE, config, KINDS["squarecb"])
    encoder_of_both = whole.prepare([one, two])
    whole = BlockLearner(catalog, SCHEMA, "margin", RANGE, config, KINDS["squarecb"], encoder_of_both)
    parts = BlockLearner(catalog, SCHEMA, "margin", RANGE, config, KINDS["squarecb"], encoder_of_both)
    whole.learn([one, two])
    parts.learn([one])
    parts.learn([two])
    assert parts.tables().linear == pytest.approx(whole.tables().linear, abs=1e-6)
