"""policies/vw/learner.py and wall.py: what is learnt, what is refused, what survives a failure."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError, ParameterError
from engine.storage import parts
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner

GREEDY = ExplorationConfig(kind="greedy")


def learner_of(world, **config) -> VwLearner:
    return VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(**config), GREEDY)


def value(world, policy, n=1000):
    """True value of the policy over the optimum's, both above the value of holding (0.5)."""
    context = world.context(n, seed=99)
    means = world.means(context)
    probabilities = policy.distribution(context, np.ones(means.shape, dtype=bool))
    return ((probabilities * means).sum(axis=1).mean() - 0.5) / (means.max(axis=1).mean() - 0.5)


@pytest.mark.parametrize(("cb_type", "rounds"), [("mtr", 6000), ("ips", 6000), ("dr", 6000)])
def test_learns_close_to_the_optimum(world, cb_type, rounds):
    learner = learner_of(world, cb_type=cb_type, learning_rate=0.5)
    learner.learn([world.rounds(rounds // 2, seed=1), world.rounds(rounds // 2, seed=2)])
    assert value(world, learner.policy()) > 0.9
    assert learner.state.rounds == rounds


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (3, 1, 2), (2, 4, 1), (1, 24, 2)])
def test_axes_of_size_one_learn_too(make_world, shape):
    world = make_world(*shape)
    learner = learner_of(world)
    learner.learn([world.rounds(4000, seed=3)])
    assert value(world, learner.policy()) > 0.85


def test_one_action_mtr_equals_whole_set_mtr(world):
    """The same rounds, all actions eligible, as one-action and as whole-set examples: the same scores."""
    batch = world.rounds(1500, seed=4, eligible_share=1.1)
    one = learner_of(world, cb_type="mtr", learning_rate=0.5)
    one.learn([batch])
    # The whole set under another type's text, with mtr's arguments and VW's own division by the number of actions.
    text_writer = learner_of(world, cb_type="ips", learning_rate=0.5)
    state = one.state
    tables = one.tables()
    text = text_writer.examples(batch, state)
    scores = whole_set_scores(world, text, state)
    ours = tables.scores(state.encoder.encode(world.context(40, seed=5)))
    np.testing.assert_allclose(ours, scores, atol=2e-5)


def whole_set_scores(world, text, state):
    from policies.vw.scoring.compiler import compile_tables

    config = VwConfig()
    pairs = " ".join(f"--interactions {pair}" for pair in config.interactions)
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "whole.txt", Path(folder) / "model.vw"
        data.write_bytes(text)
        wall.train(f"--cb_adf --cb_type mtr -b 18 {pairs} -l 0.5 --power_t 0.5", data, model)
        with wall.load(model, bits=18) as loaded:
            tables = compile_tables(loaded, state.encoder, world.catalog, config, scale=-state.unit, shift=state.centre)
    return tables.scores(state.encoder.encode(world.context(40, seed=5)))


def test_varying_sets_agree_within_noise(world):
    """VW divides by the running mean number of actions, we by the final one: nearly the same scores."""
    batch = world.rounds(3000, seed=6, eligible_share=0.6)
    one = learner_of(world, cb_type="mtr", learning_rate=0.5)
    one.learn([batch])
    whole = whole_set_scores(world, learner_of(world, cb_type="ips").examples(batch, one.state), one.state)
    ours = one.tables().scores(one.state.encoder.encode(world.context(40, seed=5)))
    assert np.abs(ours - whole).max() < 0.05 * ours.std() + 0.01


@pytest.mark.parametrize("cb_type", ["mtr", "ips"])
def test_continuing_equals_learning_in_one_go(world, cb_type):
    """After a reload VW goes on where it was: two calls give the model of one call, encoder and scale being equal."""
    first, second = world.rounds(1000, seed=7, eligible_share=1.1), world.rounds(1000, seed=8, eligible_share=1.1)
    twice = learner_of(world, cb_type=cb_type)
    twice.learn([first])
    start = replace(twice.state, rounds=0, eligible_sum=0, skipped=0)
    twice.learn([second])
    once = learner_of(world, cb_type=cb_type)
    once.learn([first])
    text = [once.examples(batch, once.state) for batch in (first, second)]
    x = start.encoder.encode(world.context(50, seed=9))
    expected = straight_scores(world, once, b"".join(text), x)
    np.testing.assert_allclose(twice.tables().scores(x), expected, atol=1e-6)


def straight_scores(world, learner, text, x):
    from policies.vw.arguments import learning_arguments
    from policies.vw.scoring.compiler import compile_tables

    state = learner.state
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "all.txt", Path(folder) / "model.vw"
        data.write_bytes(text)
        wall.train(learning_arguments(learner.config, world.catalog.k), data, model)
        with wall.load(model, bits=18) as loaded:
            tables = compile_tables(
                loaded, state.encoder, world.catalog, learner.config, scale=-state.unit, shift=state.centre
            )
    return tables.scores(x)


def test_the_scale_of_rewards_does_not_matter(world):
    batch = world.rounds(2000, seed=10)
    plain = learner_of(world)
    plain.learn([batch])
    large = VwLearner(world.catalog, world.schema, "y", (0.0, 1000.0), VwConfig(), GREEDY)
    large.learn([replace(batch, rewards={"y": batch.rewards["y"] * 1000.0})])
    x = plain.state.encoder.encode(world.context(30, seed=11))
    np.testing.assert_allclose(large.tables().scores(x) / 1000.0, plain.tables().scores(x), atol=1e-4)


def test_same_input_same_bytes_and_iterators(world):
    batches = [world.rounds(500, seed=12), world.rounds(500, seed=13)]
    models = []
    for rounds in (batches, iter(batches), tuple(batches)):
        learner = learner_of(world)
        learner.learn(rounds)
        models.append(learner.tables().linear.tobytes())
    assert models[0] == models[1] == models[2]


def test_rows_that_may_not_train_are_skipped(world):
    batch = world.rounds(300, seed=14)
    reward = batch.rewards["y"].copy()
    reward[:50] = np.nan
    usable = batch.usable.copy()
    usable[100:120] = False
    bad = batch.propensity.copy()
    bad[:50], bad[100:120] = np.nan, 0.0
    learner = learner_of(world)
    learner.learn([replace(batch, rewards={"y": reward}, usable=usable, propensity=bad)])
    assert (learner.state.rounds, learner.state.skipped) == (230, 70)


def spoil(field, what):
    def change(batch):
        if field == "reward":
            values = batch.rewards["y"].copy()
            values[7] = what
            return replace(batch, rewards={"y": values})
        values = getattr(batch, field).copy()
        values[7] = what
        return replace(batch, **{field: values})

    return change


BAD = {
    "infinite reward": spoil("reward", np.inf),
    "minus infinite reward": spoil("reward", -np.inf),
    "reward above the range": spoil("reward", 1.5),
    "reward below the range": spoil("reward", -0.1),
    "propensity 0": spoil("propensity", 0.0),
    "propensity negative": spoil("propensity", -0.5),
    "propensity above 1": spoil("propensity", 1.5),
    "propensity NaN": spoil("propensity", np.nan),
    "action out of range": spoil("action", 19),
    "action negative": spoil("action", -1),
    "not eligible": spoil("eligible", 0),
    "no such metric": lambda batch: replace(batch, rewards={}),
    "other catalog": lambda batch: replace(batch, k=batch.k + 1),
    "nothing usable": lambda batch: replace(batch, usable=np.zeros(batch.n, dtype=bool)),
    "empty": lambda batch: batch.take(slice(0, 0)),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals_leave_the_learner_as_it_was(world, name):
    good = world.rounds(200, seed=15)
    bad = BAD[name](good)
    fresh = learner_of(world)
    with pytest.raises(LearnError):
        fresh.learn([bad])
    with pytest.raises(LearnError, match="nothing has been learnt"):
        fresh.policy()
    learner = learner_of(world)
    learner.learn([good])
    before = learner.state
    rounds = [bad] if name in ("nothing usable", "empty") else [good, bad]
    with pytest.raises(LearnError):
        learner.learn(rounds)
    assert learner.state is before


def test_a_failure_of_vw_leaves_the_learner_as_it_was(world):
    learner = learner_of(world)
    learner.learn([world.rounds(200, seed=16)])
    before = replace(learner.state, model=b"no model at all")
    broken = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(), GREEDY, before)
    with pytest.raises(LearnError):
        broken.learn([world.rounds(200, seed=17)])
    assert broken.state is before


def test_a_failing_disk_leaves_the_learner_as_it_was(world, monkeypatch, tmp_path):
    learner = learner_of(world)
    learner.learn([world.rounds(200, seed=18)])
    before = learner.state
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unmounted"))
    with pytest.raises(LearnError, match="temporary files"):
        learner.learn([world.rounds(200, seed=19)])
    assert learner.state is before


def fill_disk_under(name, monkeypatch):
    """In every scratch folder from now on, writes to the file are refused by the kernel."""
    real = parts._made

    def made(*arguments):
        path, lock = real(*arguments)
        (path / name).symlink_to("/dev/full")
        return path, lock

    monkeypatch.setattr(parts, "_made", made)


def test_a_full_disk_leaves_the_learner_as_it_was(world, monkeypatch, tmp_path):
    """The examples are written to /dev/full: the kernel answers every write with "no space left"."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    learner = learner_of(world)

    fill_disk_under("rounds.txt", monkeypatch)
    with pytest.raises(LearnError, match="No space left"):
        learner.learn([world.rounds(5000, seed=20)])
    with pytest.raises(LearnError, match="nothing has been learnt"):
        learner.policy()


# VW fails to finish the half-made workspace a second time when Python collects it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_under_the_model(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    data = tmp_path / "rounds.txt"
    data.write_text("shared |x f\n0:-1:0.5 |a b\n\n" * 20)

    fill_disk_under("model.vw.writing", monkeypatch)
    with pytest.raises(LearnError, match="Failed to write"):
        wall.train("--cb_adf --cb_type mtr -b 10", data, tmp_path / "model.vw")
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.txt"]


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (np.nan, 1.0)])
def test_bad_range(world, limits):
    with pytest.raises(ParameterError, match="reward_range"):
        VwLearner(world.catalog, world.schema, "y", limits)


def test_wall(tmp_path):
    data = tmp_path / "a folder" / "rounds.txt"
    data.parent.mkdir()
    data.write_text("shared |x f\n0:-1:0.5 |a b\n\n" * 20)
    arguments = "--cb_adf --cb_type mtr -b 10"
    with pytest.raises(LearnError, match="no folder"):
        wall.train(arguments, data, tmp_path / "none" / "model.vw")
    with pytest.raises(LearnError, match="unrecognised"):
        wall.train("--no_such_option", data, tmp_path / "model.vw")
    with pytest.raises(LearnError):
        wall.train(arguments, tmp_path / "none.txt", tmp_path / "model.vw")
    assert [path.name for path in tmp_path.iterdir()] == ["a folder"]
    wall.train(arguments, data, tmp_path / "model.vw", passes=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a folder", "model.vw"]
    with wall.load(tmp_path / "model.vw", bits=10) as model:
        assert model.costs("shared |x f\n|a b\n|a c\n", 2)[0] < -0.5
        with pytest.raises(ArtefactError, match="3 actions"):
            model.costs("shared |x f\n|a b\n|a c\n", 3)
    with pytest.raises(ArtefactError, match="does not exist"), wall.load(tmp_path / "none.vw", bits=10):
        pass
    (tmp_path / "bad.vw").write_bytes(b"junk")
    with pytest.raises(ArtefactError, match="cannot use"), wall.load(tmp_path / "bad.vw", bits=10):
        pass
