"""An update that goes wrong leaves learner and folder as they were: injected faults, one for each way to fail."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import fields, replace

import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError, StorageError
from policies.trained import TrainedFolder
from policies.vw import learner, wall
from policies.vw import learner as learning
from policies.vw.learner import VwLearner
from policies.vw.scoring.soundness import Sample, require_no_jump, sample_of


@pytest.fixture
def trained(world, tmp_path):
    made = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    made.learn([world.rounds(400, seed=51)])
    made.export(tmp_path / "policy")
    made.tables()
    return made, tmp_path / "policy"


def spoiled(change):
    """Compiled tables of the model after `change`."""
    real = learner.compile_tables

    def compile_tables(*args, **more):
        tables = real(*args, **more)
        return replace(tables, **change(tables))

    return compile_tables


FAULTS = {
    "nan": lambda t: {"channel": np.full_like(t.channel, np.nan)},
    "infinite": lambda t: {"base": np.full_like(t.base, np.inf)},
    "a pair is nan": lambda t: {"channel_arm": np.full_like(t.channel_arm, np.nan)},
    "scores explode": lambda t: {"base": (t.base + 1.0) * np.float32(1e6)},
    "overflow": lambda t: {"base": np.full_like(t.base, 3e38)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_diverged_is_not_taken(world, trained, monkeypatch, fault):
    made, folder = trained
    state, version = made.state, TrainedFolder(folder).manifest.version
    scores = made.tables().base.tobytes()
    with monkeypatch.context() as patched:
        patched.setattr(learner, "compile_tables", spoiled(FAULTS[fault]))
        with pytest.raises(LearnError, match="diverged"):
            made.learn([world.rounds(200, seed=52)])
    assert made.state is state
    assert made.tables().base.tobytes() == scores
    assert TrainedFolder(folder).manifest.version == version


def test_the_first_learning_can_fail_too(world, monkeypatch):
    made = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    with monkeypatch.context() as patched:
        patched.setattr(learner, "compile_tables", spoiled(FAULTS["scores explode"]))
        with pytest.raises(LearnError):
            made.learn([world.rounds(200, seed=52)])
    with pytest.raises(LearnError, match="nothing"):
        made.policy()
    made.learn([world.rounds(200, seed=52)])


def test_vowpal_wabbit_fails(world, trained, monkeypatch):
    made, folder = trained
    state = made.state
    with monkeypatch.context() as patched:
        patched.setattr(wall, "train", lambda *_, **__: (_ for _ in ()).throw(LearnError("out of memory")))
        with pytest.raises(LearnError):
            made.learn([world.rounds(200, seed=52)])
    assert made.state is state
    made.learn([world.rounds(200, seed=52)])
    assert TrainedFolder(folder).policy().rounds == 400


@pytest.mark.parametrize("value", [np.inf, 1e9, -np.inf])
def test_poisoned_rewards_are_refused(world, trained, value):
    made, _ = trained
    state, batch = made.state, world.rounds(50, seed=53)
    poisoned = replace(batch, rewards={"y": np.where(np.arange(50) == 7, value, batch.rewards["y"])})
    with pytest.raises(LearnError, match="`y`"):
        made.learn([poisoned])
    assert made.state is state


def test_parity_and_a_full_disk_leave_the_folder(world, trained, monkeypatch):
    made, folder = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    made.learn([world.rounds(200, seed=52)])
    with monkeypatch.context() as patched:
        patched.setattr(learning, "PARITY_LIMIT", 0.0)
        with pytest.raises(ArtefactError):
            made.export(folder)
    with monkeypatch.context() as patched:
        full = OSError(28, "No space left on device")
        patched.setattr(learner.ScoreTables, "save", lambda *_: (_ for _ in ()).throw(full))
        with pytest.raises(StorageError):
            made.export(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert TrainedFolder(folder).learner().state.rounds == 400


def test_killed_while_it_is_written(world, trained):
    """SIGKILL at many moments of the export: a whole folder, the old one or the new."""
    made, folder = trained
    old = TrainedFolder(folder).manifest.version
    made.learn([world.rounds(100, seed=54)])
    seen = set()
    for trial in range(6):
        child = os.fork()
        if child == 0:
            try:
                made.export(folder)
            finally:
                os._exit(0)
        time.sleep(0.008 * trial)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not folder.exists():
            # Between the two renames: the old folder stands beside, whole.
            (kept,) = folder.parent.glob(".policy.old.*/policy")
            kept.rename(folder)
        seen.add(TrainedFolder(folder).policy().version)
    new = made.export(folder).version
    assert seen <= {old, new}


def test_loss_by_hand(world):
    """Zero tables predict 0, so the loss is the mean squared reward; 25 spreads are allowed, or 10 old losses."""
    batch = world.rounds(40, seed=1)
    made = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    made.learn([batch])
    encoder, tables = made.state.encoder, made.tables()
    weights = [field.name for field in fields(tables) if field.name != "limits"]
    nothing = replace(tables, **{name: np.zeros_like(getattr(tables, name)) for name in weights})
    sample = sample_of([batch], "y")
    assert sample.loss(nothing, encoder) == pytest.approx((batch.rewards["y"] ** 2).mean())
    shifted = Sample(sample.batches, sample.reward + 100.0)
    with pytest.raises(LearnError):
        require_no_jump(shifted, nothing, None, encoder, unit=0.1)
    require_no_jump(shifted, nothing, nothing, encoder, unit=0.1)
    require_no_jump(shifted, nothing, None, encoder, unit=100.0)
    require_no_jump(sample_of([], "y"), nothing, None, encoder, unit=1.0)
