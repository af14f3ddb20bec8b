"""The one random choice: exact propensities, no impossible action, right frequencies, edges of the uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from engine.errors import ParameterError
from engine.sampling import check_distribution, draw, sample
from engine.types import ObjectArray
from tests.strategies import distributions

LARGEST = 1.0 - 2.0**-53


def ids(n: int) -> ObjectArray:
    return np.array([f"d{i}" for i in range(n)], dtype=object)


def test_draws_by_hand() -> None:
    """p = (0.25, 0, 0.75): u = 0, 0.2 give action 0; 0.25, 0.9 and the largest u give action 2."""
    uniform = np.array([0.0, 0.2, 0.25, 0.9, LARGEST])
    action, propensity = draw(np.tile([0.25, 0.0, 0.75], (5, 1)), uniform)
    assert action.tolist() == [0, 0, 2, 2, 2]
    assert action.dtype == np.int32
    assert propensity.tolist() == [0.25, 0.25, 0.75, 0.75, 0.75]


@given(st.data())
def test_propensity_is_the_probability_of_a_possible_action(data: st.DataObject) -> None:
    eligible = data.draw(hnp.arrays(np.bool_, (5, 6)))
    eligible[:, 0] = True
    probabilities = data.draw(distributions(eligible))
    check_distribution(probabilities, eligible, "a test")
    uniform = data.draw(hnp.arrays(np.float64, 5, elements=st.sampled_from([0.0, 2.0**-53, 0.1, 0.5, 0.9, LARGEST])))
    action, propensity = draw(probabilities, uniform)
    chosen = probabilities[np.arange(5), action]
    assert (chosen > 0).all()
    assert eligible[np.arange(5), action].all()
    np.testing.assert_array_equal(propensity, chosen / np.cumsum(probabilities, axis=1)[:, -1])
    assert ((propensity > 0) & (propensity <= 1)).all()


@pytest.mark.parametrize("lead", [0, 1, 3])
@pytest.mark.parametrize("tail", [0, 1, 3])
@pytest.mark.parametrize("uniform", [0.0, 0.5, LARGEST])
def test_a_sure_action_is_drawn_at_every_edge(lead: int, tail: int, uniform: float) -> None:
    row = np.array([[0.0] * lead + [1.0] + [0.0] * tail])
    action, propensity = draw(row, np.array([uniform]))
    assert (action.tolist(), propensity.tolist()) == ([lead], [1.0])


def test_a_probability_too_small_to_move_the_sum_is_not_drawn_by_rounding() -> None:
    """The sum of ten tenths is 0.9999999999999999; times the largest u it rounds to itself: the tenth, not the dust."""
    row = np.array([[0.1] * 10 + [1e-300]])
    action, propensity = draw(row, np.array([LARGEST]))
    assert action.tolist() == [9]
    assert propensity[0] > 0.09


def test_rows_within_tolerance_are_normalised_by_their_own_sum() -> None:
    row = np.array([[0.5, 0.5 + 9e-7]])
    check_distribution(row, np.ones((1, 2), dtype=np.bool_), "a test")
    _, propensity = sample(row, ids(1), 0)
    assert propensity[0] in (0.5 / (0.5 + (0.5 + 9e-7)), (0.5 + 9e-7) / (0.5 + (0.5 + 9e-7)))


def test_frequencies_are_the_probabilities() -> None:
    """200,000 fixed decisions: chi-square of the drawn actions; the p-value is a constant of this test."""
    n, row = 200_000, np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    action, _ = sample(np.tile(row, (n, 1)), ids(n), 11)
    counts = np.bincount(action, minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[row > 0], n * row[row > 0]).pvalue > 0.001


def test_order_and_blocks_do_not_matter() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), size=50)
    whole = sample(probabilities, ids(50), 5)
    order = np.random.default_rng(1).permutation(50)
    for got, expected in zip(sample(probabilities[order], ids(50)[order], 5), whole, strict=True):
        np.testing.assert_array_equal(got, expected[order])
    parts = [sample(probabilities[i : i + 7], ids(50)[i : i + 7], 5) for i in range(0, 50, 7)]
    np.testing.assert_array_equal(np.concatenate([action for action, _ in parts]), whole[0])
    assert sample(probabilities, ids(50), 6)[0].tolist() != whole[0].tolist()


def test_no_rows_give_no_actions() -> None:
    action, propensity = sample(np.zeros((0, 3)), ids(0), 0)
    assert (len(action), len(propensity)) == (0, 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.5], "of shape"),
        ([1.5, -0.5, 0.0], "non-negative, got -0.5"),
        ([np.nan, 1.0, 0.0], "finite and non-negative, got nan"),
        ([np.inf, 0.0, 0.0], "finite and non-negative, got inf"),
        ([0.5, 0.4, 0.1], "0 on removed actions, got 0.1"),
        ([0.5, 0.5 + 2e-6, 0.0], "sum to 1"),
        ([0.0, 0.0, 0.0], "sum to 1"),
    ],
)
def test_what_is_no_distribution_is_refused(row: list[float], message: str) -> None:
    with pytest.raises(ParameterError, match="`distribution` of MyPolicy") as caught:
        check_distribution(np.array([row]), np.array([[True, True, False]]), "MyPolicy")
    assert message in str(caught.value)
