"""policies/vw/response_model.py and responses.py: probabilities beside a policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import LearnError, ParameterError
from policies.trained import TrainedFolder
from policies.vw.learner import VwLearner
from policies.vw.responses import Asked, asked_for
from policies.vw.reward_model import VwResponseModel


def answered(world, n: int, seed: int):
    """Rounds whose answer is likelier where the reward's mean is higher."""
    batch = world.rounds(n, seed)
    means = world.means(batch.context)[np.arange(n), batch.action]
    answer = (np.random.default_rng(seed).random(n) < means).astype(np.float64)
    return replace(batch, rewards={**batch.rewards, "clicked": answer})


@pytest.fixture(scope="module")
def fitted(world):
    model = VwResponseModel(world.catalog, world.schema, "clicked", (0.0, 1.0))
    model.fit([answered(world, 3000, 5)])
    return model.response("respond")


def test_predicted_share_is_the_share_seen(world, fitted):
    batch = answered(world, 3000, 5)
    own = fitted.predict(batch.context)[np.arange(batch.n), batch.action]
    assert own.mean() == pytest.approx((batch.rewards["clicked"].sum() + 0.5) / (batch.n + 1), abs=1e-6)
    assert (own > 0).all()
    assert (own < 1).all()


def test_the_order_of_contexts_is_learnt(world, fitted):
    context = world.context(500, 9)
    assert np.corrcoef(fitted.predict(context).ravel(), world.means(context).ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("value", "share"), [(0.0, 0.5 / 201), (1.0, 200.5 / 201)])
def test_a_response_that_never_or_always_comes_is_neither_0_nor_1(world, value, share):
    batch = answered(world, 200, 6)
    model = VwResponseModel(world.catalog, world.schema, "clicked", (0.0, 1.0))
    model.fit([replace(batch, rewards={"clicked": np.full(200, value)})])
    assert model.response("unsub").predict(batch.context) == pytest.approx(share, abs=1e-6)


def test_what_is_no_response_is_refused_and_changes_nothing(world):
    batch = answered(world, 200, 7)
    model = VwResponseModel(world.catalog, world.schema, "clicked", (0.0, 1.0))
    model.fit([batch])
    before = model.response("respond").predict(batch.context)
    with pytest.raises(LearnError, match="0 or 1"):
        model.fit([replace(batch, rewards={"clicked": np.full(200, 0.5)})])
    np.testing.assert_array_equal(model.response("respond").predict(batch.context), before)


def test_kept_in_the_folder(world, fitted, tmp_path):
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0))
    learner.learn([world.rounds(300, 8)])
    learner.export(tmp_path / "policy", responses=[fitted])
    context = world.context(20, 3)
    (loaded,) = TrainedFolder(tmp_path / "policy").responses().values()
    np.testing.assert_array_equal(loaded.predict(context), fitted.predict(context))
    assert set(TrainedFolder(tmp_path / "policy").manifest.files) == {"model.vw", "tables.npz", "p_respond.npz"}
    learner.export(tmp_path / "without")
    assert TrainedFolder(tmp_path / "without").responses() == {}


def test_names():
    assert asked_for("") == ()
    assert asked_for("clicked, unsubscribed") == (Asked("respond", "clicked"), Asked("unsub", "unsubscribed"))
    assert asked_for("respond=visit,unsub=left") == (Asked("respond", "visit"), Asked("unsub", "left"))


@pytest.mark.parametrize("text", ["left", "respond=", "other=visit", "clicked,visit", "=x"])
def test_unknown_names_are_refused(text):
    with pytest.raises(ParameterError):
        asked_for(text)
