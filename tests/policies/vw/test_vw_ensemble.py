"""Ensembles (exploring/exploration.py, vw/compiled.py): by hand, against VW's own --bag and --cover, as folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.eligibility import Eligibility
from engine.errors import EligibilityError, ParameterError
from engine.sampling import check_distribution, draw
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import vote_shares, with_minimum
from policies.trained import TrainedFolder
from policies.vw import wall
from policies.vw.arguments import EnsembleConfig, VwConfig, learning_arguments, model_layout
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner
from policies.vw.scoring.compiled import EnsemblePolicy, mean_tables
from policies.vw.scoring.compiler import vote_parity

EVERY = np.ones((1, 3), dtype=bool)


def test_votes_by_hand():
    """One vote for action 1, one shared by 0 and 2; removing action 1 sends its vote to 0."""
    scores = [np.array([[1.0, 2.0, 0.0]]), np.array([[5.0, 1.0, 5.0]])]
    np.testing.assert_array_equal(vote_shares(scores, EVERY), [[0.25, 0.5, 0.25]])
    np.testing.assert_array_equal(vote_shares(scores, np.array([[True, False, True]])), [[0.75, 0.0, 0.25]])


def test_minimum_by_hand():
    """Least 0.3 / 3 = 0.1: action 2 is raised to it, the others fall by 0.05 each; at 0.6, action 1 stops at 0.2."""
    given_ = np.array([[0.75, 0.25, 0.0]])
    np.testing.assert_allclose(with_minimum(given_, EVERY, 0.3), [[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(with_minimum(given_, EVERY, 0.6), [[0.6, 0.2, 0.2]])
    np.testing.assert_array_equal(with_minimum(given_, EVERY, 0.0), given_)
    np.testing.assert_allclose(with_minimum(given_, EVERY, 1.0), [[1 / 3, 1 / 3, 1 / 3]])


@given(
    arrays(np.float64, (3, 4, 6), elements=st.floats(-5, 5)),
    arrays(np.bool_, (4, 5)),
    st.floats(0, 1),
)
def test_distributions_over_the_eligible_set(scores, sends, share):
    eligible = np.concatenate([np.ones((4, 1), dtype=bool), sends], axis=1)
    raised = with_minimum(vote_shares(scores, eligible), eligible, share)
    check_distribution(raised, eligible, "test")
    assert (raised >= np.where(eligible, share / eligible.sum(axis=1, keepdims=True) - 1e-12, 0.0)).all()


def test_refusals():
    with pytest.raises(EligibilityError):
        vote_shares([np.zeros((1, 3))], ~EVERY)
    with pytest.raises(ParameterError, match="at least one policy"):
        vote_shares([], EVERY)
    with pytest.raises(ParameterError, match="finite"):
        vote_shares([np.full((1, 3), np.nan)], EVERY)
    with pytest.raises(ParameterError, match="share"):
        with_minimum(EVERY / 3, EVERY, 1.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 1), ("size", 65), ("psi", -1.0), ("psi", float("nan")), ("epsilon", 1.2), ("seed", -1)],
)
def test_bad_ensembles(field, value):
    with pytest.raises(ParameterError, match=field):
        EnsembleConfig(**{field: value})


KINDS = {
    "bag of 5": EnsembleConfig(kind="bag", size=5),
    "greedified bag of 3": EnsembleConfig(kind="bag", size=3, greedify=True, seed=7),
    "cover of 3": EnsembleConfig(kind="cover", size=3),
    "cover of 4": EnsembleConfig(kind="cover", size=4, psi=0.1, epsilon=0.2),
}


def learnt(world, ensemble, n=800, **config) -> VwLearner:
    learner = VwLearner(
        world.catalog,
        world.schema,
        "y",
        (0.0, 1.0),
        VwConfig(learning_rate=0.5, ensemble=ensemble, **config),
        ExplorationConfig(kind=ensemble.kind, epsilon=0.0 if ensemble.kind == "bag" else ensemble.epsilon),
    )
    learner.learn([world.rounds(n, seed=31)])
    return learner


def vw_rows(world, learner, tmp_path, eligible, x):
    """VW's own distribution on each row's eligible actions, in the order of the catalog."""
    path = Path(tmp_path) / "model.vw"
    path.write_bytes(learner.state.model)
    lines, out = action_lines(world.catalog), np.zeros(eligible.shape)
    with wall.load(path, bits=18, width=model_layout(learner.config)[0]) as model:
        for row, may in enumerate(eligible):
            text = "\n".join(line for line, one in zip(lines, may, strict=True) if one)
            head = context_row(learner.state.encoder.column_names, x[row])
            out[row, may] = model.costs(f"shared {head}\n{text}\n", int(may.sum()))
    return out


@pytest.mark.parametrize("cb_type", ["mtr", "ips", "dr"])
@pytest.mark.parametrize("name", KINDS)
def test_equal_to_vowpal_wabbit(world, tmp_path, name, cb_type):
    """The same rounds, the same eligible sets: our votes are VW's distribution."""
    learner = learnt(world, KINDS[name], cb_type=cb_type)
    policy = learner.policy()
    context = world.context(40, seed=32)
    x = learner.state.encoder.encode(context)
    eligible = np.random.default_rng(33).random((40, world.catalog.k)) < 0.5
    eligible[:, 0] = True
    ours = policy.distribution(context, eligible)
    theirs = vw_rows(world, learner, tmp_path, eligible, x)
    # VW lets costs tie that differ by 1e-4 of their size; ours tie where they are equal.
    ranked = [np.sort(np.where(eligible, member.scores(x), -np.inf), axis=1) for member in learner.members()]
    near = [2e-4 * np.abs(one[:, -1] - learner.state.centre) for one in ranked]
    clear = np.all([one[:, -1] - one[:, -2] > 1e-5 + gap for one, gap in zip(ranked, near, strict=True)], axis=0)
    clear |= eligible.sum(axis=1) == 1
    assert clear.sum() >= 25
    np.testing.assert_allclose(ours[clear], theirs[clear], atol=2e-6)
    assert len(np.unique(np.round(ours, 6))) > 3


