"""policies/vw/search.py: what is chosen, what is left alone, what the value means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.errors import LearnError, ParameterError
from policies.vw.arguments import SearchConfig, VwConfig
from policies.vw.learner import VwLearner
from policies.vw.search import choose

RANGE = (0.0, 1.0)


def search(world, start, rounds=1200, seed=91, **keys):
    config = VwConfig(search=SearchConfig(**({"estimator": "ips"} | keys)), **start)
    batch = world.rounds(rounds, seed=seed)
    batches = [batch.take(slice(0, 500)), batch.take(slice(500, rounds))]
    return choose(batches, world.catalog, world.schema, "y", RANGE, config)


@pytest.mark.parametrize("estimator", ["dr", "ips"])
def test_a_learner_that_cannot_see_the_context_is_replaced(world, estimator):
    """The reward depends on context x arm alone: without that product nothing can be learnt."""
    found = search(
        world,
        {"interactions": (), "learning_rate": 0.5},
        interactions=(("xh",), ("xa",)),
        estimator=estimator,
        pieces=3,
    )
    assert found.config.interactions == ("xa",)
    assert found.config.search is None
    assert [trial.config.interactions for trial in found.trials] == [(), ("xh",), ("xa",)]
    assert found.trials[2].chosen
    assert found.trials[2].gain > found.trials[2].stderr > 0


def test_the_value_is_the_policys(world):
    """Progressive value against the true value of what the first pieces learn; the error is a few times 0.01."""
    found = search(world, {"learning_rate": 0.5}, passes=(2,), pieces=3, rounds=1500)
    batch = world.rounds(1500, seed=91)
    learner = VwLearner(world.catalog, world.schema, "y", RANGE, found.trials[0].config)
    true = []
    for start in (0, 500):
        learner.learn([batch.take(slice(start, start + 500))])
        part = batch.take(slice(start + 500, start + 1000))
        scores = np.where(part.eligible_dense(), learner.policy().scores(part.context), -np.inf)
        true.append(world.means(part.context)[np.arange(500), scores.argmax(axis=1)])
    assert found.trials[0].value == pytest.approx(np.concatenate(true).mean(), abs=0.04)
    assert found.trials[0].value > 0.55


def test_no_clear_gain_no_change(world):
    """A value that is no better, and one that is not better by a million standard errors."""
    same = search(world, {"learning_rate": 0.5}, passes=(2,), least_gain=5.0, pieces=3)
    assert same.config.passes == 1
    stubborn = search(world, {"interactions": ()}, interactions=(("xa",),), least_gain=1e6, pieces=3)
    assert stubborn.config.interactions == ()
    assert not stubborn.trials[1].chosen


def test_values_that_change_nothing_are_not_tried(make_world):
    """One channel and one hour: only xa can matter, so the lists are the same learner."""
    world = make_world(1, 1, 3)
    found = search(world, {}, interactions=(("xa",), ("xc", "xh", "xa"), ("xa", "ch", "ca", "ha")), pieces=2)
    assert len(found.trials) == 1


def test_a_diverging_step_size_is_a_bad_one(world, monkeypatch):
    """VW's normalised steps hardly ever diverge, so the failure is put in: the search goes on without that value."""
    sound = VwLearner.require_sound

    def diverges(self, state):
        if self.config.learning_rate == 0.7:
            raise LearnError("the model diverged")
        sound(self, state)

    monkeypatch.setattr(VwLearner, "require_sound", diverges)
    found = search(world, {}, learning_rates=(0.7,), pieces=2, rounds=400)
    assert found.config == VwConfig()
    assert found.trials[1].value == -np.inf
    json.dumps(found.to_builtins(), allow_nan=False)


def test_same_log_same_choice(world):
    first, second = (search(world, {}, cb_types=("ips", "dr"), pieces=2, rounds=400) for _ in range(2))
    assert first == second


def test_only_the_first_rounds_are_used(world):
    """Rounds beyond the limit change nothing."""
    batch = world.rounds(800, seed=91)
    config = VwConfig(search=SearchConfig(passes=(2,), pieces=2, rounds=400, estimator="ips"))
    cut = choose([batch.take(slice(0, 400))], world.catalog, world.schema, "y", RANGE, config)
    assert choose([batch], world.catalog, world.schema, "y", RANGE, config) == cut


def test_without_a_search_nothing_is_read(world):
    assert choose([], world.catalog, world.schema, "y", RANGE, VwConfig()).config == VwConfig()


def test_refusals(world):
    with pytest.raises(LearnError, match="too few"):
        search(world, {}, passes=(2,), rounds=8, pieces=5)
    with pytest.raises(ParameterError, match="choose first"):
        VwLearner(world.catalog, world.schema, "y", RANGE, VwConfig(search=SearchConfig(passes=(2,))))
    for keys, name in (
        ({}, "search"),
        ({"passes": (2,), "pieces": 1}, "pieces"),
        ({"passes": (2,), "least_gain": -1.0}, "least_gain"),
        ({"passes": (2,), "rounds": 10}, "rounds"),
    ):
        with pytest.raises(ParameterError, match=name):
            SearchConfig(**keys)
