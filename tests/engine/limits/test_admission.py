"""Admission by stretches against admission one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.limits.admission import admission_order, admit
from engine.limits.costs import Costs
from engine.types import HOLD, BoolArray, IntArray
from tests.engine.limits.limit_worlds import drawing, ids

C, H, K, D = 2, 2, 2, 2
ACTIONS = 1 + C * H * K


def costs_of(amount: IntArray, day: IntArray, pooled: list[bool]) -> Costs:
    return Costs(amount=amount, earned=np.zeros_like(amount), day=day, days=D, pooled=np.array(pooled, dtype=np.bool_))


def one_by_one(
    eligible: BoolArray, costs: Costs, remaining: IntArray, order: IntArray, scores: np.ndarray, seed: int
) -> tuple[list[int], list[float], BoolArray, IntArray]:
    """The sequential process as it is told: a contact, its set, its draw, its cost; then the next contact."""
    left = remaining.copy()
    open_sets = eligible.copy()
    n = len(eligible)
    action, propensity = [0] * n, [1.0] * n
    draw = drawing(scores, ids("d", n), seed)
    for row in order:
        for cell in range(1, ACTIONS):
            channel, hour, arm = (cell - 1) // (H * K), (cell - 1) // K % H, (cell - 1) % K
            for limit in range(len(left)):
                meter = 0 if costs.pooled[limit] else costs.day[row, hour]
                if costs.amount[limit, channel, arm] > left[limit, meter]:
                    open_sets[row, cell] = False
        drawn, chance = draw(np.array([row]), open_sets[[row]])
        action[row], propensity[row] = int(drawn[0]), float(chance[0])
        if action[row] != HOLD:
            cell = action[row] - 1
            channel, hour, arm = cell // (H * K), cell // K % H, cell % K
            for limit in range(len(left)):
                meter = 0 if costs.pooled[limit] else costs.day[row, hour]
                left[limit, meter] -= costs.amount[limit, channel, arm]
    return action, propensity, open_sets, remaining - left


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 25), st.integers(0, 3), st.integers(0, 12))
def test_equals_admission_one_by_one(seed: int, n: int, limits: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    amount = chance.integers(0, 4, (limits, C, K))
    day = chance.integers(0, D, (n, H))
    costs = costs_of(amount, day, [bool(flag) for flag in chance.integers(0, 2, limits)])
    remaining = chance.integers(0, most + 1, (limits, D))
    eligible = chance.random((n, ACTIONS)) < 0.7
    eligible[:, HOLD] = True
    scores = chance.normal(size=(n, ACTIONS))
    order = admission_order(ids("d", n), seed)
    found = admit(eligible, costs, remaining, order, drawing(scores, ids("d", n), seed))
    action, propensity, open_sets, used = one_by_one(eligible, costs, remaining, order, scores, seed)
    assert found.action.tolist() == action
    assert found.propensity.tolist() == propensity
    assert np.array_equal(found.eligible, open_sets)
    assert np.array_equal(found.used, used)
    assert (found.used <= remaining).all()
    assert found.rounds <= 1 + limits * D * 4


def test_by_hand() -> None:
    """Everybody wants SMS now (action 5), 2 are left: the first two in order get it, the others an e-mail (1)."""
    scores = np.full((5, ACTIONS), -50.0)
    scores[:, 5], scores[:, 1] = 50.0, 0.0
    amount = np.zeros((1, C, K), dtype=np.int64)
    amount[0, 1] = 1
    costs = costs_of(amount, np.zeros((5, H), dtype=np.int64), [False])
    order = np.array([3, 0, 4, 1, 2])
    eligible = np.ones((5, ACTIONS), dtype=np.bool_)
    found = admit(eligible, costs, np.array([[2, 0]]), order, drawing(scores, ids("d", 5), 7))
    assert found.action.tolist() == [5, 1, 1, 5, 1]
    assert found.eligible[:, 5].tolist() == [True, False, False, True, False]
    assert found.turn.tolist() == [1, 3, 4, 0, 2]
    assert (found.used.tolist(), found.rounds) == ([[2, 0]], 2)


def test_dear_sends_close_first() -> None:
    """A budget of 5 and prices 3 and 1: after one send at 3 only those at 1 are left, twice; then none."""
    amount = np.array([[[3, 1], [3, 1]]])
    costs = costs_of(amount, np.zeros((6, H), dtype=np.int64), [True])
    scores = np.tile(np.array([-99.0, 50, -50, -99, -99, -99, -99, -99, -99]), (6, 1))
    eligible = np.zeros((6, ACTIONS), dtype=np.bool_)
    eligible[:, [HOLD, 1, 2]] = True
    found = admit(eligible, costs, np.array([[5, 0]]), np.arange(6), drawing(scores, ids("d", 6), 1))
    assert found.action.tolist() == [1, 2, 2, 0, 0, 0]
    assert found.used[0, 0] == 5


def test_order_does_not_depend_on_the_rows_place() -> None:
    names = ids("d", 50)
    order = admission_order(names, 3)
    shuffled = np.random.default_rng(0).permutation(50)
    assert names[order].tolist() == names[shuffled][admission_order(names[shuffled], 3)].tolist()
    assert order.tolist() != admission_order(names, 4).tolist()


def test_no_rows_and_no_limits() -> None:
    none = costs_of(np.zeros((0, C, K), dtype=np.int64), np.zeros((0, H), dtype=np.int64), [])
    empty = np.ones((0, ACTIONS), dtype=np.bool_)
    found = admit(
        empty, none, np.zeros((0, D), dtype=np.int64), np.arange(0), drawing(np.zeros((0, ACTIONS)), ids("d", 0), 1)
    )
    assert (len(found.action), found.rounds) == (0, 0)


def test_bad_input_is_refused() -> None:
    amount = np.ones((1, C, K), dtype=np.int64)
    costs = costs_of(amount, np.zeros((2, H), dtype=np.int64), [False])
    eligible = np.ones((2, ACTIONS), dtype=np.bool_)
    left, order, draw = np.array([[1, 1]]), np.arange(2), drawing(np.zeros((2, ACTIONS)), ids("d", 2), 1)
    for bad in (
        (eligible[:, :5], costs, left, order, draw),
        (eligible[:1], costs, left, order, draw),
        (eligible, costs, -left, order, draw),
        (eligible, costs, left[:, :1], order, draw),
        (eligible, costs, left, np.array([0, 0]), draw),
        (eligible, costs, np.array([[0, 0]]), order, lambda rows, _: (np.full(len(rows), 5), np.ones(len(rows)))),
    ):
        with pytest.raises(ParameterError):
            admit(*bad)  # type: ignore[arg-type]
    for change in (
        {"amount": -amount},
        {"earned": amount[0]},
        {"day": np.full((2, H), D)},
        {"pooled": np.zeros(3, dtype=np.bool_)},
    ):
        parts = {"amount": amount, "earned": amount, "day": costs.day, "days": D, "pooled": costs.pooled}
        with pytest.raises(ParameterError):
            Costs(**(parts | change))  # type: ignore[arg-type]


def test_a_draw_that_writes_to_what_it_is_given_is_refused() -> None:
    """Opening the set of a contact or exchanging the contacts changes nothing; the arrays cannot be written to."""
    costs = costs_of(np.zeros((0, C, K), dtype=np.int64), np.zeros((3, H), dtype=np.int64), [])
    nothing, left = np.zeros((3, ACTIONS), dtype=np.bool_), np.zeros((0, D), dtype=np.int64)
    nothing[:, HOLD] = True
    for part in (0, 1):

        def forcing(*given: np.ndarray, part: int = part) -> tuple[np.ndarray, np.ndarray]:
            given[part].setflags(write=True)
            given[part][...] = 1
            return np.ones(3, dtype=np.int32), np.ones(3)

        with pytest.raises(ValueError, match="WRITEABLE"):
            admit(nothing, costs, left, np.arange(3), forcing)
    for wrong in (0.0, 1.5, np.nan):
        with pytest.raises(ParameterError, match="propensities in"):
            admit(nothing, costs, left, np.arange(3), lambda rows, _: (rows * 0, np.full(3, wrong)))  # noqa: B023
