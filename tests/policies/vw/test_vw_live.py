"""policies/vw/live.py and its learner: VW's own distribution, conformance, the process it belongs to, its folder."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import msgspec
import numpy as np
import pytest

from engine.errors import ArtefactError, LearnError, ParameterError
from engine.storage.artefact import publish
from policies.check import check_policy
from policies.trained import TrainedFolder
from policies.vw import wall
from policies.vw.arguments import EnsembleConfig, LiveConfig, VwConfig
from policies.vw.examples import action_lines, context_row
from policies.vw.folder import LiveManifest
from policies.vw.live import Slots
from policies.vw.live_learner import LiveLearner

KINDS = {
    "rnd": LiveConfig(kind="rnd"),
    "regcb": LiveConfig(kind="regcb", mellowness=0.001),
    "large action space": LiveConfig(kind="large_action_space", max_actions=6),
    "slots": LiveConfig(kind="slots", epsilon=0.2),
}


def learnt(world, live, n=500, **config) -> LiveLearner:
    learner = LiveLearner(world.catalog, world.schema, "y", (0.0, 1.0), live, VwConfig(learning_rate=0.5, **config))
    learner.learn([world.rounds(n, seed=51)])
    return learner


@pytest.fixture(scope="module")
def learners(world):
    return {name: learnt(world, live) for name, live in KINDS.items()}


def direct(learner, texts):
    """VW's answers, asked without our wall."""
    from vowpalwabbit import pyvw

    workspace = pyvw.Workspace(arg_list=["-i", str(learner), "--quiet"])
    try:
        return [workspace.predict(text) for text in texts]
    finally:
        workspace.finish()


@pytest.mark.parametrize("name", ["rnd", "regcb", "large action space"])
def test_equal_to_vowpal_wabbit(world, learners, tmp_path, name):
    learner, context = learners[name], world.context(25, seed=52)
    eligible = np.random.default_rng(53).random((25, world.catalog.k)) < 0.6
    eligible[:, 0] = True
    x, lines = learner.state.encoder.encode(context), action_lines(world.catalog)
    texts = [
        f"shared {context_row(learner.state.encoder.column_names, x[row])}\n"
        + "".join(f"{line}\n" for line, one in zip(lines, may, strict=True) if one)
        for row, may in enumerate(eligible)
    ]
    (tmp_path / "model.vw").write_bytes(learner.state.model)
    ours = learner.policy().distribution(context, eligible)
    for row, theirs in enumerate(direct(tmp_path / "model.vw", texts)):
        np.testing.assert_allclose(ours[row, eligible[row]], theirs, atol=1e-6)
        assert not ours[row, ~eligible[row]].any()
    assert (ours > 0).sum(axis=1).max() > 1


def test_slots_on_a_product_set_are_the_product_of_vws_slots(world, learners, tmp_path):
    """Both channels, hours 1 and 2, arms 0 and 1, and hold: P(c, h, a) = p1(c) p2(h) p3(a), P(hold) = p1(hold)."""
    learner, context = learners["slots"], world.context(10, seed=54)
    channels, hours, arms = world.catalog.shape
    cells = np.zeros((channels, hours, arms), dtype=bool)
    cells[:, 1:, :2] = True
    may = np.concatenate([[True], cells.ravel()])
    (tmp_path / "model.vw").write_bytes(learner.state.model)
    x = learner.state.encoder.encode(context)
    slots = "ccb slot 0,1,2 |s slot=0\nccb slot 4,5 |s slot=1\nccb slot 6,7 |s slot=2\n"
    actions = "".join(
        f"ccb action {name}\n"
        for name in (
            "|c hold",
            "|c channel=email",
            "|c channel=sms",
            *(f"|h hour={hour}" for hour in range(3)),
            *("|a arm=promo", "|a arm=b%20c", "|a arm=x%3Ay%7Cz"),
        )
    )
    texts = [f"ccb shared {context_row(learner.state.encoder.column_names, row)}\n{actions}{slots}" for row in x]
    ours = learner.policy().distribution(context, np.tile(may, (10, 1)))
    for row, answer in enumerate(direct(tmp_path / "model.vw", texts)):
        first, second, third = (dict(pairs) for pairs in answer)
        assert ours[row, 0] == pytest.approx(first[0], abs=1e-6)
        for c in range(channels):
            for h in (1, 2):
                for a in (0, 1):
                    expected = first[1 + c] * second[3 + h] * third[6 + a]
                    assert ours[row, world.catalog.index(c, h, a)] == pytest.approx(expected, abs=1e-6)


