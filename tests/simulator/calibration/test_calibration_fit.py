"""The method of moments: known numbers come back, and what was not measured is refused."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from simulator.calibration.fit import Changes, Free, Goal, changes_of, fit, rows_of

SHARE, POSITIVE, PLAIN = ("a", "share"), ("a", "b", "positive"), ("plain",)
TRUE = {"share": 0.12, "positive": 3.5, "plain": -0.8}


def toy(changes: Changes) -> dict[str, float]:
    """Three numbers, four moments, none of which gives a number away by itself."""
    share, positive, plain = changes["a"]["share"], changes["a"]["b"]["positive"], changes["plain"]
    return {
        "one": share * positive,
        "two": positive + plain,
        "three": share * np.exp(plain),
        "four": share + 0.1 * positive * plain,
    }


TRUTH = toy({"a": {"share": TRUE["share"], "b": {"positive": TRUE["positive"]}}, "plain": TRUE["plain"]})
GOALS = tuple(Goal(name, name, value, 0.01 * abs(value)) for name, value in TRUTH.items())
FREE = (Free(SHARE, 0.5, "share"), Free(POSITIVE, 1.0), Free(PLAIN, 0.0, "plain"))


def test_known_numbers_come_back() -> None:
    """All three start at 0 on their line, where a step relative to the place would not move them."""
    assert [one.to_line(one.start) for one in FREE] == [0.0, 0.0, 0.0]
    told: list[str] = []
    found = fit(FREE, GOALS, toy, say=told.append)
    assert found.met
    assert found.changes["a"]["share"] == pytest.approx(TRUE["share"], rel=1e-3)
    assert found.changes["a"]["b"]["positive"] == pytest.approx(TRUE["positive"], rel=1e-3)
    assert found.changes["plain"] == pytest.approx(TRUE["plain"], rel=1e-2)
    assert set(found.numbers) == {"a.share", "a.b.positive", "plain"}
    assert found.trials >= 4
    assert told


def test_a_goal_that_contradicts_another_is_said_to_be_missed() -> None:
    goals = (Goal("low", "one", 1.0, 0.1), Goal("high", "one", 2.0, 0.1))
    found = fit((Free(("x",), 1.2),), goals, lambda changes: {"one": changes["x"]})
    assert not found.met
    assert found.changes["x"] == pytest.approx(1.5, rel=1e-2)
    assert [row.met for row in found.rows] == [False, False]
    assert found.rows[0].difference == pytest.approx(0.5, abs=0.02)


def test_tied_numbers_move_along() -> None:
    free = Free(("p", "drop"), 0.5, tied={("p", "bend"): -2.0, ("q",): 1.0})
    assert changes_of((free,), np.array([np.log(0.3)])) == {"p": {"drop": 0.3, "bend": -0.6}, "q": 0.3}


def test_numbers_ship_with_five_digits() -> None:
    assert changes_of((Free(("x",), 1.0, "plain"),), np.array([1.23456789])) == {"x": 1.2346}


@pytest.mark.parametrize("free", [(), FREE])
def test_as_many_numbers_as_goals_at_most(free: tuple[Free, ...]) -> None:
    with pytest.raises(ParameterError, match="free"):
        fit(free, GOALS[:2], toy)


@pytest.mark.parametrize("moments", [{}, {"one": float("nan")}, {"one": float("inf")}, {"other": 1.0}])
def test_a_figure_that_was_not_measured_is_refused(moments: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"figure: the moment 'one' was not measured") as caught:
        rows_of((Goal("figure", "one", 1.0, 0.1),), moments)
    assert caught.value.hint


def test_a_difference_at_the_tolerance_is_met() -> None:
    (row,) = rows_of((Goal("g", "m", 1.0, 0.25),), {"m": 1.25})
    assert row.met
    assert (row.published, row.simulated, row.difference) == (1.0, 1.25, 0.25)
