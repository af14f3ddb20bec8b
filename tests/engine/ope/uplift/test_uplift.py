"""Uplift: by hand, in any partition, and against known areas with the error that is claimed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError, ParameterError
from engine.ope.estimators.weighting import Ips
from engine.ope.uplift.curve import UpliftSums, auuc, qini
from engine.ope.uplift.effects import effects, rule_difference, rule_gain
from tests.engine.ope.asking import estimate_of

SCORE, EFFECT = np.array([3.0, 2.0, 1.0]), np.array([4.0, -2.0, 1.0])


def test_effects() -> None:
    """1 / 0.5 and -3 / 0.75; with the model 2 and 1: 1 + (1 - 2) / 0.5, 1 - (3 - 1) / 0.75."""
    treated, reward, propensity = np.array([True, False]), np.array([1.0, 3.0]), np.array([0.5, 0.25])
    assert effects(treated, reward, propensity) == pytest.approx([2.0, -4.0])
    found = effects(treated, reward, propensity, np.full(2, 2.0), np.full(2, 1.0))
    assert found == pytest.approx([-1.0, 1 - 2 / 0.75])


def test_auuc_and_qini() -> None:
    """Gains 4/3, 2/3, 1 at shares 1/3, 2/3, 1: trapezoids (2/3 + 1 + 5/6) / 3; half of the mean effect is 0.5."""
    assert auuc(SCORE, EFFECT).value == pytest.approx(2.5 / 3)
    assert qini(SCORE, EFFECT).value == pytest.approx(2.5 / 3 - 0.5)
    # effect times the rows below (itself half), plus the effects above (its own half), over 3, less twice the area.
    influence = np.array([4 * 2.5 + 2, -2 * 1.5 + 4 - 1, 1 * 0.5 + 4 - 2 + 0.5]) / 3 - 5 / 3
    assert auuc(SCORE, EFFECT).stderr == pytest.approx(math.sqrt((influence**2).sum() * 3 / 2) / 3)


def test_a_score_that_knows_nothing_has_half_of_the_mean_effect() -> None:
    """All scores equal: every row has half of the others below."""
    assert auuc(np.zeros(3), EFFECT).value == pytest.approx(0.5)
    assert qini(np.zeros(3), EFFECT).value == pytest.approx(0.0, abs=1e-15)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-5, 5)), min_size=2, max_size=30))
def test_the_area_is_that_of_the_curve(rows) -> None:
    """Thresholds at every score: the trapezoids of the stream are the area of the arrays, ties and all."""
    score, effect = np.array(rows, dtype=np.float64).T
    sums = UpliftSums(np.unique(score))
    sums.add(0, score, effect)
    curve = sums.result()
    assert curve.area == pytest.approx(auuc(score, effect).value, abs=1e-12)
    assert curve.share[-1] == 1.0
    assert curve.gain[-1] == pytest.approx(effect.mean(), abs=1e-12)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=30))
def test_only_the_order_of_scores_counts(rows) -> None:
    score, effect = np.array(rows).T
    ranked = np.unique(score, return_inverse=True)[1].astype(np.float64)
    for figure in (auuc, qini):
        found, same = figure(score, effect), figure(100.0 * ranked - 3.0, effect)
        assert (found.value, found.stderr) == pytest.approx((same.value, same.stderr), abs=1e-12)


def test_rules() -> None:
    """Sending to rows 0 and 2 at a cost of 1: gains 3, 0, 0; against sending to all: 0, 3, 0 back."""
    send, everybody = np.array([True, False, True]), np.ones(3, dtype=bool)
    found = rule_gain(send, EFFECT, 1.0)
    assert found.value == pytest.approx(1.0)
    assert found.stderr == pytest.approx(math.sqrt(6 / 2 / 3))
    other = rule_difference(send, everybody, EFFECT, 1.0)
    assert (other.value, other.stderr) == pytest.approx((found.value, found.stderr))
    clustered = rule_gain(send, EFFECT, 1.0, np.array([7, 7, 9], dtype=np.uint64))
    assert clustered.stderr == pytest.approx(math.sqrt(2 * (1 + 1)) / 3)


def world(n, rng):
    """Effect x - 0.3 with x uniform: the area is the integral of (x - 0.3) x, 11/60; Qini 11/60 - 0.1 = 1/12."""
    x, propensity = rng.random(n), 0.3 + 0.4 * rng.random(n)
    treated = rng.random(n) < propensity
    return x, treated, 1 + x + treated * (x - 0.3) + 0.3 * rng.normal(size=n), propensity


def test_a_rule_is_worth_its_ips_value_less_that_of_holding_all() -> None:
    x, treated, reward, propensity = world(500, np.random.default_rng(0))
    send = x > 0.3
    taken = np.where(treated, propensity, 1 - propensity)
    rule, hold = (
        estimate_of(Ips(), (treated == choice) / taken, reward).value for choice in (send, np.zeros(500, dtype=bool))
    )
    assert rule_gain(send, effects(treated, reward, propensity)).value == pytest.approx(rule - hold)


@pytest.mark.slow
@pytest.mark.parametrize(("figure", "true"), [(auuc, 11 / 60), (qini, 1 / 12)], ids=["auuc", "qini"])
@pytest.mark.parametrize("model", [True, False], ids=["model", "plain"])
def test_intervals_of_95_percent_cover_the_truth(figure, true, model) -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(400):
        x, treated, reward, propensity = world(400, rng)
        fitted = (1 + x + x - 0.3, 1 + x) if model else ()
        found = figure(x, effects(treated, reward, propensity, *fitted))
        covered.append(abs(found.value - true) < 1.96 * found.stderr)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_any_partition_gives_the_same_bytes() -> None:
    x, treated, reward, propensity = world(900, np.random.default_rng(1))
    effect = effects(treated, reward, propensity)
    chunks = [(x[i : i + 100], effect[i : i + 100]) for i in range(0, 900, 100)]
    whole, first, second = (UpliftSums([0.75, 0.25, 0.5]) for _ in range(3))
    for number, chunk in enumerate(chunks):
        whole.add(number, *chunk)
    for number in (8, 1, 3, 0):
        first.add(number, *chunks[number])
    for number in (7, 2, 6, 5, 4):
        second.add(number, *chunks[number])
    second.merge(first)
    found, expected = second.result(), whole.result()
    for name in ("threshold", "share", "gain", "stderr"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    assert (found.area, found.n) == (expected.area, 900)
    assert expected.threshold.tolist() == [0.75, 0.5, 0.25]
    for threshold, gain, stderr in zip(expected.threshold, expected.gain, expected.stderr, strict=True):
        rule = rule_gain(x >= threshold, effect)
        assert (gain, stderr) == pytest.approx((rule.value, rule.stderr))
    with pytest.raises(DataError, match="came twice"):
        second.merge(first)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"propensity": np.array([0.0, 0.5])}, DataError),
        ({"propensity": np.array([0.5, 1.0])}, DataError),
        ({"propensity": np.array([0.5, np.nan])}, DataError),
        ({"reward": np.array([np.nan, 1.0])}, DataError),
        ({"reward": np.ones(3)}, ParameterError),
        ({"with_message": np.ones(2)}, ParameterError),
    ],
    ids=["never", "always", "unknown", "reward", "shape", "half a model"],
)
def test_rows_are_checked(changes, error) -> None:
    given = {"treated": np.array([True, False]), "reward": np.ones(2), "propensity": np.full(2, 0.5)}
    with pytest.raises(error):
        effects(**(given | changes))


def test_arguments_are_checked() -> None:
    for score in (np.ones(2), np.array([1.0, np.nan, 2.0])):
        for figure in (auuc, qini):
            with pytest.raises(ParameterError, match="score"):
                figure(score, EFFECT)
    with pytest.raises(ParameterError, match="send"):
        rule_gain(np.ones(3), EFFECT)
    with pytest.raises(ParameterError, match="send"):
        rule_difference(np.ones(3, dtype=bool), np.ones(2, dtype=bool), EFFECT)
    with pytest.raises(ParameterError, match="cost"):
        rule_gain(np.ones(3, dtype=bool), EFFECT, math.inf)
    for thresholds in ([], [1.0, 1.0], [math.nan]):
        with pytest.raises(ParameterError, match="thresholds"):
            UpliftSums(thresholds)
    with pytest.raises(DataError, match="not finite"):
        UpliftSums([1.0]).add(0, np.array([np.inf]), np.ones(1))
    with pytest.raises(DataError, match="no rows"):
        UpliftSums([1.0]).result()