def test_joint_by_hand(make_world):
    """One channel, two hours, two arms; arm 1 only at hour 1, and the arms' slot has no mass on arm 0.

    hold 0.2; hour 0: 0.8 x 0.5 x 1 (only arm 0 may go, it has no mass: even); hour 1: 0.8 x 0.5 x 1 on arm 1.
    """
    slots = Slots(make_world(1, 2, 2).catalog)
    may = np.array([True, True, False, False, True])
    asked = np.zeros((3, 6))
    asked[0, :2], asked[1, 2:4], asked[2, 4:] = (0.2, 0.8), (0.5, 0.5), (0.0, 1.0)
    np.testing.assert_allclose(slots.joint(asked, may), [0.2, 0.4, 0.0, 0.0, 0.4])
    offers = slots.offers(may)
    assert [offer.tolist() for offer in offers] == [[0, 1], [2, 3], [4, 5]]
    # Action 4 with propensity 0.25 of 3 eligible ones: 0.75 / 2 offers in every slot; hold labels the first alone.
    assert slots.labels(may, offers, 4, -0.5, 0.25) == ("1:-0.5:0.375 ", "3:-0.5:0.375 ", "5:-0.5:0.375 ")
    assert slots.labels(may, offers, 0, 1.0, 0.9) == ("0:1.0:1.0 ", "", "")


@pytest.mark.parametrize("name", KINDS)
def test_conformance(world, learners, name):
    check_policy(learners[name].policy(), world.catalog, world.schema)


@pytest.mark.parametrize("name", KINDS)
def test_learns(world, learners, name):
    """Above holding (0.5) on fresh contexts: the exploration's own cost included."""
    context = world.context(300, seed=55)
    means = world.means(context)
    probabilities = learners[name].policy().distribution(context, np.ones(means.shape, dtype=bool))
    gain = ((probabilities * means).sum(axis=1).mean() - 0.5) / (means.max(axis=1).mean() - 0.5)
    assert gain > (0.1 if name == "slots" else 0.5), gain


@pytest.mark.parametrize(
    ("name", "exact"), [("rnd", False), ("regcb", True), ("large action space", True), ("slots", True)]
)
def test_going_on_after_a_reload(world, learners, tmp_path, name, exact):
    """The folder goes on exactly as VW does without a reload, but for rnd."""
    learner = learners[name]
    batches = [world.rounds(200, seed=56), world.rounds(200, seed=57)]
    assert learner.export(tmp_path / "live").version == TrainedFolder(tmp_path / "live").policy().version
    twice, once = TrainedFolder(tmp_path / "live").learner(), TrainedFolder(tmp_path / "live").learner()
    twice.learn(batches[:1])
    twice.learn(batches[1:])
    once.learn(batches)
    context, eligible = world.context(40, seed=58), np.ones((40, world.catalog.k), dtype=bool)
    ours, expected = (one.policy().distribution(context, eligible) for one in (twice, once))
    assert twice.state.rounds == once.state.rounds == 900
    assert np.allclose(ours, expected, atol=1e-5) is exact


