"""Values: common random numbers, errors, any cut into batches, processes, discounting, and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from simulator.oracles.calendar import CalendarActor
from simulator.oracles.myopic import MyopicOracle
from simulator.rollout import Actor, HoldActor, Turn
from simulator.scenario import Scenario, load_scenario
from simulator.truth import Comparison, compare, value
from simulator.world.world import World


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


@dataclass(frozen=True)
class Even:
    """A policy of the library's protocol: uniform over what is eligible."""

    name: str = "even"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        return eligible / eligible.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class OddContacts:
    """Plans per batch: writes to contacts with an odd number only; spoils the world that it is given."""

    def for_batch(self, world: World) -> Actor:
        world.advance(np.zeros(world.n, dtype=np.int32))
        return _Odd((np.arange(world.n) + world.first) % 2 == 1)


@dataclass(frozen=True)
class _Odd:
    odd: np.ndarray

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        first = turn.eligibility.dense()[:, 1:].argmax(axis=1) + 1
        action = np.where(self.odd[turn.rows] & turn.eligibility.dense()[:, 1:].any(axis=1), first, HOLD)
        return action.astype(np.int32), np.ones(len(action))


SUBJECTS: dict[str, Any] = {
    "never": HoldActor(),
    "weekly": CalendarActor(7.0),
    "even": Even(),
    "myopic": MyopicOracle(),
    "odd": OddContacts(),
}


def figures(found: Comparison) -> bytes:
    bits = [found.covariance.tobytes()]
    for one in found.values.values():
        series = (one.reward_by_step, one.sends_by_step, one.list_by_step, one.list_by_channel)
        told = (one.mean, one.stderr, one.metrics.layers(), one.metrics.honesty())
        bits += [repr(told).encode(), *(array.tobytes() for array in series)]
    return b"/".join(bits)


@pytest.mark.parametrize("conditional", [False, True], ids=["drawn", "conditional"])
def test_blocks_of_any_size_give_the_same_bytes(scenario: Scenario, conditional: bool) -> None:
    """60 contacts of each of two seeds at once, in sevens, and in twenty-fives."""
    asked: dict[str, Any] = {"contacts": 60, "steps": 6, "seeds": (3, 8), "discount": 0.98, "conditional": conditional}
    whole = figures(compare(scenario, SUBJECTS, **asked))
    for batch in (7, 25):
        assert figures(compare(scenario, SUBJECTS, batch=batch, **asked)) == whole
    assert figures(compare(scenario, SUBJECTS, **{**asked, "seeds": (8, 3)})) == whole


@pytest.mark.slow
def test_processes_give_the_same_bytes(scenario: Scenario) -> None:
    shipped = {name: SUBJECTS[name] for name in ("never", "weekly", "myopic")}
    asked: dict[str, Any] = {"contacts": 60, "steps": 5, "batch": 20}
    assert figures(compare(scenario, shipped, workers=2, **asked)) == figures(compare(scenario, shipped, **asked))


def test_the_mean_is_that_of_a_world_stepped_by_hand(scenario: Scenario) -> None:
    """Discount 0.9 a day: the total of a contact is sum of 0.9^t r_t; its error is sd / sqrt(n)."""
    world = World(scenario, 400, 6)
    total = np.zeros(400)
    for step in range(5):
        total += 0.9**step * world.advance(np.zeros(400, dtype=np.int32)).reward_usd
    found = value(scenario, HoldActor(), contacts=400, steps=5, seeds=(6,), discount=0.9)
    assert found.mean == pytest.approx(total.mean(), rel=1e-12)
    assert found.stderr == pytest.approx(total.std(ddof=1) / 20.0, rel=1e-9)
    assert (found.contacts, found.sends) == (400, 0.0)
    low, high = found.interval()
    assert (low, high) == pytest.approx(
        (found.mean - 1.959964 * found.stderr, found.mean + 1.959964 * found.stderr), rel=1e-4
    )


def test_a_difference_is_paired(scenario: Scenario) -> None:
    """A policy against itself is exactly zero; against another its error is that of the contacts' differences."""
    subjects = {"one": CalendarActor(7.0), "same": CalendarActor(7.0), "never": HoldActor()}
    found = compare(scenario, subjects, contacts=500, steps=20)
    same = found.difference("one", "same")
    assert (same.mean, same.stderr) == (0.0, 0.0)
    gap, one, never = found.difference("one", "never"), found.values["one"], found.values["never"]
    assert gap.mean == pytest.approx(one.mean - never.mean)
    assert 0.0 < gap.stderr < 0.7 * np.hypot(one.stderr, never.stderr), "common luck must cancel"
    assert gap.interval()[0] < gap.mean < gap.interval()[1]
    with pytest.raises(ParameterError, match="one of"):
        found.difference("one", "gone")


def test_conditional_and_drawn_values_agree(scenario: Scenario) -> None:
    """The same expectation with a smaller error: what orders draw is averaged out."""
    asked: dict[str, Any] = {"contacts": 3000, "steps": 12}
    drawn = value(scenario, Even(), **asked)
    averaged = value(scenario, Even(), conditional=True, **asked)
    assert abs(drawn.mean - averaged.mean) < 4.0 * drawn.stderr
    assert averaged.stderr < 0.8 * drawn.stderr


def test_the_sender_may_change_from_step_to_step(scenario: Scenario) -> None:
    """A sender who fixed nothing, given as a function of the world, is the same as one who said nothing."""
    asked_at: list[int] = []

    def sender(world: World) -> Conditions:
        asked_at.append(world.state.step)
        return NOTHING_SAID

    fixed = value(scenario, CalendarActor(2.0), contacts=50, steps=4)
    moving = value(scenario, CalendarActor(2.0), contacts=50, steps=4, sender=sender)
    assert (fixed.mean, fixed.sends) == (moving.mean, moving.sends)
    assert asked_at == [0, 1, 2, 3]


def test_the_list_is_counted(scenario: Scenario) -> None:
    """Nobody leaves a list that is never written to, and contacts who join are counted from then on."""
    found = value(scenario, HoldActor(), contacts=300, steps=30)
    assert (np.diff(found.list_by_step) >= 0.0).all()
    assert found.list_by_step[-1] > found.list_by_step[0]
    assert found.list_by_channel.shape == (31, 3)
    assert (found.list_by_channel.max(axis=1) <= found.list_by_step).all()


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"contacts": 1}, "contacts"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"workers": 0}, "workers"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"discount": 0.0}, "discount"),
        ({"discount": 1.1}, "discount"),
    ],
    ids=lambda changed: (
        "-".join(f"{key}={value}" for key, value in changed.items()) if isinstance(changed, dict) else ""
    ),
)
def test_bad_arguments_are_refused(scenario: Scenario, changed: dict[str, Any], names: str) -> None:
    with pytest.raises(ParameterError, match=names):
        compare(scenario, {"never": HoldActor()}, **{"contacts": 4, "steps": 1, **changed})


def test_nothing_to_compare_is_refused(scenario: Scenario) -> None:
    with pytest.raises(ParameterError, match="subjects"):
        compare(scenario, {}, contacts=4, steps=1)