def test_learning_from_one_action_equals_whole_sets_under_bagging(world, tmp_path):
    """All actions eligible: the bag learnt from one-action examples is VW's bag on whole sets, draw by draw."""
    batch = world.rounds(600, seed=34, eligible_share=1.1)
    one = VwLearner(
        world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(learning_rate=0.5, ensemble=EnsembleConfig(size=4))
    )
    one.learn([batch])
    writer = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(cb_type="ips"), state=one.state)
    data, model = tmp_path / "whole.txt", tmp_path / "whole.vw"
    data.write_bytes(writer.examples(batch, one.state))
    pairs = " ".join(f"--interactions {pair}" for pair in one.config.interactions)
    wall.train(f"--cb_explore_adf --bag 4 --random_seed 0 --cb_type mtr -b 18 {pairs} -l 0.5", data, model)
    whole = VwLearner(
        world.catalog, world.schema, "y", (0.0, 1.0), one.config, state=replace(one.state, model=model.read_bytes())
    )
    for ours, theirs in zip(one.members(), whole.members(), strict=True):
        np.testing.assert_allclose(ours.linear, theirs.linear, atol=2e-5)
    assert not np.array_equal(one.members()[0].linear, one.members()[1].linear)


@pytest.mark.parametrize("name", KINDS)
def test_conformance_and_fused_draws(world, name):
    policy = learnt(world, KINDS[name], n=400).policy()
    assert isinstance(policy, EnsemblePolicy)
    check_policy(policy, world.catalog, world.schema)
    limits = ExplorationConfig(kind=KINDS[name].kind, epsilon=0.1, ceiling=0.3, floor=0.02)
    check_policy(replace(policy, exploration=limits), world.catalog, world.schema)
    for fast in (False, True):
        greedy = replace(policy, exploration=ExplorationConfig(kind="squarecb"), fast=fast)
        check_policy(greedy, world.catalog, world.schema)
    context, rng = world.context(60, seed=35), np.random.default_rng(36)
    channels, hours, arms = world.catalog.shape
    may = Eligibility(
        rng.random((60, channels, arms)) < 0.7, rng.random((60, 2, channels, hours)) < 0.7, world.catalog.purpose_codes
    )
    uniform = rng.random(60)
    action, propensity = policy.choose(context, may, uniform)
    expected, chance = draw(policy.distribution(context, may.dense()), uniform)
    np.testing.assert_array_equal(action, expected)
    np.testing.assert_array_equal(propensity, chance)


def test_limits_keep_the_votes_winner(world):
    """A bag without a uniform share under a ceiling of 0: all mass on the actions with the most votes."""
    policy = learnt(world, KINDS["bag of 5"], n=400).policy()
    context, eligible = world.context(50, seed=37), np.ones((50, world.catalog.k), dtype=bool)
    votes = policy.distribution(context, eligible)
    capped = replace(policy, exploration=replace_config(policy, ceiling=0.0)).distribution(context, eligible)
    winners = votes == votes.max(axis=1, keepdims=True)
    np.testing.assert_allclose(capped, winners / winners.sum(axis=1, keepdims=True))


def replace_config(policy, **changes):
    import msgspec

    return msgspec.structs.replace(policy.exploration, **changes)