# Newer Pythons warn of a fork beside other threads; the child does nothing but refuse.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_one_process_and_no_copies(world, learners):
    policy = learners["rnd"].policy()
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(ArtefactError, match="pickled"):
            attempt(policy)
    context, eligible = world.context(1, seed=59), np.ones((1, world.catalog.k), dtype=bool)
    queue = multiprocessing.get_context("fork").Queue()

    def ask() -> None:
        try:
            policy.distribution(context, eligible)
        except ArtefactError as error:
            queue.put(str(error))

    child = multiprocessing.get_context("fork").Process(target=ask)
    child.start()
    assert "another process" in queue.get(timeout=60)
    child.join()
    policy.close()
    with pytest.raises(ArtefactError, match="closed"):
        policy.distribution(context, eligible)


@pytest.mark.parametrize("answer", [[0.5, 0.4], [0.5, 0.5, 0.0], [1.5, -0.5], [float("nan"), 1.0]])
def test_answers_that_are_no_distribution(answer):
    """RegCB's optimistic variant answers with sums above 1: refused here, and not offered."""
    with pytest.raises(ArtefactError, match="no distribution"):
        wall._normalised(answer, 2)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "regcbopt"}, LiveConfig)


def test_a_model_that_learns_online():
    """After one lesson the rewarded action is preferred; wrong arguments are refused."""
    asked = "shared |x f\n|a a\n|a b\n"
    with wall.online("--cb_explore_adf --epsilon 0") as model:
        np.testing.assert_array_equal(model.probabilities(asked, 2), [0.5, 0.5])
        model.learn("shared |x f\n|a a\n0:-1:0.5 |a b\n")
        np.testing.assert_array_equal(model.probabilities(asked, 2), [0.0, 1.0])
    with pytest.raises(ArtefactError, match="closed"):
        model.probabilities(asked, 2)
    with pytest.raises(ArtefactError, match="cannot use"), wall.online("--no_such_option 3"):
        pass


def test_cost_range_of_regcb():
    """Costs (0.4 - reward) / 0.5 of rewards in 0..1 lie in -1.2..0.8."""
    text = LiveConfig(kind="regcb").arguments(0.4, 0.5, (0.0, 1.0))
    assert text == "--cb_explore_adf --regcb --mellowness 0.1 --cb_min_cost -1.2 --cb_max_cost 0.8"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 1.1),
        ("rnd_size", 0),
        ("rnd_alpha", 0.0),
        ("rnd_invlambda", float("inf")),
        ("mellowness", -1.0),
        ("max_actions", 1),
        ("gamma_scale", float("nan")),
        ("gamma_exponent", 2.0),
    ],
)
def test_bad_parameters(field, value):
    with pytest.raises(ParameterError, match=field):
        LiveConfig(**{field: value})


def test_refusals(world, tmp_path):
    for config in (VwConfig(cb_type="dr"), VwConfig(ensemble=EnsembleConfig())):
        with pytest.raises(ParameterError, match="cb_type mtr"):
            LiveLearner(world.catalog, world.schema, "y", (0.0, 1.0), LiveConfig(), config)
    fresh = LiveLearner(world.catalog, world.schema, "y", (0.0, 1.0), LiveConfig())
    with pytest.raises(LearnError, match="nothing has been learnt"):
        fresh.policy()
    with pytest.raises(ArtefactError, match="cannot use"):
        wall.LiveModel.from_bytes(b"no model")
    learner = learnt(world, KINDS["regcb"], n=50)
    with pytest.raises(ParameterError, match="eligible"):
        learner.policy().distribution(world.context(2, seed=1), np.ones((2, 3), dtype=bool))
    learner.export(tmp_path / "live")
    (tmp_path / "live" / "model.vw").write_bytes(b"")
    with pytest.raises(ArtefactError):
        TrainedFolder(tmp_path / "live").learner()


def test_a_folder_of_another_format_is_refused(world, tmp_path):
    manifest = learnt(world, KINDS["regcb"], n=50).export(tmp_path / "live")
    old = msgspec.structs.replace(manifest, format=0)
    publish(tmp_path / "live", LiveManifest.KIND, msgspec.to_builtins(old), lambda part: None)
    with pytest.raises(ArtefactError, match="format 0"):
        TrainedFolder(tmp_path / "live")
