"""policies/vw/scoring: equal to VW, and equal with and without numba."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.eligibility import Eligibility
from engine.errors import ArtefactError, DataError, EligibilityError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.identity import uniforms
from engine.protocols import Policy
from engine.sampling import sample
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import VwConfig, model_layout
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner
from policies.vw.scoring import kernels
from policies.vw.scoring.compiler import parity, random_contexts
from policies.vw.scoring.tables import ScoreTables

EXPLORATIONS = [
    ExplorationConfig(kind="greedy"),
    ExplorationConfig(kind="epsilon_greedy", epsilon=0.1),
    ExplorationConfig(kind="softmax", inverse_temperature=8.0),
    ExplorationConfig(kind="squarecb"),
    ExplorationConfig(kind="squarecb", gamma_scale=0.0),
    ExplorationConfig(kind="greedy", ceiling=0.1, floor=0.005),
    ExplorationConfig(kind="epsilon_greedy", epsilon=0.3, ceiling=0.1, floor=0.005),
    ExplorationConfig(kind="epsilon_greedy", epsilon=1.0, floor=0.04),
    ExplorationConfig(kind="softmax", inverse_temperature=8.0, ceiling=0.1, floor=0.02),
    ExplorationConfig(kind="softmax", inverse_temperature=0.0, ceiling=0.0),
    ExplorationConfig(kind="squarecb", ceiling=0.1, floor=0.005),
    ExplorationConfig(kind="squarecb", gamma_scale=0.0, ceiling=0.5, floor=0.01),
]


def tables_by_hand() -> ScoreTables:
    """C = 1, H = 2, K = 1, d = 1."""

    def made(values):
        return np.array(values, dtype=np.float32)

    return ScoreTables(
        base=made([1.0, 0.5]),
        hold=made([-1.0, 0.25]),
        channel=made([[2.0, 0.0]]),
        hour=made([[0.0, 0.0], [4.0, 1.0]]),
        arm=made([[0.0, 8.0]]),
        channel_hour=made([[0.0, 16.0]]),
        channel_arm=made([[32.0]]),
        hour_arm=made([[0.0], [64.0]]),
        limits=made([-np.inf, np.inf]),
    )


def test_by_hand():
    """x = 3. Hold: 3 x (1 - 1) + 0.75. Hour 0: 3 x 3 + 0.5 + 8 + 32. Hour 1: 3 x 7 + 0.5 + 1 + 8 + 16 + 32 + 64."""
    tables = tables_by_hand()
    x = np.array([[3.0]], dtype=np.float32)
    np.testing.assert_array_equal(tables.scores(x), [[0.75, 49.5, 142.5]])
    limited = replace(tables, limits=np.array([1.0, 100.0], dtype=np.float32))
    np.testing.assert_array_equal(limited.scores(x), [[1.0, 49.5, 100.0]])
    with pytest.raises(ParameterError, match="shape"):
        tables.scores(np.zeros((1, 2), dtype=np.float32))


def trained(world, n=2000, **config) -> VwLearner:
    learner = VwLearner(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(learning_rate=0.5, **config))
    learner.learn([world.rounds(n, seed=21)])
    return learner


@pytest.fixture(scope="module")
def learner(world):
    return trained(world)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cb_type": "ips"},
        {"cb_type": "dr"},
        {"interactions": ("xa",)},
        {"interactions": ()},
        {"bit_precision": 10},
        {"bit_precision": 10, "cb_type": "dr"},
        {"power_t": 0.3},
        {"passes": 3},
    ],
)
def test_equal_to_vowpal_wabbit(world, tmp_path, config):
    """Ten bits make features collide: the tables collide with them."""
    learner = trained(world, 600, **config)
    state = learner.state
    model = tmp_path / "model.vw"
    model.write_bytes(state.model)
    bits, stride = learner.config.bit_precision, model_layout(learner.config)[0]
    with wall.load(model, bits=bits, width=stride) as loaded:
        worst = parity(
            loaded, learner.tables(), state.encoder, world.catalog, scale=-state.unit, shift=state.centre, contexts=50
        )
    assert worst < 1e-5


def test_vw_does_not_clamp_costs(world, learner, tmp_path):
    """Far outside of what was learnt VW's predicted costs go on growing, and so do the tables' scores."""
    state = learner.state
    model = tmp_path / "model.vw"
    model.write_bytes(state.model)
    x = random_contexts(state.encoder, 4, seed=1)
    x[:, 0] = [1e3, -1e3, 1e4, -1e4]
    scores = learner.tables().scores(x)
    lines = "\n".join(action_lines(world.catalog)) + "\n"
    with wall.load(model, bits=18) as loaded:
        for row in range(4):
            text = f"shared {context_row(state.encoder.column_names, x[row])}\n{lines}"
            theirs = state.centre - state.unit * loaded.costs(text, world.catalog.k)
            np.testing.assert_allclose(scores[row], theirs, rtol=1e-5, atol=1e-3)
    assert np.abs(scores).max() > 100


def test_same_bytes_in_any_block_size(world, learner):
    tables = learner.tables()
    x = random_contexts(learner.state.encoder, 1300, seed=2)
    whole = tables.scores(x)
    for size in (1, 7, 512):
        parts = [tables.scores(x[start : start + size]) for start in range(0, len(x), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_save_and_load(world, learner, tmp_path):
    tables = learner.tables()
    d = learner.state.encoder.d
    tables.save(tmp_path / "tables.npz")
    again = ScoreTables.load(tmp_path / "tables.npz", world.catalog, d)
    x = random_contexts(learner.state.encoder, 50, seed=3)
    assert again.scores(x).tobytes() == tables.scores(x).tobytes()
    with pytest.raises(ArtefactError, match="shape"):
        ScoreTables.load(tmp_path / "tables.npz", world.catalog, d + 1)
    with pytest.raises(ArtefactError):
        ScoreTables.load(tmp_path / "none.npz", world.catalog, d)
    (tmp_path / "bad.npz").write_bytes(b"PK junk")
    with pytest.raises(ArtefactError):
        ScoreTables.load(tmp_path / "bad.npz", world.catalog, d)
    np.savez(tmp_path / "pickled.npz", base=np.array([{}], dtype=object))
    with pytest.raises(ArtefactError):
        ScoreTables.load(tmp_path / "pickled.npz", world.catalog, d)
    broken = replace(tables, arm=np.full_like(tables.arm, np.nan))
    broken.save(tmp_path / "nan.npz")
    with pytest.raises(ArtefactError, match="finite"):
        ScoreTables.load(tmp_path / "nan.npz", world.catalog, d)


def random_eligibility(catalog, n, seed) -> Eligibility:
    rng = np.random.default_rng(seed)
    channels, hours, arms = catalog.shape
    share = rng.random((n, 1, 1))
    channel_hour = rng.random((n, 2, channels, hours)) < share[:, None]
    return Eligibility(rng.random((n, channels, arms)) < share, channel_hour, catalog.purpose_codes)


@pytest.mark.parametrize("exploration", EXPLORATIONS)
@pytest.mark.parametrize("fast", [True, False])
def test_choose_equals_distribution_and_sample(world, learner, exploration, fast):
    policy = replace(learner.policy(), exploration=exploration, fast=fast)
    n = 3000
    context = world.context(n, seed=31)
    eligibility = random_eligibility(world.catalog, n, seed=32)
    ids = np.array([f"decision {i}" for i in range(n)], dtype=object)
    action, propensity = policy.choose(context, eligibility, uniforms(ids, 5))
    expected_action, expected = sample(policy.distribution(context, eligibility.dense()), ids, 5)
    np.testing.assert_array_equal(action, expected_action)
    np.testing.assert_allclose(propensity, expected, rtol=1e-12)
    assert action.dtype == np.int32
    # Any batch size gives the same bytes.
    halves = [slice(0, 1), slice(1, 700), slice(700, n)]
    parts = [policy.choose(context.take(s), eligibility.take(s), uniforms(ids[s], 5)) for s in halves]
    assert np.concatenate([part[0] for part in parts]).tobytes() == action.tobytes()
    assert np.concatenate([part[1] for part in parts]).tobytes() == propensity.tobytes()


@pytest.mark.skipif(not kernels.AVAILABLE, reason="numba is not installed, or switched off")
@pytest.mark.parametrize("shape", [(3, 24, 8), (1, 1, 2), (2, 1, 1)])
def test_kernel_scores_equal_numpy_bit_for_bit(make_world, shape):
    world = make_world(*shape)
    learner = trained(world, 500)
    tables = learner.tables()
    x = random_contexts(learner.state.encoder, 300, seed=4)
    assert kernels.scores(x, tables).tobytes() == tables.scores(x).tobytes()


@pytest.mark.skipif(not kernels.AVAILABLE, reason="numba is not installed, or switched off")
@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_ties_are_ties_in_the_kernel(exploration):
    """Equal scores everywhere: the kernel spreads the mass as the plain path does."""
    tables = tables_by_hand()
    zero = {name: np.zeros_like(getattr(tables, name)) for name in ("base", "hold", "channel", "hour", "arm")}
    pairs = {name: np.zeros_like(getattr(tables, name)) for name in ("channel_hour", "channel_arm", "hour_arm")}
    flat = replace(tables, **zero, **pairs)
    every = Eligibility(np.ones((9, 1, 1), bool), np.ones((9, 2, 1, 2), bool), np.zeros(1, dtype=np.int64))
    uniform = np.linspace(0, 0.999, 9)
    x = np.ones((9, 1), dtype=np.float32)
    action, propensity = kernels.choose(x, flat, every, exploration, 10, uniform)
    np.testing.assert_array_equal(action, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_allclose(propensity, 1 / 3, rtol=1e-12)


def test_policy_contract(world, learner):
    policy = learner.policy()
    assert isinstance(policy, Policy)
    assert policy.name == "vw_mtr_squarecb"
    context = world.context(3, seed=41)
    eligible = np.ones((3, world.catalog.k), dtype=bool)
    with pytest.raises(EligibilityError):
        policy.distribution(context, ~eligible)
    with pytest.raises(ParameterError, match="shape"):
        policy.distribution(context, eligible[:, :-1])
    with pytest.raises(DataError, match="schema"):
        policy.distribution(ContextBatch(FeatureSchema(features=()), {}, 3), eligible)
    with pytest.raises(ParameterError, match="eligibility"):
        policy.choose(context, random_eligibility(world.catalog, 4, 1), np.zeros(3))
    with pytest.raises(ParameterError, match="eligibility"):
        policy.choose(context, random_eligibility(world.catalog, 3, 1), np.zeros(2))


def test_a_policy_does_not_change_when_its_learner_learns_on(world):
    learner = trained(world, 300)
    policy = learner.policy()
    context = world.context(20, seed=42)
    before = policy.scores(context)
    learner.learn([world.rounds(300, seed=43)])
    np.testing.assert_array_equal(policy.scores(context), before)
    assert np.abs(learner.policy().scores(context) - before).max() > 0
    assert learner.policy().rounds == 600
