"""policies/exploring/exploration.py, against hand-made numbers and against Vowpal Wabbit's own distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.errors import EligibilityError, ParameterError
from engine.sampling import check_distribution
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import (
    epsilon_greedy,
    greedy,
    softmax,
    squarecb,
    uniform,
)
from policies.vw import wall

SCORES = np.array([[0.1, 0.5, 0.3, 0.9]])
ELIGIBLE = np.array([[True, True, True, False]])
EVERY = [
    greedy,
    lambda s, e: epsilon_greedy(s, e, 0.1),
    lambda s, e: softmax(s, e, 5.0),
    lambda s, e: softmax(s, e, 0.0),
    lambda s, e: squarecb(s, e, 50.0),
    lambda s, e: squarecb(s, e, 0.0),
    lambda s, e: uniform(e),
]


def test_by_hand():
    """The removed 0.9 plays no part; squarecb: 1 / (3 + 10 * 0.4) = 1/7, 1 / (3 + 10 * 0.2) = 1/5, rest 23/35."""
    np.testing.assert_array_equal(greedy(SCORES, ELIGIBLE), [[0, 1, 0, 0]])
    np.testing.assert_allclose(epsilon_greedy(SCORES, ELIGIBLE, 0.3), [[0.1, 0.8, 0.1, 0]])
    np.testing.assert_allclose(squarecb(SCORES, ELIGIBLE, 10.0), [[1 / 7, 23 / 35, 1 / 5, 0]])
    weights = np.exp([0.2, 1.0, 0.6])
    np.testing.assert_allclose(softmax(SCORES, ELIGIBLE, 2.0)[0, :3], weights / weights.sum())
    np.testing.assert_allclose(uniform(ELIGIBLE), [[1 / 3, 1 / 3, 1 / 3, 0]])


def test_ties():
    scores, eligible = np.array([[1.0, 0.0, 1.0]]), np.ones((1, 3), dtype=bool)
    np.testing.assert_array_equal(greedy(scores, eligible), [[0.5, 0, 0.5]])
    # squarecb: the first of the best is the best; its twin has gap 0 and gets 1/3.
    np.testing.assert_allclose(squarecb(scores, eligible, 3.0), [[1 - 1 / 6 - 1 / 3, 1 / 6, 1 / 3]])


@given(
    arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6)),
    arrays(np.bool_, (4, 5)),
    st.sampled_from(EVERY),
)
def test_distributions_over_the_eligible_set(scores, sends, explore):
    eligible = np.concatenate([np.ones((4, 1), dtype=bool), sends], axis=1)
    probabilities = explore(scores, eligible)
    check_distribution(probabilities, eligible, "test")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("explore", EVERY)
def test_empty_sets_are_refused(explore):
    with pytest.raises(EligibilityError):
        explore(SCORES, np.zeros((1, 4), dtype=bool))


@pytest.mark.parametrize("explore", EVERY[:-1])
def test_bad_scores(explore):
    with pytest.raises(ParameterError, match="finite"):
        explore(np.array([[np.nan, 1, 1, 1]]), ELIGIBLE)
    with pytest.raises(ParameterError, match="shape"):
        explore(SCORES[:, :3], ELIGIBLE)
    # A removed action's score does not matter.
    known = explore(np.array([[0.0, 1, 1, 7]]), ELIGIBLE)
    np.testing.assert_array_equal(explore(np.array([[0.0, 1, 1, np.nan]]), ELIGIBLE), known)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: epsilon_greedy(SCORES, ELIGIBLE, 1.1), "epsilon"),
        (lambda: softmax(SCORES, ELIGIBLE, -1.0), "inverse_temperature"),
        (lambda: softmax(SCORES, ELIGIBLE, np.inf), "inverse_temperature"),
        (lambda: squarecb(SCORES, ELIGIBLE, np.nan), "gamma"),
        (lambda: ExplorationConfig(epsilon=2), "epsilon"),
        (lambda: ExplorationConfig(gamma_exponent=1.5), "gamma_exponent"),
        (lambda: ExplorationConfig(gamma_scale=-1), "gamma_scale"),
        (lambda: ExplorationConfig(inverse_temperature=-1), "inverse_temperature"),
    ],
)
def test_bad_parameters(call, name):
    with pytest.raises(ParameterError, match=name):
        call()


@pytest.fixture(scope="module")
def training_file(tmp_path_factory):
    rng = np.random.default_rng(7)
    lines = []
    for _ in range(400):
        value, arm = rng.normal(), rng.integers(6)
        cost = -0.3 - 0.1 * arm * value
        lines.append(f"shared |x f:{value:.4f}\n0:{cost:.4f}:0.5 |a a{arm}\n\n")
    path = tmp_path_factory.mktemp("vw") / "rounds.txt"
    path.write_text("".join(lines))
    return path


def predictions(arguments, training_file, actions):
    """What a model trained on the file with these arguments predicts for the actions, in three contexts."""
    model = training_file.with_name("model.vw")
    wall.train(f"{arguments} --cb_type mtr -b 12 --interactions xa", training_file, model)
    lines = "".join(f"|a {action}\n" for action in actions)
    with wall.load(model, bits=12) as loaded:
        rows = [loaded.costs(f"shared |x f:{value}\n{lines}", len(actions)) for value in (-1.5, 0.0, 0.7)]
    return np.array(rows)


SETS = [
    ["a0", "a1", "a2", "a3", "a4", "a5"],
    ["a5", "a2"],
    ["a3"],
    ["a1", "unseen1", "a4", "unseen2"],
    ["unseen1", "unseen2", "unseen3"],
    ["a5", "a1", "a5"],
]


@pytest.mark.parametrize("actions", SETS)
@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        ("--epsilon 0", ExplorationConfig(kind="greedy")),
        ("--epsilon 0.2", ExplorationConfig(kind="epsilon_greedy", epsilon=0.2)),
        ("--softmax --lambda 7", ExplorationConfig(kind="softmax", inverse_temperature=7)),
        (
            "--squarecb --gamma_scale 20 --gamma_exponent 0.4",
            ExplorationConfig(kind="squarecb", gamma_scale=20, gamma_exponent=0.4),
        ),
        (
            "--squarecb --gamma_scale 3 --gamma_exponent 0",
            ExplorationConfig(kind="squarecb", gamma_scale=3, gamma_exponent=0),
        ),
    ],
)
def test_equal_to_vowpal_wabbit(training_file, actions, arguments, config):
    """Same data, same eligible set: our formula on VW's predicted costs is VW's own distribution."""
    scores = -predictions("--cb_adf", training_file, actions)
    theirs = predictions(f"--cb_explore_adf {arguments}", training_file, actions)
    # A removed action with the best score of all stands beside them and must change nothing.
    padded = np.concatenate([scores, np.full((3, 1), 99.0)], axis=1)
    eligible = np.concatenate([np.ones(scores.shape, dtype=bool), np.zeros((3, 1), dtype=bool)], axis=1)
    ours = config.distribution(padded, eligible, rounds=400)
    np.testing.assert_allclose(ours[:, :-1], theirs, atol=1e-6)
    np.testing.assert_array_equal(ours[:, -1], 0.0)