@pytest.mark.parametrize("name", ["bag of 5", "cover of 3"])
def test_export_load_and_go_on(world, tmp_path, name):
    """The folder gives the same bytes without VW; going on after it equals going on without it."""
    learner = learnt(world, KINDS[name])
    manifest = learner.export(tmp_path / "policy")
    assert manifest.parity <= 1e-5
    context, eligible = world.context(30, seed=38), np.ones((30, world.catalog.k), dtype=bool)
    loaded, policy = TrainedFolder(tmp_path / "policy").policy(), learner.policy()
    assert loaded.name == f"vw_mtr_{KINDS[name].kind}"
    assert loaded.distribution(context, eligible).tobytes() == policy.distribution(context, eligible).tobytes()
    ours, theirs = (replace(one, exploration=ExplorationConfig(kind="greedy")) for one in (loaded, policy))
    assert ours.distribution(context, eligible).tobytes() == theirs.distribution(context, eligible).tobytes()
    assert ours.distribution(context, eligible).tobytes() != loaded.distribution(context, eligible).tobytes()
    resumed, more = TrainedFolder(tmp_path / "policy").learner(), [world.rounds(300, seed=39)]
    resumed.learn(more)
    learner.learn(more)
    for one, other in zip(resumed.members(), learner.members(), strict=True):
        np.testing.assert_array_equal(one.linear, other.linear)


def test_mean_tables_score_the_mean(world):
    learner = learnt(world, KINDS["bag of 5"])
    x = learner.state.encoder.encode(world.context(20, seed=40))
    mean = np.mean([member.scores(x) for member in learner.members()], axis=0)
    np.testing.assert_allclose(mean_tables(learner.members()).scores(x), mean, atol=1e-5)
    np.testing.assert_allclose(learner.tables().scores(x), mean, atol=1e-5)


def test_parity_finds_a_wrong_member(world, tmp_path):
    learner = learnt(world, KINDS["bag of 5"])
    path = tmp_path / "model.vw"
    path.write_bytes(learner.state.model)
    members = list(learner.members())
    members[2] = replace(members[2], arm=-members[2].arm, hold=-members[2].hold)
    with wall.load(path, bits=18, width=8) as model:
        right = vote_parity(
            model,
            learner.members(),
            learner.state.encoder,
            world.catalog,
            share=0.0,
            shift=learner.state.centre,
            contexts=30,
        )
        wrong = vote_parity(
            model,
            tuple(members),
            learner.state.encoder,
            world.catalog,
            share=0.0,
            shift=learner.state.centre,
            contexts=30,
        )
    assert right < 1e-6
    assert wrong > 0.1


def test_votes_need_their_ensemble(world):
    for config in (VwConfig(), VwConfig(ensemble=EnsembleConfig(kind="cover"))):
        with pytest.raises(ParameterError, match="exploration"):
            VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), config, ExplorationConfig(kind="bag"))
    with pytest.raises(ParameterError, match="explores by scores"):
        ExplorationConfig(kind="bag").distribution(np.zeros((1, 3)), EVERY, 1)
    policy = learnt(world, KINDS["bag of 5"], n=300).policy()
    with pytest.raises(ParameterError, match="members"):
        replace(policy, members=policy.members[:1])


def test_small_updates_of_a_bag_draw_anew(world):
    """One round per update: were the draws the same every time, some members would learn from none of them."""
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(ensemble=EnsembleConfig(size=8)))
    batch = world.rounds(120, seed=43)
    learner.learn([batch.take(slice(0, 100))])
    before = [member.linear for member in learner.members()]
    for row in range(100, 120):
        learner.learn([batch.take(slice(row, row + 1))])
    assert all(not np.array_equal(one.linear, old) for one, old in zip(learner.members(), before, strict=True))


@pytest.mark.parametrize(
    ("ensemble", "cb_type", "exact"),
    [
        (None, "mtr", 1),
        (None, "ips", 1),
        (None, "dr", 0),
        ("bag of 5", "mtr", 1),
        ("greedified bag of 3", "ips", 1),
        ("bag of 5", "dr", 0),
        ("cover of 3", "ips", 1),
        ("cover of 3", "mtr", 1),
        ("cover of 3", "dr", 0),
    ],
)
def test_daily_updates_against_one_go(world, tmp_path, ensemble, cb_type, exact):
    """Two days learnt through the saved model against the same text learnt in one run of VW.

    The first member goes on exactly under mtr and ips. VW keeps the totals of its normalised steps for that one alone,
    so the weights of the others differ a little, by less than 0.01; so does whatever is learnt by dr.
    """
    config = VwConfig(cb_type=cb_type, ensemble=KINDS[ensemble] if ensemble else None)
    days = [world.rounds(400, seed=41, eligible_share=1.1), world.rounds(400, seed=42, eligible_share=1.1)]
    daily = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), config)
    daily.learn(days[:1])
    start = daily.state
    daily.learn(days[1:])
    data, model = tmp_path / "all.txt", tmp_path / "model.vw"
    data.write_bytes(b"".join(daily.examples(day, start) for day in days))
    wall.train(learning_arguments(config, world.catalog.k), data, model)
    state = replace(daily.state, model=model.read_bytes())
    once = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), config, state=state)
    pairs = zip(daily.members(), once.members(), strict=True)
    gaps = [float(np.abs(one.linear - other.linear).max()) for one, other in pairs]
    assert (gaps[0] < 1e-6) == (exact == 1)
    assert max(gaps) < 1e-2
    if exact and ensemble:
        assert max(gaps) > 1e-6
